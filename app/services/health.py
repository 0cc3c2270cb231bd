"""Whether the service can do its work."""

from sqlalchemy import column, func, select, table

from app.db import Query
from app.models import Plan
from app.schemas.health import Ready
from app.services.reader import Reader

__all__ = ["readiness"]

_REVISION = table("alembic_version", column("version_num"))
_READY = Query(
    select(
        select(_REVISION.c.version_num).scalar_subquery().label("revision"),
        select(func.count()).select_from(Plan).scalar_subquery().label("plans"),
    )
)


async def readiness(reader: Reader) -> Ready:
    """What the database holds; raises what the driver raises where it does not answer."""
    row = await reader.pool.fetch_row(_READY)
    assert row is not None, "a select without FROM has one row"
    return Ready(status="ready", revision=row["revision"], plans=row["plans"])
