"""Search over everything a plan holds, and the ``q`` filter of the lists."""

from typing import Any

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Integer,
    Text,
    all_,
    any_,
    bindparam,
    case,
    cast,
    func,
    literal,
    or_,
    select,
)

from app.domain.plan import region_of
from app.domain.search import EntryKind, query_grams, terms
from app.models import Plan, SearchEntry
from app.pagination import Listing
from app.rendering import Known, Rendered, render
from app.schemas.search import SearchHit, SearchPage, SearchQuery
from app.services.reader import Reader, page_request

__all__ = ["matching", "matching_values", "search"]

_PATHS = {
    EntryKind.PLAN: "/api/v1/plans/{code}",
    EntryKind.BATTLE: "/api/v1/battles/{code}",
    EntryKind.GROUP: "/api/v1/tasks?group={code}",
    EntryKind.TASK: "/api/v1/tasks/{code}",
    EntryKind.UNIT: "/api/v1/units/{code}",
    EntryKind.TARGET: "/api/v1/targets/{code}",
    EntryKind.RULE: "/api/v1/rules/{code}?plan={plan}",
    EntryKind.ANOMALY: "/api/v1/anomalies?plan={plan}",
}
# Among equally good hits people look for a unit first, then for work, then for the rest.
_KIND_ORDER = [
    EntryKind.UNIT,
    EntryKind.TASK,
    EntryKind.TARGET,
    EntryKind.RULE,
    EntryKind.GROUP,
    EntryKind.BATTLE,
    EntryKind.PLAN,
    EntryKind.ANOMALY,
]


def _holds(entry: Any) -> ColumnElement[bool]:
    """The entry has every word of the query: by the index on grams first, then by the text itself."""
    return entry.grams.contains(bindparam("grams", type_=ARRAY(Text))) & entry.haystack.like(
        all_(bindparam("patterns", type_=ARRAY(Text)))
    )


def matching(kind: EntryKind, code: Any) -> ColumnElement[bool]:
    """Condition that the row with ``code`` holds the query of :func:`matching_values`."""
    return code.in_(select(SearchEntry.code).where(SearchEntry.kind == kind.value, _holds(SearchEntry)))


def matching_values(query: str) -> dict[str, Any]:
    """The parameters of :func:`matching` for what a user typed."""
    words = terms(query)
    needed = set[str]().union(*map(query_grams, words))
    return {"grams": sorted(needed), "patterns": [f"%{_escaped(word)}%" for word in words]}


def _escaped(word: str) -> str:
    return word.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def _ranked() -> Any:
    entry = SearchEntry
    whole, inside, start = (bindparam(name, type_=Text) for name in ("whole", "inside", "start"))
    ending = bindparam("ending", type_=Text)

    def lines(names: Any) -> Any:
        return literal("\n") + func.array_to_string(names, "\n") + literal("\n")

    name = func.coalesce(entry.names[1], "")
    levels: list[tuple[Any, int, str]] = [
        (name == whole, 100, "name"),
        (whole == any_(entry.names), 95, "alias"),
        (name.like(start), 85, "name"),
        (lines(entry.names).like(literal("%\n") + start), 80, "alias"),
        (name.like(inside), 70, "name"),
        (lines(entry.names).like(inside), 65, "alias"),
        (whole == any_(entry.initials), 60, "initials"),
        (lines(entry.initials).like(ending + literal("\n%")), 58, "initials"),
        (whole == any_(entry.pinyin), 56, "pinyin"),
        (lines(entry.initials).like(inside), 45, "initials"),
        (lines(entry.pinyin).like(inside), 40, "pinyin"),
    ]
    score = case(*((condition, literal(value, Integer)) for condition, value, _ in levels), else_=literal(20, Integer))
    matched = case(*((condition, literal(where)) for condition, _, where in levels), else_=literal("text"))
    kind_order = func.array_position(cast([kind.value for kind in _KIND_ORDER], ARRAY(Text)), entry.kind)
    ranked = select(
        entry.kind,
        entry.code,
        entry.title,
        entry.detail,
        entry.region_code,
        entry.grams,
        entry.haystack,
        entry.plan_id,
        Plan.code.label("plan"),
        score.label("score"),
        matched.label("matched"),
        (
            func.lpad(cast(literal(100, Integer) - score, Text), 3, "0")
            + cast(kind_order, Text)
            + entry.sort_key
            + literal("/")
            + entry.region_code
            + func.coalesce(Plan.code, "")
        ).label("sort_key"),
    ).outerjoin(Plan, Plan.id == entry.plan_id)
    return ranked.subquery("ranked")


_RANKED = _ranked()
_LISTING = Listing(
    statement=select(_RANKED),
    key=_RANKED.c.sort_key,
    sorts={"rank": _RANKED.c.sort_key},
    conditions={
        "q": _holds(_RANKED.c),
        "kind": _RANKED.c.kind == bindparam("kind"),
        "plan": or_(
            _RANKED.c.plan == bindparam("plan"),
            (_RANKED.c.plan_id.is_(None)) & (_RANKED.c.region_code == bindparam("region")),
        ),
    },
)


async def search(reader: Reader, query: SearchQuery, known: Known) -> Rendered:
    """One page of hits, best first."""
    whole = "".join(terms(query.q))
    escaped = _escaped(whole)
    filters: dict[str, dict[str, Any]] = {
        "q": {
            **matching_values(query.q),
            "whole": whole,
            "inside": f"%{escaped}%",
            "start": f"{escaped}%",
            "ending": f"%{escaped}",
        }
    }
    if query.kind is not None:
        filters["kind"] = {"kind": query.kind.value}
    if query.plan is not None:
        filters["plan"] = {"plan": query.plan, "region": region_of(query.plan)}
    page = await _LISTING.page(reader.pool, page_request(query, sort="rank"), filters)
    hits = [
        SearchHit(
            kind=row["kind"],
            code=row["code"],
            plan=row["plan"],
            title=row["title"],
            detail=row["detail"],
            matched=row["matched"],
            score=row["score"],
            href=_PATHS[EntryKind(row["kind"])].format(code=row["code"], plan=row["plan"]),
        )
        for row in page.rows
    ]
    return render(SearchPage(items=hits, next_cursor=page.next_cursor, total=page.total), known)
