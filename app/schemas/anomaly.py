"""What is wrong with the printed document."""

from typing import Literal

from pydantic import Field

from app.domain.plan import AnomalyKind
from app.schemas.base import BattleCode, ListQuery, Locator, PageRead, PlanCode, Read

__all__ = ["AnomalyPage", "AnomalyQuery", "AnomalyRead"]


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
