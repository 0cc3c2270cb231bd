"""Plans and battles."""

from datetime import date
from typing import Literal

from pydantic import Field

from app.domain.plan import AnomalyKind, TaskForceRole
from app.schemas.base import BattleCode, GroupCode, ListQuery, Locator, PageRead, PlanCode, Read
from app.schemas.target import TargetRead
from app.schemas.task import ClauseRead, UnitRef

__all__ = [
    "AnomalyPage",
    "AnomalyQuery",
    "AnomalyRead",
    "BattleCounts",
    "BattleItem",
    "BattlePage",
    "BattleQuery",
    "BattleRead",
    "GroupRead",
    "PlanCounts",
    "PlanPage",
    "PlanQuery",
    "PlanRead",
    "RegionRead",
    "SuperiorDocumentRead",
    "TaskForceHeadRead",
    "TaskForceMemberRead",
    "TaskForceRead",
]


class PlanQuery(ListQuery):
    """Filters of the plan list."""

    region: str | None = Field(default=None, pattern=r"^\d{6}$", description="地区代码(GB/T 2260)", examples=["431228"])
    year: int | None = Field(default=None, ge=2000, le=2100, description="年度", examples=[2023])
    sort: Literal["code", "-code", "issued_on", "-issued_on"] = Field(default="code", description="排序;前加 - 为倒序")


class RegionRead(Read):
    """A region."""

    code: str = Field(description="GB/T 2260 地区代码", examples=["431228"])
    name: str = Field(description="地区名称", examples=["芷江侗族自治县"])


class SuperiorDocumentRead(Read):
    """A document of a superior government that the plan cites."""

    number: str = Field(description="发文字号", examples=["湘政办发〔2023〕2号"])
    title: str = Field(description="文件名称")
    issuer: str = Field(description="发文机关")


class PlanCounts(Read):
    """What the plan holds."""

    battles: int = Field(description="仗数", examples=[6])
    groups: int = Field(description="任务组数")
    tasks: int = Field(description="任务数", examples=[163])
    clauses: int = Field(description="责任括注数")
    units: int = Field(description="被指名的单位数")
    targets: int = Field(description="目标数")
    quantified_targets: int = Field(description="有数值的目标数")
    rules: int = Field(description="规则数")
    anomalies: int = Field(description="原文疑点数")


class PlanRead(Read):
    """A plan."""

    code: PlanCode
    region: RegionRead
    year: int = Field(description="年度", examples=[2023])
    title: str = Field(description="标题", examples=["芷江侗族自治县打好发展“六仗”总体方案"])
    short_title: str = Field(description="简称")
    document_number: str = Field(description="发文字号", examples=["芷政办发〔2023〕1号"])
    issuer: str = Field(description="发文机关")
    issued_on: date = Field(description="成文日期", examples=["2023-03-27"])
    objective: str = Field(description="总目标(概括)")
    superior_documents: list[SuperiorDocumentRead] = Field(description="所依据的上级文件")
    counts: PlanCounts


class PlanPage(PageRead[PlanRead]):
    """一页总体方案."""


class BattleQuery(ListQuery):
    """Filters of the battle list."""

    plan: PlanCode | None = Field(default=None, description="只要该总体方案的")
    sort: Literal["code", "-code"] = Field(default="code", description="排序;前加 - 为倒序")


class BattleCounts(Read):
    """What the battle holds."""

    groups: int = Field(description="任务组数")
    tasks: int = Field(description="任务数")
    targets: int = Field(description="目标数,含组与任务的")
    units: int = Field(description="被指名的单位数")


class BattleItem(Read):
    """A battle as lists show it."""

    code: BattleCode
    plan: PlanCode
    ordinal: int = Field(description="序号", examples=[4])
    short_name: str = Field(description="简称", examples=["防范化解风险"])
    name: str = Field(description="全称", examples=["打好防范化解风险阻击仗"])
    objective: str = Field(description="总目标(概括)")
    locator: Locator
    counts: BattleCounts


class TaskForceHeadRead(Read):
    """A post at the head of a task force."""

    role: TaskForceRole
    post: str = Field(description="职务", examples=["县政府常务副县长"])
    person: str | None = Field(description="姓名;原文未写明的为 null")
    locator: Locator


class TaskForceMemberRead(UnitRef):
    """A member unit."""

    printed_name: str = Field(description="该处印出的名称")


class TaskForceRead(Read):
    """工作专班."""

    name: str = Field(description="专班名称")
    locator: Locator
    office: UnitRef = Field(description="专班办公室所在单位")
    heads: list[TaskForceHeadRead] = Field(description="召集人、副召集人等")
    members: list[TaskForceMemberRead] = Field(description="成员单位,按原文次序")
    open_ended: bool = Field(description="成员名单以“等”结尾")
    note: str | None = Field(description="说明")


class GroupRead(Read):
    """A task group of a battle."""

    code: GroupCode
    ordinal: int = Field(description="组序号", examples=[2])
    title: str = Field(description="标题", examples=["防范化解金融风险"])
    locator: Locator
    summary: str | None = Field(description="总体要求(概括)")
    upstream_note: str | None = Field(description="以上级下达为准的说明")
    task_count: int = Field(description="任务数")
    leads: list[UnitRef] = Field(description="组标题括注中的牵头单位")
    clause: ClauseRead | None = Field(description="组标题的责任括注,适用于组内每项任务")
    targets: list[TargetRead] = Field(description="组的目标(不含各任务的)")


class BattleRead(BattleItem):
    """A battle with its task force, groups and targets."""

    task_force: TaskForceRead
    groups: list[GroupRead]
    targets: list[TargetRead] = Field(description="仗的目标(不含组与任务的)")


class BattlePage(PageRead[BattleItem]):
    """一页仗."""


class AnomalyQuery(ListQuery):
    """Filters of the anomaly list."""

    plan: PlanCode | None = Field(default=None, description="只要该总体方案的")
    battle: BattleCode | None = Field(default=None, description="只要该仗的")
    kind: AnomalyKind | None = Field(default=None, description="疑点种类")
    sort: Literal["code", "-code"] = Field(default="code", description="排序;前加 - 为倒序")


class AnomalyRead(Read):
    """A misprint, contradiction, duplicate, omission or ambiguity of the document."""

    code: str = Field(description="疑点编码", examples=["431228-2023-A1"])
    plan: PlanCode
    battle: BattleCode | None = Field(description="所属的仗;属于总体方案的为 null")
    kind: AnomalyKind
    locator: Locator
    printed: str | None = Field(description="原文印刷形式", examples=["狙击仗"])
    reading: str | None = Field(description="本系统采用的读法", examples=["阻击仗"])
    note: str = Field(description="说明")


class AnomalyPage(PageRead[AnomalyRead]):
    """一页原文疑点."""
