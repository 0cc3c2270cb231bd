"""Rendered pieces of JSON kept by (kind, id, version).

A version is never given twice, so an entry can never be stale; what changes simply asks under a new version, and the
bounded cache drops what nobody asks for any more.
"""

from cachetools import LRUCache

__all__ = ["FragmentCache"]


class FragmentCache:
    """A bounded cache of rendered fragments, for one process and one event loop."""

    def __init__(self, size: int) -> None:
        """Hold at most ``size`` fragments; 0 switches caching off."""
        self._entries: LRUCache[tuple[str, int, int], bytes] = LRUCache(maxsize=size)
        self._size = size

    def get(self, kind: str, key: int, version: int) -> bytes | None:
        """The fragment, or ``None`` where it must be rendered."""
        return self._entries.get((kind, key, version))

    def put(self, kind: str, key: int, version: int, fragment: bytes) -> None:
        """Keep a rendered fragment."""
        if self._size:
            self._entries[kind, key, version] = fragment

    def clear(self) -> None:
        """Forget everything (for measurements of the cold path)."""
        self._entries.clear()
