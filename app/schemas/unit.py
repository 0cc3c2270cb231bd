"""Responsible units."""

from typing import Literal

from pydantic import Field

from app.domain.plan import AssignmentRole, UnitKind
from app.schemas.base import BattleCode, ListQuery, PageRead, Read, SearchWords, UnitCode
from app.schemas.plan import RegionRead

__all__ = ["UnitCounts", "UnitPage", "UnitQuery", "UnitRead"]


class UnitQuery(ListQuery):
    """Filters of the unit list."""

    q: SearchWords | None = Field(default=None, description="检索名称与全部印刷名称;支持拼音与首字母", examples=["fgj"])
    kind: UnitKind | None = Field(default=None, description="单位种类")
    battle: BattleCode | None = Field(default=None, description="只要在该仗任务中被指名的单位")
    role: AssignmentRole | None = Field(default=None, description="只要有此角色的单位;与 battle 同用时指在该仗中")
    sort: Literal["code", "-code", "name", "-name"] = Field(default="code", description="排序;前加 - 为倒序")


class UnitCounts(Read):
    """How many tasks name the unit; a group heading's bracket counts for every task of the group."""

    tasks: int = Field(description="被指名的任务数")
    lead: int = Field(description="牵头的任务数")
    responsible: int = Field(description="负责的任务数")
    cooperating: int = Field(description="配合的任务数")
    member_of: int = Field(description="作为成员单位的专班数")
    office_of: int = Field(description="设有专班办公室的专班数")


class UnitRead(Read):
    """A unit with all of its printed names."""

    code: UnitCode
    region: RegionRead
    name: str = Field(description="规范名称", examples=["县发改局"])
    kind: UnitKind
    aliases: list[str] = Field(description="文件中的其他印刷名称", examples=[["县发展与改革局", "县发展改革局"]])
    note: str | None = Field(description="说明")
    counts: UnitCounts


class UnitPage(PageRead[UnitRead]):
    """一页责任单位."""
