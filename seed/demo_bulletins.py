"""The bulletins of the demonstration: circulars of the battle that is reported on, a brief and a summary of another."""

from dataclasses import dataclass
from datetime import datetime, time, timedelta
from uuid import UUID

from sqlalchemy import func, select

from app.clock import SHANGHAI
from app.db import Database, Query
from app.domain.bulletins import BulletinKind
from app.domain.periods import parse_period
from app.models import Battle, Plan, Submission
from app.schemas.bulletin import BulletinCreate, BulletinIssue, BulletinPatch
from app.services.bulletins import create_bulletin, issue_bulletin, patch_bulletin
from app.services.reader import Reader
from seed.demo_callers import of_battle

__all__ = ["fill_bulletins"]

_BATTLES = Query(
    select(Plan.code.label("plan"), Battle.code)
    .join(Plan, Plan.id == Battle.plan_id)
    .outerjoin(Submission, Submission.battle_id == Battle.id)
    .group_by(Plan.code, Battle.code)
    .order_by(func.count(Submission.id).desc(), Battle.code)
)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A bulletin, and how many days after its period it is issued; without days it stays a draft."""

    kind: BulletinKind
    period: str
    days: int | None = 2


_CIRCULARS = (
    _Wanted(BulletinKind.MONTHLY_CIRCULAR, "2023-05"),
    # Late: it is due on the fifth.
    _Wanted(BulletinKind.MONTHLY_CIRCULAR, "2023-06", 6),
    _Wanted(BulletinKind.MONTHLY_CIRCULAR, "2023-07"),
    _Wanted(BulletinKind.MONTHLY_CIRCULAR, "2023-08"),
    _Wanted(BulletinKind.MONTHLY_CIRCULAR, "2023-09", None),
)
_OTHERS = (_Wanted(BulletinKind.DEKAD_BRIEF, "2023-08-D2"), _Wanted(BulletinKind.QUARTERLY_SUMMARY, "2023-Q3", 7))


async def fill_bulletins(db: Database, reader: Reader) -> int:
    """Draw up and issue bulletins of the first plan, each from the data of its period's end; returns how many."""
    within = Reader(db, reader.fragments)
    battles = await db.fetch(_BATTLES)
    first, second = battles[0], next((row for row in battles[1:] if row["plan"] == battles[0]["plan"]), battles[0])
    count = 0
    for row, wanted in ((first, _CIRCULARS), (second, _OTHERS)):
        for one in wanted:
            await _fill(db, within, row["plan"], row["code"], one)
            count += 1
    return count


async def _fill(db: Database, reader: Reader, plan: str, battle: str, wanted: _Wanted) -> None:
    caller = of_battle(battle)
    end = datetime.combine(parse_period(wanted.period).end + timedelta(days=1), time.min, SHANGHAI)
    asked = BulletinCreate(plan=plan, battle=battle, kind=wanted.kind, period=wanted.period, as_of=end)
    drawn = await create_bulletin(db, reader, asked, now=end + timedelta(hours=9), caller=caller)
    said = BulletinPatch(
        remarks={one.task: "演示数据:请牵头单位倒排工期,下月底前赶上序时进度。" for one in drawn.content.laggards[:1]},
        closing="演示数据:请各单位对照问题抓好整改。",
        contact="联系人:演示,电话:0745-0000000",
        copy_to=["县委办", "县人大常委会办公室", "县政协办"],
    )
    # An id that asyncpg read is of a type of its own.
    identity = UUID(int=drawn.id.int)
    later = end + timedelta(hours=15)
    await patch_bulletin(db, reader, identity, said, match=None, now=later, caller=caller)
    if wanted.days is not None:
        issued = end + timedelta(days=wanted.days, hours=10)
        await issue_bulletin(db, identity, BulletinIssue(), match=None, now=issued, caller=caller)
