"""The migrations of the database, and how they are run.

Two starts at once must not migrate twice: an advisory lock lets one go first. A migration that cannot get its locks, or
runs away, gives up instead of holding the service still.
"""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncEngine

__all__ = ["LOCK", "alembic_config", "revisions", "upgrade"]

LOCK = 4312282023
"""The advisory lock under which the database is migrated and seeded."""

_LIMITS = {"lock_timeout": "10s", "statement_timeout": "10min"}


def alembic_config(connection: Connection) -> Config:
    """The configuration for running Alembic commands over ``connection``."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.attributes["connection"] = connection
    return config


def revisions() -> list[str]:
    """All revisions of the structure that this version knows, the newest first."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    return [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()]


async def upgrade(engine: AsyncEngine, revision: str = "head") -> bool:
    """Bring the database to ``revision``; returns whether anything had to be done."""
    async with engine.connect() as connection:
        await connection.execute(text("SELECT pg_advisory_lock(:lock)"), {"lock": LOCK})
        await connection.commit()
        try:
            return await connection.run_sync(_upgrade, revision)
        finally:
            await connection.rollback()
            # The connection goes back to its pool: the limits were for the migration only.
            for limit in _LIMITS:
                await connection.execute(text(f"RESET {limit}"))
            await connection.execute(text("SELECT pg_advisory_unlock(:lock)"), {"lock": LOCK})
            await connection.commit()


def _upgrade(connection: Connection, revision: str) -> bool:
    config = alembic_config(connection)
    wanted = ScriptDirectory.from_config(config).get_revision(revision).revision
    current = MigrationContext.configure(connection).get_current_revision()
    if wanted == current:
        return False
    for limit, value in _LIMITS.items():
        connection.execute(text(f"SET {limit} = '{value}'"))
    connection.commit()
    command.upgrade(config, revision)
    connection.commit()
    return True
