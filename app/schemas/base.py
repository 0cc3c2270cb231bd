"""What all schemas share: strict reading of queries, exact figures, lists, codes with their labels."""

import re
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Final, Generic, TypeVar

from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    StringConstraints,
    WithJsonSchema,
)

from app.clock import SHANGHAI
from app.rendering import exact

__all__ = [
    "OFFERED",
    "AsOf",
    "AsOfQuery",
    "AskedInstant",
    "BattleCode",
    "Figure",
    "GroupCode",
    "Instant",
    "ListQuery",
    "Locator",
    "NoQuery",
    "PageRead",
    "PeriodCode",
    "PlanCode",
    "Read",
    "RuleCode",
    "SearchWords",
    "TargetCode",
    "TaskCode",
    "UnitCode",
    "UnitFilter",
]

ItemT = TypeVar("ItemT", bound=BaseModel)

OFFERED: Final = "您现在可以采取的步骤:既为当前状态所允许,又在您的权限之内"
"""The description of every ``allowed_actions``."""

_RFC3339 = re.compile(r"(\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(?:\.\d+)?)(?:([ +-]\d{2}:\d{2})|[Zz])")


def _rfc3339(value: object) -> object:
    """Take nothing but an instant with its offset: Pydantic alone would read a bare number as seconds.

    In a query an unencoded + is a blank, so ``2023-04-20T23:59:59 08:00`` can only have meant ``+08:00``.
    """
    if isinstance(value, datetime):
        return value
    if not isinstance(value, str) or _RFC3339.fullmatch(value) is None or not "1901" <= value[:4] <= "9000":
        raise ValueError("须为带时区的 RFC 3339 时刻,如 2023-04-20T23:59:59+08:00")
    return value.replace(" ", "+")


PlanCode = Annotated[
    str,
    StringConstraints(pattern=r"^\d{6}-\d{4}$"),
    Field(description="总体方案编码:GB/T 2260 地区代码-年度", examples=["431228-2023"]),
]
BattleCode = Annotated[
    str,
    StringConstraints(pattern=r"^\d{6}-\d{4}-\d{1,2}$"),
    Field(description="仗编码:总体方案编码-序号", examples=["431228-2023-4"]),
]
GroupCode = Annotated[
    str,
    StringConstraints(pattern=r"^\d{6}-\d{4}(-\d{1,2}){2}$"),
    Field(description="任务组编码:仗编码-组序号", examples=["431228-2023-1-2"]),
]
TaskCode = Annotated[
    str,
    StringConstraints(pattern=r"^\d{6}-\d{4}(-\d{1,2}){2}-\d{1,3}$"),
    Field(description="任务编码:仗-组-原文序号", examples=["431228-2023-1-2-5"]),
]
TargetCode = Annotated[
    str,
    StringConstraints(pattern=r"^\d{6}-\d{4}(-\d{1,3}){0,3}-T\d{1,3}$"),
    Field(description="目标编码:所属任务、组、仗或总体方案的编码-T序号", examples=["431228-2023-1-2-5-T1"]),
]
UnitCode = Annotated[
    str,
    StringConstraints(pattern=r"^\d{6}-[a-z][a-z0-9]{1,39}$"),
    Field(description="单位编码:地区代码-拼音首字母", examples=["431228-fgj"]),
]
UnitFilter = Annotated[
    str,
    StringConstraints(min_length=1, max_length=80, pattern=r"^[^\x00]+$"),
    Field(
        description="责任单位:编码,或文件中印出的任一名称(须 URL 编码);名称在多个地区重复时返回 422 并列出候选",
        examples=["县发展与改革局"],
    ),
]
SearchWords = Annotated[
    str,
    StringConstraints(min_length=1, max_length=100, pattern=r"^[^\x00]*[^\s\x00][^\x00]*$"),
    Field(description="检索词,空格分开的各词须全部命中;不分大小写与全半角", examples=["高标准农田"]),
]
Locator = Annotated[str, Field(description="原文位置", examples=["附件1/二/(二)/5"])]


Figure = Annotated[
    Decimal,
    PlainSerializer(exact, return_type=float | int),
    WithJsonSchema({"type": "number"}),
]


Instant = Annotated[
    AwareDatetime,
    PlainSerializer(lambda value: value.astimezone(SHANGHAI).isoformat(), return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
AskedInstant = Annotated[AwareDatetime, BeforeValidator(_rfc3339)]
AsOf = Annotated[
    AskedInstant | None,
    Field(description="截至哪一时刻(RFC 3339,须带时区);省略为现在。所答为当时的情形"),
]
PeriodCode = Annotated[
    str,
    StringConstraints(pattern=r"^\d{4}(-\d{2}|-Q[1-4]|-\d{2}-D[123]|-W\d{2})?$"),
    Field(description="报送期:2023-04 月、2023-Q2 季、2023 年、2023-04-D1 旬、2023-W15 周", examples=["2023-04"]),
]
RuleCode = Annotated[
    str,
    StringConstraints(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=60),
    Field(description="规则编码", examples=["monthly-form"]),
]


class Read(BaseModel):
    """Base of what the service answers."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class NoQuery(BaseModel):
    """A resource without query parameters: any is refused."""

    model_config = ConfigDict(extra="forbid")


class AsOfQuery(BaseModel):
    """A resource that can be asked for as it was."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    as_of: AsOf = None


class ListQuery(BaseModel):
    """What every list takes; an unknown parameter is refused, never ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    limit: int = Field(default=50, ge=1, le=500, description="每页条数")
    cursor: str | None = Field(
        default=None,
        min_length=1,
        max_length=600,
        pattern=r"^[A-Za-z0-9_-]+$",
        description="上一页返回的 next_cursor;不透明,不要自行构造",
    )
    include_total: bool = Field(default=False, description="是否在 total 中给出总数(多一次计数查询)")


class PageRead(Read, Generic[ItemT]):
    """One page of a list."""

    items: list[ItemT] = Field(description="本页内容")
    next_cursor: str | None = Field(description="下一页的游标;最后一页为 null")
    total: int | None = Field(default=None, description="总数;只在 include_total=true 时给出,否则为 null")
