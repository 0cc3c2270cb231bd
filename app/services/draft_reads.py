"""Reading drafts of other units, as auditors may: put down in the audit trail before anything of them is answered."""

from collections.abc import Iterable
from datetime import datetime
from itertools import groupby
from operator import itemgetter

import asyncpg

from app.db import Database
from app.domain.audit import AuditAction
from app.domain.permissions import Subject
from app.errors import UnavailableError
from app.services.audit import Act, record
from app.services.caller import Caller

__all__ = ["note_drafts"]


async def note_drafts(trail: Database, shown: Iterable[tuple[str, Subject]], *, now: datetime, caller: Caller) -> None:
    """Put down which of the submissions ``shown`` are drafts that the caller sees as an auditor only.

    One act a unit, so that whoever asks who has read a unit's drafts finds it; ``trail`` is the pool for writing.

    Raises:
        UnavailableError: it cannot be put down, so nothing may be shown.
    """
    drafts = sorted(
        (subject.unit or "", subject.plan or "", identity)
        for identity, subject in shown
        if caller.visibility.only_audits(subject)
    )
    acts: list[Act] = []
    for (unit, plan), found in groupby(drafts, key=itemgetter(0, 1)):
        ids = [identity for _, _, identity in found]
        subject = ids[0] if len(ids) == 1 else unit
        acts.append(Act(AuditAction.SUBMISSION_READ_DRAFT, subject, plan, unit, after={"drafts": ids}))
    try:
        await record(trail, caller, acts, now=now)
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
        raise UnavailableError("查看其他单位的草稿须先留下审计记录,现在无法写入,请稍后重试") from error
