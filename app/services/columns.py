"""Rows that are given to a statement column by column: PostgreSQL reads arrays several times as fast as JSON.

A column that is the same for all rows, as most are in a batch, may be given once, as an array of one. One column is
always given whole, and tells how many rows there are.
"""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

__all__ = ["Columns", "Kinds", "columns_of", "parameters", "shortened"]

Kinds: TypeAlias = Mapping[str, str]
"""The names of columns, and the types of PostgreSQL that they are given as."""

Columns: TypeAlias = dict[str, list[Any]]


def parameters(kinds: Kinds, *, whole: str) -> str:
    """The arrays as SQL, in their order, each as long as the one that is given whole."""
    rows = f"cardinality(CAST(:{whole} AS {kinds[whole]}[]))"
    arrays = {name: f"CAST(:{name} AS {kind}[])" for name, kind in kinds.items()}
    return ", ".join(
        array
        if name == whole
        else f"CASE cardinality({array}) WHEN 1 THEN array_fill(({array})[1], ARRAY[{rows}]) ELSE {array} END"
        for name, array in arrays.items()
    )


def columns_of(kinds: Kinds, rows: Sequence[tuple[Any, ...]]) -> Columns:
    """The columns of rows whose values stand in the order of ``kinds``."""
    if not rows:
        return {name: [] for name in kinds}
    return {name: list(values) for name, values in zip(kinds, zip(*rows, strict=True), strict=True)}


def shortened(columns: Columns, *, whole: str) -> Columns:
    """The same columns with each that is the same for all rows given once."""
    return {name: values if name == whole else _once(values) for name, values in columns.items()}


def _once(values: list[Any]) -> list[Any]:
    # Most that differ do so at the ends, which are compared at once.
    alike = len(values) > 1 and values[0] == values[-1] and values.count(values[0]) == len(values)
    return values[:1] if alike else values
