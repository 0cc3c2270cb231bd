"""A bulletin against the one issued before it, figure by figure."""

from decimal import Decimal
from uuid import UUID

from sqlalchemy import bindparam

from app.db import Query
from app.domain.bulletins import BulletinState, number_text
from app.domain.progress import Light, Stage
from app.models import Bulletin
from app.rendering import Known, Rendered, render
from app.schemas.bulletin import BulletinDifference, FigureDifference, LaggardDifference
from app.schemas.bulletin_content import BulletinContent
from app.services.bulletin_reads import COLUMNS, bulletin_row
from app.services.caller import Caller
from app.services.reader import Reader, decoded

__all__ = ["get_difference"]

_PREVIOUS = Query(
    COLUMNS.add_columns(Bulletin.content)
    .where(
        Bulletin.plan_id == bindparam("plan"),
        Bulletin.battle_id.is_not_distinct_from(bindparam("battle", type_=Bulletin.battle_id.type)),
        Bulletin.kind == bindparam("kind"),
        Bulletin.state == BulletinState.ISSUED.value,
        Bulletin.period_start < bindparam("start", type_=Bulletin.period_start.type),
    )
    .order_by(Bulletin.period_start.desc())
    .limit(1)
)


async def get_difference(reader: Reader, identity: UUID, known: Known, *, caller: Caller) -> Rendered:
    """A bulletin against the last one issued before it, figure by figure.

    Raises:
        NotFoundError: there is none of this id, or none for this caller.
    """
    row = await bulletin_row(reader.pool, identity, caller)
    previous = await reader.pool.fetch_row(
        _PREVIOUS, plan=row["plan_id"], battle=row["battle_id"], kind=row["kind"], start=row["period_start"]
    )
    after = BulletinContent.model_validate(decoded(row["content"]))
    before = None if previous is None else BulletinContent.model_validate(decoded(previous["content"]))
    items = _figures(before, after)
    laggards = _lagging(before, after)
    changed = sum(1 for item in items if item.change)
    if previous is None:
        explanation = "此前没有已印发的同类简报通报,无从比较"
    else:
        entered = sum(1 for one in laggards if one.before is None)
        left = sum(1 for one in laggards if one.after is None)
        explanation = (
            f"与 {previous['period']} {number_text(previous['year'], previous['number'])}相比,{changed} 项数据有变化,"
            f"新列入滞后任务 {entered} 项,退出 {left} 项"
        )
    shown = BulletinDifference(
        id=row["id"],
        previous=None if previous is None else previous["id"],
        previous_period=None if previous is None else previous["period"],
        items=items,
        laggards=laggards,
        explanation=explanation,
    )
    return render(shown, known)


def _figures(before: BulletinContent | None, after: BulletinContent) -> list[FigureDifference]:
    """Every figure of either, in the order of the later one."""
    then, now = {} if before is None else _measured(before), _measured(after)
    compared: list[FigureDifference] = []
    for key in dict.fromkeys([*now, *then]):
        (name, old), (_, new) = then.get(key, now.get(key, ("", None))), now.get(key, then.get(key, ("", None)))
        old, new = (old if key in then else None), (new if key in now else None)
        change = None if old is None or new is None else new - old
        compared.append(FigureDifference(key=key, name=name, before=old, after=new, change=change))
    return compared


def _measured(content: BulletinContent) -> dict[str, tuple[str, Decimal | None]]:
    progress = content.progress
    found: dict[str, tuple[str, Decimal | None]] = {
        "tasks": ("任务数", Decimal(progress.tasks)),
        "reported": ("已有认定进度的任务数", Decimal(progress.reported)),
        **{f"stages.{one}": (f"{one.label}任务数", Decimal(progress.stages[one])) for one in Stage},
        **{f"lights.{one}": (f"{one.label}任务数(亮灯)", Decimal(progress.lights[one])) for one in Light},
        "completion_rate": ("完成率(%)", progress.completion_rate),
        "scheduled": ("序时进度(%)", progress.scheduled),
        "mean_deviation": ("平均偏差(百分点)", progress.mean_deviation),
        "targets_reached": ("达到的目标数", Decimal(progress.targets_reached)),
        "orders": ("未销号的督办单", Decimal(len(content.orders))),
    }
    for one in content.timeliness:
        total = one.compliance.total
        found[f"timeliness.{one.rule}"] = (f"{one.name}按时率(%)", total.timeliness.percent)
        found[f"completeness.{one.rule}"] = (f"{one.name}报送率(%)", total.completeness.percent)
    for target in content.targets:
        found[f"targets.{target.target}"] = (target.indicator, target.figure)
    return found


def _lagging(before: BulletinContent | None, after: BulletinContent) -> list[LaggardDifference]:
    then = {} if before is None else {one.task: one for one in before.laggards}
    now = {one.task: one for one in after.laggards}
    return [
        LaggardDifference(
            task=task,
            title=(now.get(task) or then[task]).title,
            before=then[task].deviation if task in then else None,
            after=now[task].deviation if task in now else None,
        )
        for task in dict.fromkeys([*now, *then])
    ]
