"""Makes rows of a table be as a seed says, writing only where they differ."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Table, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

__all__ = ["Keys", "LoadReport", "Row", "Synchroniser"]

Row = dict[str, Any]
Keys = dict[tuple[Any, ...], int]


@dataclass(slots=True)
class LoadReport:
    """What a load did: rows inserted, updated, deleted, reports expected or taken back; all 0 if nothing differed."""

    plan: str
    inserted: int = 0
    updated: int = 0
    deleted: int = 0
    obligations: int = 0

    @property
    def changed(self) -> bool:
        """Whether anything was written."""
        return bool(self.inserted or self.updated or self.deleted or self.obligations)


class Synchroniser:
    """Synchronises tables over one connection, and counts what it did in a report."""

    def __init__(self, connection: AsyncConnection, report: LoadReport) -> None:
        """Work over ``connection``, within its transaction."""
        self.connection = connection
        self.report = report

    async def replace(self, model: Any, rows: list[Row], key: list[str], within: ColumnElement[bool]) -> None:
        """Like :meth:`sync` for rows nothing refers to: what differs is deleted and inserted anew."""
        await self.sync(model, rows, key, within=within, prune=True, replace=True)

    async def sync(
        self,
        model: Any,
        rows: list[Row],
        key: list[str],
        *,
        within: ColumnElement[bool] | None = None,
        prune: bool = False,
        replace: bool = False,
    ) -> Keys:
        """Make the rows of ``model`` ``within`` a scope be ``rows``; returns their keys by natural key.

        Without ``prune`` rows not named stay; with ``replace`` rows that differ are deleted and inserted, so that no
        unique constraint is violated half-way through a reordering.
        """
        table: Table = model.__table__
        statement = select(table) if within is None else select(table).where(within)
        present = {
            tuple(row[name] for name in key): row for row in (await self.connection.execute(statement)).mappings().all()
        }
        wanted = {tuple(row[name] for name in key): row for row in rows}
        differing = [
            name
            for name, row in wanted.items()
            if name in present and any(present[name][column] != value for column, value in row.items())
        ]
        gone = [present[name] for name in present if name not in wanted] if prune else []
        if replace:
            gone += [present[name] for name in differing]
        if gone:
            await self.connection.execute(delete(table).where(table.c.id.in_([row["id"] for row in gone])))
        new = [row for name, row in wanted.items() if name not in present or (replace and name in differing)]
        primary = next(iter(table.primary_key.columns))
        returned = [primary, *(table.c[name] for name in key)]
        keys: Keys = {name: present[name][primary.name] for name in wanted if name in present}
        if new:
            result = await self.connection.execute(insert(table).returning(*returned), new)
            keys |= {tuple(row[1:]): row[0] for row in result.all()}
        if not replace:
            for name in differing:
                await self.connection.execute(
                    update(table).where(primary == present[name][primary.name]).values(wanted[name])
                )
        self.report.inserted += len(new) - (len(differing) if replace else 0)
        self.report.updated += len(differing)
        self.report.deleted += len(gone) - (len(differing) if replace else 0)
        return keys
