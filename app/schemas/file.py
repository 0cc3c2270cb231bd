"""Forms as files: how one is asked for, how one is handed in, and what became of each of its rows."""

from typing import Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from app.schemas.base import Read
from app.schemas.submission import BatchQuery, WarningRead

__all__ = ["FileRead", "FormFileQuery", "FormFileWriteQuery", "SubmissionFileQuery"]


class FormFileQuery(BaseModel):
    """Which kind of file is wanted."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal["xlsx", "csv"] = Field(default="xlsx", description="xlsx 工作簿,csv 文本(UTF-8,带 BOM)")


class SubmissionFileQuery(BatchQuery):
    """How a file of reports is taken."""

    submit: bool = Field(default=True, description="是否即行报送;false 只存为草稿")


class FormFileWriteQuery(SubmissionFileQuery):
    """How the form of a unit is taken: as a whole, where nobody says otherwise."""

    atomic: bool = Field(default=True, description="true 全部接受或全部不接受;false 逐项处理")


class FileFaultRead(Read):
    """One thing wrong with a row of a file."""

    row: int = Field(description="行号,与电子表格所示相同", examples=[5])
    column: str | None = Field(description="列的字母;不是某一列的问题,或文件没有该列,为 null", examples=["G"])
    heading: str | None = Field(description="列名", examples=["完成进度"])
    code: str = Field(description="稳定的错误码", examples=["not_a_figure"])
    detail: str = Field(description="错误原因与改法", examples=["“约四成”不是数值,请只填数字"])


class FileRowRead(Read):
    """What became of one report of a file."""

    sheet: str | None = Field(description="工作表的名称;CSV 为 null", examples=["月进度表"])
    row: int = Field(description="行号;一项任务占几行的,为第一行", examples=[5])
    task: str | None = Field(description="任务编码;读不出为 null", examples=["431228-2023-6-3-3"])
    status: int = Field(
        description="状态码:201 已创建,200 已取代草稿或被退回的、内容未变、或检查通过而未写入,403、409、422 未接受"
    )
    id: UUID | None = Field(description="报送编号;没有为 null")
    warnings: list[WarningRead] = Field(description="疑点")
    errors: list[FileFaultRead] = Field(description="未接受的原因")


class FileRead(Read):
    """What became of a file."""

    sheet: str | None = Field(description="所读工作表的名称;CSV 为 null", examples=["月进度表"])
    dry_run: bool = Field(description="是否只检查而未写入")
    accepted: int = Field(description="接受(只检查时为可以接受)的项数")
    unchanged: int = Field(description="已报送而内容未变、不作处理的项数")
    refused: int = Field(description="未接受的项数;atomic 时有一项未接受,全部未接受")
    blank: int = Field(description="未填写、不作处理的项数")
    rows: list[FileRowRead] = Field(description="逐项结果,未填写的不列")
    notes: list[str] = Field(description="关于整个文件的说明")
