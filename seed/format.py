"""The format of the seed files: what a county writes to put its own plan into the service.

One directory a plan: ``plan.yaml``, ``units.yaml`` and one ``battle-N.yaml`` a battle. The models here are the only
definition of the format; ``seed/schema/*.json`` is generated from them (``liuzhang seed-schema``).

Every ``locator`` names a place of the printed document (see :mod:`seed.document`); every ``text`` or ``printed`` is a
short phrase exactly as printed there, white space and the width of punctuation aside. Everything else is written in
the county's own words.
"""

from datetime import date
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, StringConstraints, model_validator

from app.domain.plan import (
    Accumulation,
    AnomalyKind,
    AssignmentRole,
    Direction,
    Frequency,
    HolidayPolicy,
    Obligor,
    Operator,
    Qualitative,
    RuleKind,
    TaskForceRole,
    UnitKind,
)
from app.domain.progress import DEFAULT_JUMP_POINTS, DEFAULT_THRESHOLDS
from app.rendering import exact

__all__ = [
    "Anomaly",
    "BattleFile",
    "Clause",
    "Figure",
    "Format",
    "Indicator",
    "Lights",
    "Line",
    "Locator",
    "Name",
    "Phrase",
    "PlanFile",
    "Points",
    "Region",
    "RegionCode",
    "Rule",
    "Schedule",
    "Skip",
    "Slug",
    "Sources",
    "SuperiorDocument",
    "Target",
    "Task",
    "TaskForce",
    "TaskForceMember",
    "TaskGroup",
    "Unit",
    "UnitsFile",
    "json_schemas",
]

Line = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]
Phrase = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=80)]
Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=80)]
Slug = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=60)]
Locator = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=60)]
RegionCode = Annotated[str, StringConstraints(pattern=r"^\d{6}$")]
Figure = Annotated[Decimal, Field(allow_inf_nan=False, max_digits=15, decimal_places=4)]
Points = Annotated[
    Decimal,
    Field(ge=0, le=100, max_digits=5, decimal_places=2, allow_inf_nan=False),
    PlainSerializer(exact, return_type=float | int, when_used="json"),
]


class Format(BaseModel):
    """Base of all seed models: unknown keys are refused, so that a misspelt key is never lost."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Indicator(Format):
    """指标: what is measured. Defined once per plan, in the file where it is first used."""

    code: Slug = Field(description="英文短码,同一地区内唯一,如 tourist-arrivals")
    name: Name = Field(description="指标名称,如 接待游客人次")
    unit_of_measure: Name | None = Field(default=None, description="计量单位,如 万人次;定性指标留空")
    direction: Direction = Field(description="方向: higher 越高越好, lower 越低越好, steady 保持")
    accumulation: Accumulation = Field(description="口径: cumulative 累计, period 当期, point 时点")


class Target(Format):
    """目标值: a figure to reach, or a qualitative aim, at one place of the document."""

    indicator: Slug = Field(description="指标短码")
    operator: Operator | None = Field(
        default=None,
        description="gte 以上/不低于, lte 以内/不超过, gt 突破, lt 低于, approx 左右, eq 等于, range 区间;定性目标留空",
    )
    value: Figure | None = Field(default=None, description="目标值(区间时为下限)")
    value_max: Figure | None = Field(default=None, description="区间上限")
    qualitative: Qualitative | None = Field(default=None, description="定性目标的方向;有数值时留空")
    text: Phrase = Field(description="原文短语,须与原文逐字一致且在该处只出现一次")
    locator: Locator | None = Field(default=None, description="原文位置;与所属任务相同时省略")
    due_on: date | None = Field(default=None, description="原文写明的完成日期;未写明时省略,取计划年度末")
    baseline: Figure | None = Field(default=None, description="原文写明的基数")
    note: Line | None = Field(default=None, description="如何理解这一目标")

    @model_validator(mode="after")
    def _either_figure_or_direction(self) -> "Target":
        if self.operator is None:
            if self.qualitative is None:
                raise ValueError("没有 operator 的目标是定性目标,须写 qualitative")
            if self.value is not None or self.value_max is not None:
                raise ValueError("定性目标不能带 value 或 value_max")
            return self
        if self.qualitative is not None:
            raise ValueError("有 operator 的目标不能再写 qualitative")
        if self.value is None:
            raise ValueError("有 operator 的目标须写 value")
        if (self.operator is Operator.RANGE) != (self.value_max is not None):
            raise ValueError("value_max 只用于且必须用于 operator: range")
        if self.value_max is not None and self.value_max <= self.value:
            raise ValueError("value_max 须大于 value")
        return self


class Clause(Format):
    """A part of a task (or a whole heading) with its own responsible-unit bracket; names exactly as printed."""

    summary: Line | None = Field(default=None, description="这一部分做什么(自己的话);任务只有一个括注时省略")
    lead: list[Name] = Field(default_factory=list[str], description="牵头单位,按印刷顺序")
    responsible: list[Name] = Field(default_factory=list[str], description="负责单位,按印刷顺序")
    cooperating: list[Name] = Field(default_factory=list[str], description="配合单位,按印刷顺序")
    open_ended: bool = Field(default=False, description="名单以“等”结尾")
    note: Line | None = Field(default=None, description="括注中的限定语,如 按职责分工")

    @property
    def entries(self) -> list[tuple[AssignmentRole, str]]:
        """Every unit of the bracket with its role, leads first, each list in print order."""
        return [
            *((AssignmentRole.LEAD, name) for name in self.lead),
            *((AssignmentRole.RESPONSIBLE, name) for name in self.responsible),
            *((AssignmentRole.COOPERATING, name) for name in self.cooperating),
        ]

    @model_validator(mode="after")
    def _names_somebody_once(self) -> "Clause":
        entries = self.entries
        if not entries:
            raise ValueError("括注须至少有一个单位")
        if len(set(entries)) != len(entries):
            raise ValueError("同一括注中同一角色的单位不能重复")
        return self


class Task(Format):
    """工作任务: a numbered item."""

    number: int = Field(ge=1, le=999, description="原文序号")
    title: Line = Field(description="标题,错字已更正")
    locator: Locator
    deliverables: Line = Field(description="要交付什么,用自己的话概括,不抄原文")
    upstream_note: Line | None = Field(default=None, description="以上级下达为准的说明;与所在组相同时省略")
    clauses: list[Clause] = Field(default_factory=list[Clause])
    targets: list[Target] = Field(default_factory=list[Target])


class TaskGroup(Format):
    """（一）（二）…: a heading inside a battle, with the units its own bracket names."""

    ordinal: int = Field(ge=1, le=99)
    title: Line
    locator: Locator
    summary: Line | None = Field(default=None, description="该组的总体要求,用自己的话概括")
    upstream_note: Line | None = Field(default=None, description="如 具体任务以省里下达为准")
    bracket: Clause | None = Field(default=None, description="标题或引言后的责任括注,适用于全组任务")
    targets: list[Target] = Field(default_factory=list[Target])
    tasks: list[Task] = Field(min_length=1)


class TaskForceMember(Format):
    """A person's office in the task force: the post, and the name only where the document prints one."""

    role: TaskForceRole
    post: Line = Field(description="职务,如 县政府常务副县长")
    person: Name | None = Field(default=None, description="原文写明的姓名")
    locator: Locator | None = Field(default=None, description="原文位置;与专班相同时省略")


class TaskForce(Format):
    """工作专班."""

    locator: Locator
    name: Line
    heads: list[TaskForceMember] = Field(min_length=1, description="召集人、副召集人等")
    members: list[Name] = Field(min_length=1, description="成员单位,按印刷顺序与印刷名称")
    open_ended: bool = Field(default=False, description="名单以“等”结尾")
    office: Name = Field(description="专班办公室所在单位(印刷名称)")
    note: Line | None = None


class Schedule(Format):
    """When a rule's report is owed: only for rules that have a period."""

    frequency: Frequency
    obligor: Obligor | None = Field(
        default=None,
        description="由谁报: task_reporter 任务的报送单位, lead_unit 牵头单位, task_force 各仗专班;不写则不产生应报",
    )
    townships: bool = Field(default=False, description="各乡镇是否也各报一份")
    battles: list[int] = Field(
        default_factory=list[int], description="适用于哪些仗(序号);省略则为所在的仗,总体方案的规则为全部"
    )
    effective_from: str | None = Field(
        default=None,
        pattern=r"^\d{4}(-\d{2}|-Q[1-4]|-\d{2}-D[123]|-W\d{2})?$",
        description="改动规则时:新规则自哪一期起执行;省略则自尚未到期的首期起",
    )
    minimum_count: int = Field(default=1, ge=1, le=100, description="每期至少几份")
    due_day: int | None = Field(default=None, ge=1, le=31, description="月内第几日截止")
    due_month_offset: int = Field(default=0, ge=0, le=12, description="截止日所在月比报送期晚几个月")
    due_days_after: int = Field(default=0, ge=0, le=60, description="报送期末后第几天截止;与上两项只能用其一")
    inclusive: bool = Field(default=True, description="截止日当天是否仍算按时")
    holiday_policy: HolidayPolicy = HolidayPolicy.NONE
    time_zone: Literal["Asia/Shanghai"] = "Asia/Shanghai"
    remind_days: int = Field(default=5, ge=0, le=60, description="提前几天提醒")
    jump_points: Points = Field(
        default=DEFAULT_JUMP_POINTS, description="完成进度比上期增加超过多少个百分点时提示核对;默认值是本系统的"
    )
    first_period: str | None = Field(default=None, pattern=r"^\d{4}(-\d{2}|-Q[1-4]|-\d{2}-D[123]|-W\d{2})?$")
    last_period: str | None = Field(default=None, pattern=r"^\d{4}(-\d{2}|-Q[1-4]|-\d{2}-D[123]|-W\d{2})?$")

    def stored(self) -> dict[str, Any]:
        """As rules and their versions keep it; what a schedule does not have leaves earlier ones as they are."""
        nothing: set[str] = set() if self.due_days_after else {"due_days_after"}
        return self.model_dump(mode="json", exclude={"effective_from", *nothing})


class Rule(Format):
    """A rule of reporting, dispatching, ranking, sanction or evaluation, with its source."""

    code: Slug
    name: Line
    kind: RuleKind
    locator: Locator
    summary: Line = Field(description="规则内容,用自己的话概括")
    owed_by: Line | None = Field(default=None, description="谁受此规则约束")
    receivers: list[Name] = Field(default_factory=list[str], description="报给谁(印刷名称)")
    certifier: Name | None = Field(default=None, description="由谁评估认定(印刷名称)")
    schedule: Schedule | None = None
    parameters: dict[Slug, Figure | bool | Line] = Field(
        default_factory=dict[str, Decimal | bool | str], description="规则的其他参数"
    )
    printed: list[Phrase] = Field(default_factory=list[str], description="规则所依据的原文短语,须在该处只出现一次")
    interpretation: Line | None = Field(default=None, description="我们如何理解原文未明之处")


class Anomaly(Format):
    """A misprint, contradiction, duplicate, omission or ambiguity of the document."""

    kind: AnomalyKind
    locator: Locator
    printed: Phrase | None = Field(default=None, description="原文印刷形式;遗漏类可省略")
    reading: Phrase | None = Field(default=None, description="本系统采用的读法")
    note: Line = Field(description="说明")


class Skip(Format):
    """A digit run of the document that is neither a target nor a rule, and why."""

    printed: Phrase = Field(description="含有该数字的原文短语")
    locator: Locator | None = Field(default=None, description="只在此处有效;省略则全文有效")
    reason: Line


class Sources(Format):
    """What every file of a plan may carry beside its own content."""

    indicators: list[Indicator] = Field(default_factory=list[Indicator])
    rules: list[Rule] = Field(default_factory=list[Rule])
    anomalies: list[Anomaly] = Field(default_factory=list[Anomaly])
    skips: list[Skip] = Field(default_factory=list[Skip])


class BattleFile(Sources):
    """``battle-N.yaml``: one battle."""

    ordinal: int = Field(ge=1, le=99)
    short_name: Name = Field(description="简称,如 经济增长")
    name: Line = Field(description="全称,如 打好经济增长主动仗")
    locator: Locator = Field(description="工作方案(附件)的位置")
    objective: Line = Field(description="总目标,用自己的话概括")
    task_force: TaskForce
    targets: list[Target] = Field(default_factory=list[Target])
    groups: list[TaskGroup] = Field(min_length=1)


class Region(Format):
    """A region by its GB/T 2260 code."""

    code: RegionCode
    name: Name


class SuperiorDocument(Format):
    """A document of a superior government that the plan cites."""

    number: Name = Field(description="发文字号")
    title: Line
    issuer: Name


class Lights(Format):
    """亮灯: how many points above or below its schedule a task's light changes."""

    ahead_points: Points = Field(
        default=DEFAULT_THRESHOLDS.ahead_points, description="高于序时进度多少个百分点起为超序时"
    )
    behind_points: Points = Field(
        default=DEFAULT_THRESHOLDS.behind_points, description="低于序时进度至多多少个百分点为滞后,再低为严重滞后"
    )


class PlanFile(Sources):
    """``plan.yaml``: the document itself, and what belongs to no single battle."""

    region: Region
    year: int = Field(ge=2000, le=2100)
    title: Line = Field(description="总体方案标题,与原文标题行一致")
    short_title: Line
    document_number: Name = Field(description="发文字号")
    issuer: Name
    issued_on: date
    objective: Line
    superior_documents: list[SuperiorDocument] = Field(default_factory=list[SuperiorDocument])
    superseded: list[Locator] = Field(
        default_factory=list[str], description="不作为依据的部分(如重复印出的附件),审核时略过"
    )
    targets: list[Target] = Field(default_factory=list[Target])
    lights: Lights = Field(
        default_factory=Lights, description="亮灯的阈值;省略则为 10 与 30 个百分点(银川市公布的规则)"
    )


class Unit(Format):
    """责任单位 with every name the document prints for it."""

    abbreviation: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9]{1,39}$")] = Field(
        description="拼音首字母,同一地区内唯一,如 fgj"
    )
    name: Name = Field(description="规范名称")
    kind: UnitKind
    aliases: list[Name] = Field(default_factory=list[str], description="原文中的其他印刷名称")
    note: Line | None = None


class UnitsFile(Format):
    """``units.yaml``: every unit that any bracket, member list or rule of the plan names."""

    region: Region
    units: list[Unit] = Field(min_length=1)


def json_schemas() -> dict[str, dict[str, Any]]:
    """The JSON Schema of each kind of file, by its name (``plan``, ``units``, ``battle``)."""
    files: dict[str, type[Format]] = {"plan": PlanFile, "units": UnitsFile, "battle": BattleFile}
    return {name: model.model_json_schema() for name, model in files.items()}
