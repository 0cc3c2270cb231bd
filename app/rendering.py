"""Answers as bytes with their ETag: what a service returns and a router sends."""

import hashlib
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from pydantic import BaseModel

__all__ = ["Known", "Rendered", "exact", "render", "tag_of"]


@dataclass(frozen=True, slots=True)
class Rendered:
    """A body and its ETag; ``body`` is ``None`` where the caller already has this very answer (304)."""

    etag: str
    body: bytes | None
    media_type: str = "application/json"


@dataclass(frozen=True, slots=True)
class Known:
    """The ETags that a caller says it has (``If-None-Match``)."""

    tags: frozenset[str]
    anything: bool = False

    @classmethod
    def parse(cls, header: str | None) -> "Known":
        """Read the header value; weak tags compare equal to strong ones (RFC 9110, 13.1.2)."""
        if not header:
            return _NOTHING
        parts = [_opaque(part.strip()) for part in header.split(",")]
        return cls(frozenset(parts), anything="*" in parts)

    def __contains__(self, etag: str) -> bool:
        """Whether the caller has the answer with this ETag, weak or strong."""
        return self.anything or _opaque(etag) in self.tags


def _opaque(etag: str) -> str:
    """An ETag without the mark of weakness."""
    return etag.removeprefix("W/")


_NOTHING = Known(frozenset())


def exact(value: Decimal) -> int | float:
    """A figure of at most 15 significant digits as the JSON number that reads back as the same decimal."""
    number = float(value)
    return int(number) if number.is_integer() else number


def tag_of(content: bytes) -> str:
    """A strong ETag of what determines an answer."""
    return f'"{hashlib.blake2b(content, digest_size=16).hexdigest()}"'


def render(model: BaseModel, known: Known, *, moving: Any = None) -> Rendered:
    """Dump a read schema to JSON and tag it.

    ``moving`` names members, as Pydantic's ``exclude`` does, that say nothing but the instant at which was asked. They
    are left out of what is tagged, so the same figures asked a second later are known; and as they differ then, the
    tag is weak (RFC 9110, 8.8.1).
    """
    dump = model.__pydantic_serializer__.to_json
    body = dump(model)
    etag = tag_of(body) if moving is None else f"W/{tag_of(dump(model, exclude=moving))}"
    return Rendered(etag, None if etag in known else body)
