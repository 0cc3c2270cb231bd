"""简报、通报、总结: drawn up, edited, issued, compared."""

from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from app.domain.bulletins import BulletinAction, BulletinKind, BulletinState
from app.schemas.base import (
    OFFERED,
    AskedInstant,
    BattleCode,
    Figure,
    Instant,
    ListQuery,
    PageRead,
    PeriodCode,
    PlanCode,
    Read,
    TaskCode,
)
from app.schemas.bulletin_content import BulletinContent
from app.schemas.task import UnitRef

__all__ = [
    "BulletinCreate",
    "BulletinDifference",
    "BulletinDiscard",
    "BulletinDocumentQuery",
    "BulletinIssue",
    "BulletinItem",
    "BulletinPage",
    "BulletinParts",
    "BulletinPatch",
    "BulletinPreview",
    "BulletinPreviewQuery",
    "BulletinQuery",
    "BulletinRead",
    "BulletinRegenerate",
    "BulletinVerification",
    "FigureDifference",
    "LaggardDifference",
]

_STRICT = ConfigDict(extra="forbid", frozen=True)
_LINE = r"^[^\x00-\x1f]*[^\s\x00-\x1f][^\x00-\x1f]*$"
_PROSE = r"^[^\x00-\x08\x0b\x0c\x0e-\x1f]*[^\s\x00-\x08\x0b\x0c\x0e-\x1f][^\x00-\x08\x0b\x0c\x0e-\x1f]*$"

Title = Annotated[str, Field(min_length=1, max_length=100, pattern=_LINE, description="标题")]
Prose = Annotated[str, Field(min_length=1, max_length=5000, pattern=_PROSE)]
Line = Annotated[str, Field(min_length=1, max_length=100, pattern=_LINE)]
Remark = Annotated[str, Field(min_length=1, max_length=1000, pattern=_PROSE)]


class BulletinCreate(BaseModel):
    """Which bulletin is to be drawn up."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra={
            "example": {
                "plan": "431228-2023",
                "battle": "431228-2023-6",
                "kind": "monthly_circular",
                "period": "2023-08",
                "as_of": "2023-09-01T00:00:00+08:00",
            }
        },
    )

    plan: PlanCode
    battle: BattleCode | None = Field(default=None, description="一仗的;省略为总体方案的")
    kind: BulletinKind = Field(description="旬简报、月通报或季总结,报送期须相应为旬、月、季")
    period: PeriodCode
    as_of: AskedInstant | None = Field(
        default=None, description="数据截至时刻(RFC 3339,须带时区),不早于本期之始、不晚于现在;省略为现在"
    )


class BulletinPreviewQuery(BulletinCreate):
    """Which bulletin would be drawn up."""


class BulletinRegenerate(BaseModel):
    """Of which instant the figures are to be."""

    model_config = _STRICT

    as_of: AskedInstant | None = Field(default=None, description="新的数据截至时刻;省略为现在")


class BulletinPatch(BaseModel):
    """What is to change of what was written by hand; what is left out stays, null takes it away. Never a figure."""

    model_config = _STRICT

    # Never used as it is: what is left out is not looked at.
    title: Title = Field(default_factory=str)
    lead: Prose | None = Field(default=None, description="导语;null 为用生成的导语")
    remarks: dict[TaskCode, Remark] = Field(
        default_factory=dict[TaskCode, Remark],
        max_length=200,
        description="逐项说明,以滞后任务的编码为键;整体取代原有的",
        examples=[{"431228-2023-6-1-1": "已约谈,要求9月底前补足。"}],
    )
    closing: Prose | None = Field(default=None, description="结语与要求")
    contact: Line | None = Field(default=None, description="联系人及电话")
    signer: Line | None = Field(default=None, description="发文机关署名;null 为专班(总体方案的为印发机关)")
    copy_to: list[Line] = Field(default_factory=list[Line], max_length=30, description="抄送机关;整体取代原有的")


class BulletinIssue(BaseModel):
    """The issue of a bulletin."""

    model_config = _STRICT

    number: int | None = Field(
        default=None, ge=1, le=9999, strict=True, description="期号,只供核对:须为下一个期号;省略则自动取下一个"
    )
    signer: Line | None = Field(default=None, description="发文机关署名;省略则不改")


class BulletinDiscard(BaseModel):
    """Why a draft is given up."""

    model_config = _STRICT

    reason: str = Field(min_length=1, max_length=500, pattern=_PROSE, description="理由")


class BulletinParts(Read):
    """What was written by hand."""

    lead: str | None = Field(default=None, description="导语;null 为用生成的导语")
    remarks: dict[TaskCode, str] = Field(
        default_factory=dict[TaskCode, str], description="逐项说明,以滞后任务的编码为键"
    )
    closing: str | None = Field(default=None, description="结语与要求")
    contact: str | None = Field(default=None, description="联系人及电话")
    signer: str = Field(description="发文机关署名", examples=["打好重点民生保障仗工作专班"])
    copy_to: list[str] = Field(default_factory=list[str], description="抄送机关")


class BulletinItem(Read):
    """One bulletin, without what it says."""

    id: UUID = Field(description="编号(UUIDv7)")
    plan: PlanCode
    battle: BattleCode | None = Field(description="一仗的;总体方案的为 null")
    unit: UnitRef = Field(description="编发单位:专班办公室所在单位;总体方案的为印发机关")
    kind: BulletinKind
    period: PeriodCode
    state: BulletinState
    number: int | None = Field(description="期号:印发时取得,同一仗(或总体方案)、同一种类、同一年依次;未印发为 null")
    number_text: str = Field(description="印出的期号", examples=["〔2023〕第8期"])
    title: str = Field(description="标题")
    as_of: Instant = Field(description="数据截至时刻")
    content_hash: str = Field(description="生成的内容的 SHA-256")
    document_hash: str | None = Field(description="印发稿(内容、文字、期号)的 SHA-256;未印发为 null")
    created_at: Instant = Field(description="编制时刻")
    created_by: str = Field(description="编制人")
    updated_at: Instant = Field(description="最近一次改动的时刻")
    issued_at: Instant | None = Field(description="印发时刻;未印发为 null")
    issued_by: str | None = Field(description="印发人;未印发为 null")
    filed: int | None = Field(description="印发时报出的应报条数;没有这项应报或补报期限已过为 0,未印发为 null")
    discarded_at: Instant | None = Field(description="作废时刻;未作废为 null")
    discard_reason: str | None = Field(description="作废的理由;未作废为 null")
    explanation: str = Field(description="一句话说明")
    allowed_actions: list[BulletinAction] = Field(description=OFFERED)


class BulletinRead(BulletinItem):
    """One bulletin with what it says."""

    content: BulletinContent = Field(description="生成的内容;印发后不再改变")
    parts: BulletinParts = Field(description="手写的文字")


class BulletinPreview(Read):
    """What a bulletin would say; nothing of it is kept."""

    title: str = Field(description="标题")
    content_hash: str = Field(description="内容的 SHA-256")
    content: BulletinContent
    parts: BulletinParts


class BulletinQuery(ListQuery):
    """Filters of the bulletin list."""

    plan: PlanCode | None = Field(default=None, description="只要该总体方案的")
    battle: BattleCode | None = Field(default=None, description="只要该仗的")
    kind: BulletinKind | None = Field(default=None, description="只要这一种类的")
    period: PeriodCode | None = Field(default=None, description="只要该报送期的")
    state: BulletinState | None = Field(default=None, description="只要这一状态的")
    sort: Literal["id", "-id"] = Field(default="id", description="排序:按编制先后;前加 - 为倒序")


class BulletinPage(PageRead[BulletinItem]):
    """一页简报通报."""


class BulletinDocumentQuery(BaseModel):
    """How the document is set."""

    model_config = _STRICT

    red_head: bool = Field(default=True, description="是否排印红头(发文机关标志与红色分隔线)")


class FigureDifference(Read):
    """One figure, then and now."""

    key: str = Field(description="数据的名称(编码)", examples=["lights.behind"])
    name: str = Field(description="数据的名称", examples=["滞后任务数"])
    before: Figure | None = Field(description="上一期的数;没有为 null")
    after: Figure | None = Field(description="本期的数;没有为 null")
    change: Figure | None = Field(description="增减;缺一个数的为 null")


class LaggardDifference(Read):
    """A task that lags in one of two issues, or in both."""

    task: TaskCode
    title: str = Field(description="任务标题")
    before: Figure | None = Field(description="上一期的偏差(百分点);当时未列入的为 null")
    after: Figure | None = Field(description="本期的偏差(百分点);本期未列入的为 null")


class BulletinDifference(Read):
    """What changed since the issue before."""

    id: UUID = Field(description="本期的编号")
    previous: UUID | None = Field(description="上一期(同一仗或总体方案、同一种类,已印发)的编号;没有为 null")
    previous_period: PeriodCode | None = Field(description="上一期的报送期;没有为 null")
    items: list[FigureDifference] = Field(description="逐项比较")
    laggards: list[LaggardDifference] = Field(description="滞后任务的进出与变化")
    explanation: str = Field(description="一句话说明")


class BulletinVerification(Read):
    """Whether a bulletin is still what it was, and what the data make of its instant."""

    id: UUID = Field(description="编号(UUIDv7)")
    as_of: Instant = Field(description="数据截至时刻")
    content_hash: str = Field(description="所存内容的 SHA-256")
    recomputed_hash: str = Field(description="此刻按同一截至时刻重新生成的内容的 SHA-256")
    identical: bool = Field(description="重新生成的与所存的是否逐字节相同")
    differing: list[str] = Field(description="不同的部分;相同时为空", examples=[["due_next"]])
    intact: bool = Field(description="所存的内容与文字是否与记下的哈希相符")
    explanation: str = Field(description="一句话说明")
