"""Search over everything the plan holds."""

from typing import Literal

from pydantic import ConfigDict, Field

from app.domain.search import EntryKind
from app.schemas.base import ListQuery, PageRead, PlanCode, Read, SearchWords

__all__ = ["SearchHit", "SearchPage", "SearchQuery"]


class SearchQuery(ListQuery):
    """What to look for."""

    q: SearchWords
    plan: PlanCode | None = Field(default=None, description="只找一个总体方案(单位按其地区)")
    kind: EntryKind | None = Field(default=None, description="只找一种")


class SearchHit(Read):
    """One thing found."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "kind": "unit",
                "code": "431228-fgj",
                "plan": None,
                "title": "县发改局",
                "detail": "县发展与改革局、县发展改革局",
                "matched": "alias",
                "score": 95,
                "href": "/api/v1/units/431228-fgj",
            }
        }
    )

    kind: EntryKind
    code: str = Field(description="编码")
    plan: PlanCode | None = Field(description="所属总体方案;单位为 null")
    title: str = Field(description="名称或标题")
    detail: str | None = Field(description="补充说明")
    matched: Literal["name", "alias", "pinyin", "initials", "text"] = Field(
        description="命中之处:名称、其他印刷名称、全拼、拼音首字母、正文"
    )
    score: int = Field(description="匹配程度,越大越靠前", ge=0, le=100)
    href: str = Field(description="该条的地址")


class SearchPage(PageRead[SearchHit]):
    """一页检索结果,最相关的在前."""
