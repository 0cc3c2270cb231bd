"""Answers as bytes with their ETag: what a service returns and a router sends."""

import hashlib
from dataclasses import dataclass
from decimal import Decimal

from pydantic import BaseModel

__all__ = ["Known", "Rendered", "exact", "render", "tag_of"]


@dataclass(frozen=True, slots=True)
class Rendered:
    """A body and its strong ETag; ``body`` is ``None`` where the caller already has this very answer (304)."""

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
        parts = [part.strip().removeprefix("W/") for part in header.split(",")]
        return cls(frozenset(parts), anything="*" in parts)

    def __contains__(self, etag: object) -> bool:
        """Whether the caller has the answer with this ETag."""
        return self.anything or etag in self.tags


_NOTHING = Known(frozenset())


def exact(value: Decimal) -> int | float:
    """A figure of at most 15 significant digits as the JSON number that reads back as the same decimal."""
    return int(value) if value == value.to_integral_value() else float(value)


def tag_of(content: bytes) -> str:
    """A strong ETag of what determines an answer."""
    return f'"{hashlib.blake2b(content, digest_size=16).hexdigest()}"'


def render(model: BaseModel, known: Known) -> Rendered:
    """Dump a read schema to JSON and tag it."""
    body = model.__pydantic_serializer__.to_json(model)
    etag = tag_of(body)
    return Rendered(etag, None if etag in known else body)
