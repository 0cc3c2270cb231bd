"""The anomalies of a plan's document."""

from sqlalchemy import bindparam, select

from app.models import (
    Anomaly,
    Battle,
    Plan,
)
from app.pagination import Listing
from app.rendering import Known, Rendered, render
from app.schemas.anomaly import AnomalyPage, AnomalyQuery, AnomalyRead
from app.services.reader import Reader, equal_to, page_request

__all__ = ["list_anomalies"]

_ANOMALIES = Listing(
    statement=select(
        Anomaly.sort_key,
        Anomaly.code,
        Plan.code.label("plan"),
        Battle.code.label("battle"),
        Anomaly.kind,
        Anomaly.locator,
        Anomaly.printed,
        Anomaly.reading,
        Anomaly.note,
    )
    .join(Plan, Plan.id == Anomaly.plan_id)
    .outerjoin(Battle, Battle.id == Anomaly.battle_id),
    key=Anomaly.sort_key,
    sorts={"code": Anomaly.sort_key},
    conditions={
        "plan": Plan.code == bindparam("plan"),
        "battle": Battle.code == bindparam("battle"),
        "kind": Anomaly.kind == bindparam("kind"),
    },
)


async def list_anomalies(reader: Reader, query: AnomalyQuery, known: Known) -> Rendered:
    """One page of anomalies."""
    filters = equal_to(query, "plan", "battle", "kind")
    page = await _ANOMALIES.page(reader.pool, page_request(query, sort=query.sort), filters)
    names = AnomalyRead.model_fields
    items = [AnomalyRead.model_validate({name: row[name] for name in names}) for row in page.rows]
    return render(AnomalyPage(items=items, next_cursor=page.next_cursor, total=page.total), known)
