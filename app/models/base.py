"""Declarative base: named constraints, text enums with named checks, versions that the database keeps."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Any, ClassVar

from sqlalchemy import BigInteger, CheckConstraint, Identity, MetaData, Text, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

__all__ = ["Base", "IdMixin", "Key", "SortKey", "VersionMixin", "one_of"]

SortKey = Annotated[str, mapped_column(Text(collation="C"))]
"""What orders rows in print order; bytewise, whatever the database's collation."""

Key = Annotated[int, mapped_column(BigInteger, Identity(always=True), primary_key=True)]

NAMING = {
    "pk": "pk_%(table_name)s",
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
}


class Base(DeclarativeBase):
    """Base of all tables."""

    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map: ClassVar[dict[Any, Any]] = {str: Text}


class IdMixin:
    """A key that never leaves the service: the API speaks in codes."""

    id: Mapped[Key]


class VersionMixin:
    """``version`` is drawn from one sequence by triggers whenever what a reader sees of the row changes.

    Versions are unique over all tables and only rise, so a pair of id and version names one rendering for ever.
    """

    version: Mapped[int] = mapped_column(BigInteger, server_default=text("nextval('content_version')"))


def one_of(column: str, codes: type[StrEnum], *, optional: bool = False) -> CheckConstraint:
    """A named check that ``column`` holds one of ``codes`` (or is null where ``optional``)."""
    allowed: Sequence[str] = sorted(code.value for code in codes)
    condition = f"{column} IN ({', '.join(repr(code) for code in allowed)})"
    return CheckConstraint(f"{column} IS NULL OR {condition}" if optional else condition, name=f"{column}_known")
