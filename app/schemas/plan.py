"""Plans."""

from datetime import date
from typing import Literal

from pydantic import Field

from app.schemas.base import Figure, ListQuery, PageRead, PlanCode, Read

__all__ = ["LightsRead", "PlanCounts", "PlanPage", "PlanQuery", "PlanRead", "RegionRead", "SuperiorDocumentRead"]


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


class LightsRead(Read):
    """亮灯的阈值."""

    ahead_points: Figure = Field(description="高于序时进度多少个百分点起为超序时", examples=[10])
    behind_points: Figure = Field(description="低于序时进度至多多少个百分点为滞后,再低为严重滞后", examples=[30])


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
    lights: LightsRead = Field(description="亮灯的阈值,为方案的参数")
    counts: PlanCounts


class PlanPage(PageRead[PlanRead]):
    """一页总体方案."""
