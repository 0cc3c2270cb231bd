"""The file of a backup: a zip with PostgreSQL's own dump, not compressed again, and a manifest of what must be in it.

The file appears under its name when it is whole, with mode 0600; until then it is beside it, and goes with its maker.
"""

import hashlib
import os
import zipfile
from collections.abc import Generator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import IO, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from app.cli.failures import UsageError

__all__ = ["Archive", "Manifest", "NewArchive", "new_archive", "open_archive"]

_DUMP = "database.dump"
_MANIFEST = "manifest.json"
_PIECE = 1024 * 1024


class Manifest(BaseModel):
    """What a dump holds, as it was counted in the very snapshot that was dumped.

    Attributes:
        format: of this file.
        made_at: when the snapshot was taken.
        service: version of the service.
        server: version of PostgreSQL.
        revision: of the database's structure.
        roles: database roles that hold rights on the tables.
        rows: how many each table has.
        audit_heads: the ends of the audit trail's chains, each as ``liuzhang audit-verify --anchor`` takes it.
        sha256: of the dump.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal[1] = 1
    made_at: datetime
    service: str
    server: str
    revision: str
    roles: list[str]
    rows: dict[str, int]
    audit_heads: list[str]
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class NewArchive:
    """A backup in the making."""

    def __init__(self, file: IO[bytes]) -> None:
        """Write to ``file``, which is empty."""
        self._zip = zipfile.ZipFile(file, "w", zipfile.ZIP_STORED)
        self._dump = self._zip.open(_DUMP, "w", force_zip64=True)
        self._digest = hashlib.sha256()

    def add(self, piece: bytes) -> None:
        """The next piece of the dump."""
        self._digest.update(piece)
        self._dump.write(piece)

    def finish(self, counted: dict[str, Any]) -> Manifest:
        """All of the dump is there; ``counted`` is the manifest but for the digest."""
        self._dump.close()
        manifest = Manifest(**counted, sha256=self._digest.hexdigest())
        self._zip.writestr(_MANIFEST, manifest.model_dump_json(indent=2))
        self._zip.close()
        return manifest


@contextmanager
def new_archive(path: Path) -> Generator[NewArchive]:
    """Make the file at ``path``; it is there once this was left without an error.

    Raises:
        UsageError: there is a file of that name.
    """
    if path.exists():
        raise UsageError(_THERE.format(path))
    fresh = path.with_name(f".{path.name}.{os.getpid()}.part")
    descriptor = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w+b") as file:
            yield NewArchive(file)
            file.flush()
            os.fsync(descriptor)
        # Unlike renaming, linking refuses to take the place of a file that has come there meanwhile.
        path.hardlink_to(fresh)
    except FileExistsError:
        raise UsageError(_THERE.format(path)) from None
    finally:
        fresh.unlink()


class Archive:
    """A backup that is there."""

    def __init__(self, file: zipfile.ZipFile, manifest: Manifest) -> None:
        """Read from an open ``file``."""
        self._zip = file
        self.manifest = manifest

    def pieces(self) -> Generator[bytes]:
        """The dump, piece by piece."""
        with self._zip.open(_DUMP) as dump:
            while piece := dump.read(_PIECE):
                yield piece


@contextmanager
def open_archive(path: Path) -> Generator[Archive]:
    """Open the backup at ``path``; its dump is read once, to see that it is whole.

    Raises:
        UsageError: it is no backup, or not as it was made.
    """
    try:
        with zipfile.ZipFile(path) as file:
            archive = Archive(file, Manifest.model_validate_json(file.read(_MANIFEST)))
            digest = hashlib.sha256()
            for piece in archive.pieces():
                digest.update(piece)
            if digest.hexdigest() != archive.manifest.sha256:
                raise UsageError(f"{path} 已损坏:内容与清单中的 SHA-256 不符;请换一份备份")
            yield archive
    except (zipfile.BadZipFile, KeyError, ValidationError, EOFError, NotImplementedError) as error:
        raise UsageError(f"{path} 不是完好的备份文件({type(error).__name__});请换一份备份") from None


_THERE = "{} 已存在,不覆盖;请换一个文件名"
