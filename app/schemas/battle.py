"""Battles, their task forces and task groups."""

from typing import Literal

from pydantic import Field

from app.domain.plan import TaskForceRole
from app.schemas.base import BattleCode, GroupCode, ListQuery, Locator, PageRead, PlanCode, Read
from app.schemas.target import TargetRead
from app.schemas.task import ClauseRead, UnitRef

__all__ = [
    "BattleCounts",
    "BattleItem",
    "BattlePage",
    "BattleQuery",
    "BattleRead",
    "GroupRead",
    "TaskForceHeadRead",
    "TaskForceMemberRead",
    "TaskForceRead",
]


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
