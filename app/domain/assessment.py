"""The yearly score of a lead unit, with its arithmetic: every line says what went into it and where that is laid down.

Attachment 6, 三(五), names five aspects, two grades, four faults that cost points, and two cases that bar a good grade.
It gives no weight, no points and no threshold: those are a :class:`Scheme`, data of a plan, and
:data:`DEFAULT_SCHEME` is ours.

Everything is computed in fractions from the inputs that the lines show, and rounded once, a line, half up to the
decimals of the scheme. So whoever has the answer can work the total out by hand, and comes to the same.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from types import MappingProxyType
from typing import Final

from app.domain.plan import Labelled

__all__ = [
    "COSTLY",
    "DEFAULT_SCHEME",
    "DEFAULT_SCHEME_NOTE",
    "MARKABLE",
    "SOURCE",
    "Aspect",
    "Cap",
    "CapReason",
    "Facts",
    "FaultKind",
    "Given",
    "Grade",
    "Line",
    "Scheme",
    "Score",
    "score",
]

SOURCE: Final = "附件6/三/(五)"
"""Where the document lays all of it down."""

DEFAULT_SCHEME_NOTE: Final = (
    "附件6三(五)只列出五个方面、四种过错和两个等次,没有权重、分值和分数线:"
    "所列各数为本系统的默认办法,由县里另定后以新版本为准。"
)
"""What goes with :data:`DEFAULT_SCHEME`, so that nobody takes its numbers for the document's."""


class Aspect(Labelled):
    """What a unit is judged by."""

    DISPATCH = "dispatch", "日常调度"
    COMPLETION = "completion", "完成情况"
    QUALITY = "quality", "项目质量"
    UPKEEP = "upkeep", "后续管理"
    EXPERIENCE = "experience", "经验总结"


MARKABLE: Final = frozenset({Aspect.QUALITY, Aspect.UPKEEP})
"""The aspects that somebody gives a mark for: what the reports alone do not tell."""


class FaultKind(Labelled):
    """What a unit did wrong. Late and missed follow from the reports; the others are entered, with evidence."""

    LATE = "late", "迟报"
    MISSED = "missed", "漏报"
    ERRONEOUS = "erroneous", "错报"
    CONCEALED = "concealed", "瞒报"
    GRAVE_EFFECT = "grave_effect", "重大不良影响"


COSTLY: Final = (FaultKind.LATE, FaultKind.MISSED, FaultKind.ERRONEOUS, FaultKind.CONCEALED)
"""The faults that cost points; a grave bad effect bars a grade instead."""


class Grade(Labelled):
    """What a score comes to. The document knows no third grade: below the line it is left to the county."""

    EXCELLENT = "excellent", "优秀"
    QUALIFIED = "qualified", "合格"
    UNDETERMINED = "undetermined", "待定"


class CapReason(Labelled):
    """Why a unit cannot be excellent, however many points it has."""

    UNFINISHED_TASKS = "unfinished_tasks", "有任务未完成"
    GRAVE_EFFECT = "grave_effect", "造成重大不良影响"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheme:
    """How a score is made of what is known.

    ``weights`` are points of 100, one an aspect. ``points`` are taken off for each fault, and no more than ``caps`` for
    all of a kind. ``completed_share`` is how much of the completion, in per cent, goes by the tasks that are completed;
    the rest by their mean per cent. ``excellent_from`` and ``qualified_from`` are totals.

    Raises:
        ValueError: weights that are not 100 in all, a number out of its range, or thresholds out of order; in Chinese.
    """

    weights: Mapping[Aspect, Decimal]
    points: Mapping[FaultKind, Decimal]
    caps: Mapping[FaultKind, Decimal]
    completed_share: Decimal = Decimal(50)
    excellent_from: Decimal = Decimal(90)
    qualified_from: Decimal = Decimal(60)
    decimals: int = 2

    def __post_init__(self) -> None:
        if set(self.weights) != set(Aspect) or any(weight < 0 for weight in self.weights.values()):
            raise ValueError("五个方面的权重须逐一给出,不得为负")
        if sum(self.weights.values()) != 100:
            raise ValueError("五个方面的权重合计须为 100")
        if set(self.points) != set(COSTLY) or set(self.caps) != set(COSTLY):
            raise ValueError("四种过错的扣分与扣分上限须逐一给出")
        numbers = (*self.points.values(), *self.caps.values(), self.completed_share)
        if any(not 0 <= number <= 100 for number in numbers):
            raise ValueError("扣分、扣分上限和已完成任务所占的比例须为 0 至 100")
        if not 0 <= self.qualified_from <= self.excellent_from <= 100:
            raise ValueError("合格线不得高于优秀线,且都须为 0 至 100")
        if not 0 <= self.decimals <= 4:
            raise ValueError("小数位数须为 0 至 4")


DEFAULT_SCHEME: Final = Scheme(
    weights=MappingProxyType(
        {
            Aspect.DISPATCH: Decimal(20),
            Aspect.COMPLETION: Decimal(40),
            Aspect.QUALITY: Decimal(20),
            Aspect.UPKEEP: Decimal(10),
            Aspect.EXPERIENCE: Decimal(10),
        }
    ),
    points=MappingProxyType(
        {
            FaultKind.LATE: Decimal(1),
            FaultKind.MISSED: Decimal(2),
            FaultKind.ERRONEOUS: Decimal(2),
            FaultKind.CONCEALED: Decimal(5),
        }
    ),
    caps=MappingProxyType(
        {
            FaultKind.LATE: Decimal(10),
            FaultKind.MISSED: Decimal(20),
            FaultKind.ERRONEOUS: Decimal(20),
            FaultKind.CONCEALED: Decimal(100),
        }
    ),
)


@dataclass(frozen=True, slots=True)
class Given:
    """A mark that somebody gave, from 0 to 100."""

    value: Decimal
    by: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known of one unit in the year.

    Of reports ``due`` are those whose time was up, ``on_time`` those of them that came in time; of texts ``texts_due``
    are as many as the periods asked for whose time was up, and ``texts_sent`` what came of them, none counted twice.
    ``certified`` are reports that were confirmed, ``clean`` those of them that were never sent back nor corrected.
    ``unfinished`` are the codes of the tasks that are not completed. ``faults`` count; of those that were entered only
    what was upheld, and ``pending`` is how many are not decided.
    """

    due: int = 0
    on_time: int = 0
    tasks: int = 0
    completed: int = 0
    mean_percent: Decimal = Decimal(0)
    unfinished: Sequence[str] = ()
    certified: int = 0
    clean: int = 0
    texts_due: int = 0
    texts_sent: int = 0
    faults: Mapping[FaultKind, int] = field(default_factory=dict[FaultKind, int])
    marks: Mapping[Aspect, Given] = field(default_factory=dict[Aspect, Given])
    pending: int = 0


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a score: an aspect, which gives points, or a fault, which takes them.

    ``weight`` is that of the scheme and ``counted_weight`` what it comes to where aspects are left out; ``ratio`` is
    shown with four decimals, the points are computed from the inputs. An aspect without points is left out.
    """

    item: Aspect | FaultKind
    formula: str
    inputs: Mapping[str, Decimal | int]
    points: Decimal | None
    explanation: str
    weight: Decimal | None = None
    counted_weight: Decimal | None = None
    ratio: Decimal | None = None
    mark: Given | None = None
    source: str = SOURCE


@dataclass(frozen=True, slots=True)
class Cap:
    """Why the unit cannot be excellent; with the codes of its unfinished tasks."""

    reason: CapReason
    tasks: Sequence[str]
    explanation: str


@dataclass(frozen=True, slots=True)
class Score:
    """What a unit comes to; ``total`` is ``None`` where no aspect could be counted at all."""

    lines: Sequence[Line]
    total: Decimal | None
    grade: Grade
    capped_by: Sequence[Cap]
    explanation: str


def score(scheme: Scheme, facts: Facts) -> Score:
    """Score one unit by a scheme."""
    parts = {aspect: _part(scheme, facts, aspect) for aspect in Aspect}
    counted = sum((scheme.weights[aspect] for aspect, part in parts.items() if part.ratio is not None), Decimal(0))
    lines = [_aspect_line(scheme, aspect, part, counted) for aspect, part in parts.items()]
    lines += [_fault_line(scheme, kind, facts.faults.get(kind, 0)) for kind in COSTLY]
    caps = _caps(facts)
    total = None
    if counted:
        total = min(Decimal(100), max(Decimal(0), sum((line.points or Decimal(0) for line in lines), Decimal(0))))
    grade = _grade(scheme, total, capped=bool(caps))
    scored = Score(lines, total, grade, caps, "")
    return replace(scored, explanation=_explain(scheme, facts, scored))


@dataclass(frozen=True, slots=True)
class _Part:
    """What an aspect comes to before it is weighed; without a ratio it is left out, ``why`` says why."""

    ratio: Fraction | None
    formula: str
    inputs: Mapping[str, Decimal | int]
    why: str
    mark: Given | None = None


def _part(scheme: Scheme, facts: Facts, aspect: Aspect) -> _Part:
    mark = facts.marks.get(aspect) if aspect in MARKABLE else None
    if mark is not None:
        why = f"{mark.by}评 {_shown(mark.value)} 分,理由:{mark.reason.rstrip('。;')}"
        return _Part(Fraction(mark.value) / 100, "评分(mark) ÷ 100", {"mark": mark.value}, why, mark)
    match aspect:
        case Aspect.DISPATCH:
            inputs, formula = {"on_time": facts.on_time, "due": facts.due}, "按时报出(on_time) ÷ 已到期的应报(due)"
            return _share(inputs, formula, f"到期应报 {facts.due} 条,按时 {facts.on_time} 条", "没有到期的应报")
        case Aspect.QUALITY:
            inputs, formula = (
                {"clean": facts.clean, "certified": facts.certified},
                "一次认定的进度(clean) ÷ 已认定的进度(certified)",
            )
            why = f"已认定 {facts.certified} 份,其中未经退回和更正 {facts.clean} 份"
            return _share(inputs, formula, why, "没有已认定的进度,也没有评分")
        case Aspect.UPKEEP:
            return _Part(None, "评分(mark) ÷ 100", {}, "没有评分")
        case Aspect.EXPERIENCE:
            inputs, formula = (
                {"sent": facts.texts_sent, "due": facts.texts_due},
                "已报送的材料(sent) ÷ 已到期的应报材料(due)",
            )
            why = f"到期应报材料 {facts.texts_due} 篇,报送 {facts.texts_sent} 篇"
            return _share(inputs, formula, why, "没有到期的应报材料")
        case Aspect.COMPLETION:
            return _completion(scheme, facts)


def _share(inputs: Mapping[str, int], formula: str, why: str, without: str) -> _Part:
    part, whole = inputs.values()
    return _Part(min(Fraction(1), Fraction(part, whole)) if whole else None, formula, inputs, why if whole else without)


def _completion(scheme: Scheme, facts: Facts) -> _Part:
    inputs: dict[str, Decimal | int] = {
        "completed": facts.completed,
        "tasks": facts.tasks,
        "mean_percent": facts.mean_percent,
        "completed_share": scheme.completed_share,
    }
    formula = (
        "[已完成任务(completed) ÷ 牵头任务(tasks) × 所占比例(completed_share)"
        " + 平均完成百分比(mean_percent) ÷ 100 × (100 - 所占比例)] ÷ 100"
    )
    if not facts.tasks:
        return _Part(None, formula, inputs, "没有牵头任务")
    share = Fraction(scheme.completed_share) / 100
    ratio = Fraction(facts.completed, facts.tasks) * share + Fraction(facts.mean_percent) / 100 * (1 - share)
    why = f"牵头任务 {facts.tasks} 项,已完成 {facts.completed} 项,平均完成 {_shown(facts.mean_percent)}%"
    return _Part(ratio, formula, inputs, why)


def _aspect_line(scheme: Scheme, aspect: Aspect, part: _Part, counted: Decimal) -> Line:
    weight = scheme.weights[aspect]
    formula = f"{part.formula} × 权重(weight) × 100 ÷ 计入各方面的权重合计(counted_weights)"
    if part.ratio is None or not counted:
        why = f"{aspect.label}:{part.why},不计入,其余各方面的权重按比例放大"
        return Line(aspect, formula, part.inputs, None, why, weight)
    inputs = {**part.inputs, "weight": weight, "counted_weights": counted}
    exact = Fraction(weight) * 100 / Fraction(counted)
    points = _rounded(part.ratio * exact, scheme.decimals)
    counted_weight = _rounded(exact, 4)
    why = f"{aspect.label}:{part.why};权重 {_shown(counted_weight)},得 {_shown(points)} 分"
    return Line(
        aspect, formula, inputs, points, why, weight, counted_weight, ratio=_rounded(part.ratio, 4), mark=part.mark
    )


def _fault_line(scheme: Scheme, kind: FaultKind, count: int) -> Line:
    each, limit = scheme.points[kind], scheme.caps[kind]
    points = -_rounded(Fraction(min(limit, each * count)), scheme.decimals)
    inputs: dict[str, Decimal | int] = {"count": count, "points_each": each, "limit": limit}
    formula = "次数(count) × 每次扣分(points_each),至多扣分上限(limit)"
    why = f"{kind.label} {count} 次,每次扣 {_shown(each)} 分(至多 {_shown(limit)} 分),扣 {_shown(abs(points))} 分"
    # No minus before a nought.
    return Line(kind, formula, inputs, points or abs(points), why)


def _caps(facts: Facts) -> list[Cap]:
    barred = "县年度绩效考核不得评为良好及以上等次,本考核不评优秀"
    caps: list[Cap] = []
    if facts.unfinished:
        why = f"{len(facts.unfinished)} 项牵头任务未完成,{barred}"
        caps.append(Cap(CapReason.UNFINISHED_TASKS, tuple(facts.unfinished), why))
    if grave := facts.faults.get(FaultKind.GRAVE_EFFECT, 0):
        caps.append(Cap(CapReason.GRAVE_EFFECT, (), f"已认定造成重大不良影响 {grave} 起,{barred}"))
    return caps


def _grade(scheme: Scheme, total: Decimal | None, *, capped: bool) -> Grade:
    if total is None or total < scheme.qualified_from:
        return Grade.UNDETERMINED
    return Grade.EXCELLENT if total >= scheme.excellent_from and not capped else Grade.QUALIFIED


def _explain(scheme: Scheme, facts: Facts, scored: Score) -> str:
    """The whole in one Chinese sentence."""
    lines, total, grade = scored.lines, scored.total, scored.grade
    said = "没有可以计分的方面" if total is None else f"总分 {_shown(total)}"
    if total is not None:
        gained = sum((line.points for line in lines if line.points and line.points > 0), Decimal(0))
        lost = sum((-line.points for line in lines if line.points and line.points < 0), Decimal(0))
        said += f"(各方面得 {_shown(gained)} 分,过错扣 {_shown(lost)} 分)"
    said += f",等次{grade.label}"
    if grade is Grade.UNDETERMINED and total is not None:
        said += f":未达合格线 {_shown(scheme.qualified_from)} 分,原文没有不合格一档,由县里确定"
    left_out = [line.item.label for line in lines if line.points is None]
    parts = [said, *(cap.explanation for cap in scored.capped_by)]
    if left_out:
        parts.append(f"{'、'.join(left_out)}没有依据,不计入")
    if facts.pending:
        parts.append(f"另有 {facts.pending} 起登记的过错尚未认定,不计入")
    return ";".join(parts)


def _rounded(value: Fraction, decimals: int) -> Decimal:
    """Half up, exactly: a fraction has no last digit that a division would have to drop."""
    whole, rest = divmod(abs(value) * 10**decimals, 1)
    digits = int(whole) + (1 if rest * 2 >= 1 else 0)
    amount = Decimal(digits).scaleb(-decimals)
    return -amount if value < 0 else amount


def _shown(value: Decimal) -> str:
    return f"{value.quantize(Decimal('0.0001'), ROUND_HALF_UP).normalize():f}"
