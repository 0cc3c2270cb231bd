"""Bulletins as they are read: listed, shown, previewed, and checked against the data."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, Boolean, Text, Uuid, and_, any_, bindparam, or_, select

from app.clock import SHANGHAI, day_of
from app.db import Database, Query
from app.domain.actions import bulletin_actions
from app.domain.bulletin_scope import bulletin_scope
from app.domain.bulletins import (
    BulletinKind,
    BulletinState,
    canonical,
    default_title,
    hash_of,
    instant_text,
    number_text,
    period_text,
    refuse_period,
)
from app.domain.periods import parse_period
from app.domain.permissions import Capability, Subject, may_edit_bulletin, may_read_bulletin
from app.domain.plan import plan_of
from app.errors import Fault, InvalidRequestError, NotFoundError, unknown_reference
from app.models import Battle, Bulletin, Plan, TaskForce, Unit, UnitAlias
from app.pagination import Listing, Statement
from app.rendering import Known, Rendered, render
from app.schemas.bulletin import (
    BulletinCreate,
    BulletinItem,
    BulletinPage,
    BulletinParts,
    BulletinPreview,
    BulletinQuery,
    BulletinRead,
    BulletinVerification,
)
from app.schemas.bulletin_content import BulletinContent
from app.schemas.task import UnitRef
from app.services.bulletin_content import BulletinOf, compose_content
from app.services.caller import Caller, forbidden
from app.services.deadlines import parsed_period
from app.services.reader import Reader, decoded, equal_to, page_request

__all__ = [
    "COLUMNS",
    "asked_of",
    "bulletin_of",
    "bulletin_row",
    "content_text",
    "demand_editor",
    "document_hash_of",
    "get_bulletin",
    "get_verification",
    "list_bulletins",
    "preview_bulletin",
    "read_bulletin",
    "refuse_as_of",
    "shown_bulletin",
]

_NAMES = tuple(
    name
    for name in BulletinItem.model_fields
    if name not in {"plan", "battle", "unit", "number_text", "explanation", "allowed_actions"}
)
COLUMNS: Statement = (
    select(
        Bulletin.id.label("sort_key"),
        *(getattr(Bulletin, name) for name in _NAMES),
        Bulletin.year,
        Bulletin.plan_id,
        Bulletin.battle_id,
        Bulletin.period_start,
        Plan.code.label("plan"),
        Plan.short_title.label("plan_title"),
        Battle.code.label("battle"),
        Battle.name.label("battle_name"),
        Unit.code.label("unit"),
        Unit.name.label("unit_name"),
    )
    .join(Plan, Plan.id == Bulletin.plan_id)
    .join(Unit, Unit.id == Bulletin.unit_id)
    .outerjoin(Battle, Battle.id == Bulletin.battle_id)
)
"""What every answer about bulletins needs of them."""


def _among(column: Any, parameter: str) -> Any:
    return column == any_(bindparam(parameter, type_=ARRAY(Text)))


_LISTING = Listing(
    statement=COLUMNS,
    key=Bulletin.id,
    sorts={"id": Bulletin.id},
    conditions={
        "plan": Plan.code == bindparam("plan"),
        "battle": Battle.code == bindparam("battle"),
        "kind": Bulletin.kind == bindparam("kind"),
        "period": Bulletin.period == bindparam("period"),
        "state": Bulletin.state == bindparam("state"),
        "seen": or_(
            and_(
                Bulletin.state == BulletinState.ISSUED.value,
                or_(bindparam("seen_everything", type_=Boolean), _among(Plan.code, "seen_plans")),
            ),
            _among(Plan.code, "seen_draft_plans"),
            _among(Battle.code, "seen_draft_battles"),
        ),
    },
)
_ONE = Query(COLUMNS.add_columns(Bulletin.content, Bulletin.parts).where(Bulletin.id == bindparam("id", type_=Uuid)))
_PLAN = Query(
    select(Plan.id, Plan.code, Plan.short_title, Plan.year, Plan.issuer).where(Plan.code == bindparam("plan"))
)
_BATTLE = Query(
    select(
        Battle.id,
        Battle.code,
        Battle.name,
        TaskForce.name.label("force"),
        Unit.id.label("unit_id"),
        Unit.code.label("unit"),
        Unit.name.label("unit_name"),
    )
    .join(TaskForce, TaskForce.battle_id == Battle.id)
    .join(Unit, Unit.id == TaskForce.office_unit_id)
    .where(
        Battle.plan_id == bindparam("plan"),
        or_(bindparam("battle", type_=Text).is_(None), Battle.code == bindparam("battle", type_=Text)),
    )
    .order_by(Battle.ordinal)
)
_ISSUER = Query(
    select(Unit.id, Unit.code, Unit.name)
    .join(UnitAlias, UnitAlias.unit_id == Unit.id)
    .join(Plan, Plan.region_code == Unit.region_code)
    .where(Plan.id == bindparam("plan"), UnitAlias.name == Plan.issuer)
)


def demand_editor(wanted: BulletinCreate, caller: Caller, *, at: str) -> None:
    """Refuse whoever may not draw such a bulletin up; ``at`` is where it was asked for.

    Raises:
        UnknownReferenceError: the battle is not of the plan, by its code.
        ForbiddenError: the battle, or the plan, is not one that the caller acts for.
    """
    if wanted.battle is not None and plan_of(wanted.battle) != wanted.plan:
        raise unknown_reference(f"{at}/battle", "unknown_battle", f"{wanted.battle} 不是 {wanted.plan} 的仗")
    if not may_edit_bulletin(caller.actor, Subject(wanted.plan, wanted.battle)):
        raise forbidden(caller.actor, Capability.EDIT_BULLETINS, wanted.battle or wanted.plan)


async def bulletin_of(reader: Reader, wanted: BulletinCreate, *, at: str) -> BulletinOf:
    """Of what a bulletin would be; ``at`` is where it was asked for.

    Raises:
        UnknownReferenceError: no such plan or battle, a period that is none, or one that is not of this kind.
    """
    plan = await reader.pool.fetch_row(_PLAN, plan=wanted.plan)
    if plan is None:
        raise unknown_reference(f"{at}/plan", "unknown_plan", f"没有总体方案 {wanted.plan};可用 /api/v1/plans 查找")
    period = parsed_period(wanted.period, f"{at}/period")
    if (refused := refuse_period(wanted.kind, period, plan["year"])) is not None:
        raise unknown_reference(f"{at}/period", "wrong_period", refused)
    found = await reader.pool.fetch_row(_BATTLE, plan=plan["id"], battle=wanted.battle)
    if found is None:
        raise unknown_reference(f"{at}/battle", "unknown_battle", f"没有仗 {wanted.battle};可用 /api/v1/battles 查找")
    of_battle = wanted.battle is not None
    unit: tuple[int, str, str] = (found["unit_id"], found["unit"], found["unit_name"])
    if not of_battle and (issuer := await reader.pool.fetch_row(_ISSUER, plan=plan["id"])) is not None:
        unit = (issuer["id"], issuer["code"], issuer["name"])
    return BulletinOf(
        plan_id=plan["id"],
        plan=plan["code"],
        plan_title=plan["short_title"],
        year=plan["year"],
        battle_id=found["id"] if of_battle else None,
        battle=found["code"] if of_battle else None,
        battle_name=found["name"] if of_battle else None,
        unit_id=unit[0],
        unit=unit[1],
        unit_name=unit[2],
        signer=found["force"] if of_battle else plan["issuer"],
        kind=wanted.kind,
        period=period,
    )


def asked_of(row: Any) -> BulletinCreate:
    """What a bulletin was drawn up for, as it would be asked for again."""
    return BulletinCreate.model_validate({name: row[name] for name in ("plan", "battle", "kind", "period")})


def refuse_as_of(of: BulletinOf, as_of: datetime, *, now: datetime, at: str) -> None:
    """Refuse an instant that lies ahead, or before the period.

    Raises:
        InvalidRequestError: it does.
    """
    if as_of > now:
        detail = "数据截至时刻不能晚于现在"
    elif day_of(as_of) < of.period.start:
        detail = f"数据截至时刻不能早于 {of.period.code} 之始({of.period.start})"
    else:
        return
    raise InvalidRequestError(detail, faults=[Fault(f"{at}/as_of", "wrong_instant", detail)])


def content_text(content: BulletinContent) -> str:
    """A content as it is kept and hashed."""
    return canonical(content.model_dump(mode="json"))


def document_hash_of(row: Any) -> str:
    """The hash of an issued bulletin: of what it says, of what was written by hand, and of what it is called."""
    about = {name: row[name] for name in ("plan", "battle", "kind", "period", "number", "title", "issued_by")}
    instants = {name: row[name].astimezone(SHANGHAI).isoformat() for name in ("as_of", "issued_at")}
    return hash_of(row["content"], row["parts"], canonical({**about, **instants}))


def _subject(row: Any) -> Subject:
    return Subject(row["plan"], row["battle"], draft=row["state"] != BulletinState.ISSUED)


async def bulletin_row(db: Database, identity: UUID, caller: Caller) -> Any:
    """The row of a bulletin that the caller may read.

    Raises:
        NotFoundError: there is none of this id, or none for this caller.
    """
    row = await db.fetch_row(_ONE, id=identity)
    if row is None or not may_read_bulletin(caller.actor, _subject(row), caller.public.progress):
        raise NotFoundError(f"没有简报通报 {identity}")
    return row


def _item(row: Any, caller: Caller) -> dict[str, Any]:
    state = BulletinState(row["state"])
    return {
        **{name: row[name] for name in (*_NAMES, "plan", "battle")},
        "unit": UnitRef(unit=row["unit"], name=row["unit_name"]),
        "number_text": number_text(row["year"], row["number"]),
        "explanation": _explain(row, state),
        "allowed_actions": bulletin_actions(caller.actor, state, Subject(row["plan"], row["battle"])),
    }


def _explain(row: Any, state: BulletinState) -> str:
    what = f"{row['battle_name'] or row['plan_title']}{period_text(parse_period(row['period']))}"
    what += BulletinKind(row["kind"]).label
    figures = f"数据截至{instant_text(row['as_of'], SHANGHAI)}"
    match state:
        case BulletinState.DRAFT:
            return f"{what}草稿,{figures},尚未印发"
        case BulletinState.DISCARDED:
            return f"{what}草稿已于{instant_text(row['discarded_at'], SHANGHAI)}作废:{row['discard_reason']}"
        case BulletinState.ISSUED:
            filed = f",报出应报{row['filed']}条" if row["filed"] else ""
            number = number_text(row["year"], row["number"])
            return f"{what}{number}于{instant_text(row['issued_at'], SHANGHAI)}印发{filed},{figures}"


def shown_bulletin(row: Any, caller: Caller) -> BulletinRead:
    """A bulletin as the API shows it."""
    content, parts = decoded(row["content"]), decoded(row["parts"])
    return BulletinRead.model_validate({**_item(row, caller), "content": content, "parts": parts})


async def read_bulletin(db: Database, identity: UUID, caller: Caller) -> BulletinRead:
    """A bulletin that the caller may read.

    Raises:
        NotFoundError: there is none of this id, or none for this caller.
    """
    return shown_bulletin(await bulletin_row(db, identity, caller), caller)


async def get_bulletin(reader: Reader, identity: UUID, known: Known, *, caller: Caller) -> Rendered:
    """One bulletin.

    Raises:
        NotFoundError: there is none of this id, or none for this caller.
    """
    return render(await read_bulletin(reader.pool, identity, caller), known)


async def list_bulletins(reader: Reader, query: BulletinQuery, known: Known, *, caller: Caller) -> Rendered:
    """One page of the bulletins that the caller may read, by when they were drawn up.

    Raises:
        UnknownReferenceError: the period is none.
    """
    filters = equal_to(query, "plan", "battle", "kind", "state")
    if query.period is not None:
        filters["period"] = {"period": parsed_period(query.period, "/query/period").code}
    scope = bulletin_scope(caller.actor, public=caller.public.progress)
    if not scope.drafts_everywhere:
        filters["seen"] = {
            "seen_everything": scope.everything,
            "seen_plans": sorted(scope.plans),
            "seen_draft_plans": sorted(scope.draft_plans),
            "seen_draft_battles": sorted(scope.draft_battles),
        }
    page = await _LISTING.page(reader.pool, page_request(query, sort=query.sort), filters)
    items = [BulletinItem.model_validate(_item(row, caller)) for row in page.rows]
    return render(BulletinPage(items=items, next_cursor=page.next_cursor, total=page.total), known)


async def preview_bulletin(
    reader: Reader, wanted: BulletinCreate, known: Known, *, now: datetime, caller: Caller
) -> Rendered:
    """What a bulletin would say.

    Raises:
        UnknownReferenceError, InvalidRequestError: as for drawing it up.
        ForbiddenError: the caller may not draw it up.
    """
    demand_editor(wanted, caller, at="/query")
    of = await bulletin_of(reader, wanted, at="/query")
    as_of = wanted.as_of or now
    refuse_as_of(of, as_of, now=now, at="/query")
    content = await compose_content(reader, of, as_of=as_of)
    shown = BulletinPreview(
        title=default_title(of.kind, of.period, of.scope_name),
        content_hash=hash_of(content_text(content)),
        content=content,
        parts=BulletinParts(signer=of.signer),
    )
    return render(shown, known)


async def get_verification(reader: Reader, identity: UUID, known: Known, *, caller: Caller) -> Rendered:
    """Whether a bulletin is as it was, and whether the data give the same figures of its instant again.

    Raises:
        NotFoundError: there is none of this id, or none for this caller.
        ForbiddenError: the caller does not see all that it sums up, and so cannot have it summed up again.
    """
    row = await bulletin_row(reader.pool, identity, caller)
    if not caller.sees(Subject(row["plan"], row["battle"])):
        raise forbidden(caller.actor, Capability.READ_PROGRESS, "跨单位的汇总")
    of = await bulletin_of(reader, asked_of(row), at="/path")
    text = content_text(await compose_content(reader, of, as_of=row["as_of"]))
    before, after = decoded(row["content"]), decoded(text)
    differing = sorted(name for name in {*before, *after} if before.get(name) != after.get(name))
    intact = hash_of(row["content"]) == row["content_hash"]
    if row["document_hash"] is not None:
        intact = intact and document_hash_of(row) == row["document_hash"]
    same = text == row["content"]
    said = "重新生成的内容与所存的逐字节相同" if same else f"重新生成的内容与所存的不同:{'、'.join(differing)}"
    kept = "所存的未被改动" if intact else "所存的与哈希不符"
    shown = BulletinVerification(
        id=row["id"],
        as_of=row["as_of"],
        content_hash=row["content_hash"],
        recomputed_hash=hash_of(text),
        identical=same,
        differing=differing,
        intact=intact,
        explanation=f"按{instant_text(row['as_of'], SHANGHAI)}的数据,{said};{kept}",
    )
    return render(shown, known)
