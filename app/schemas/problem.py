"""The error answer of every path: RFC 9457 problem details."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["Problem", "ProblemFault"]


class ProblemFault(BaseModel):
    """One thing wrong with the request."""

    pointer: str = Field(
        description="出错的位置(JSON 指针):/query/…、/path/…、/header/… 或 /body/…", examples=["/query/limit"]
    )
    code: str = Field(description="稳定的错误码", examples=["less_than_equal"])
    detail: str = Field(description="错误原因", examples=["须不大于 500"])


class Problem(BaseModel):
    """错误响应(RFC 9457)."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "example": {
                "type": "/problems/not-found",
                "title": "未找到",
                "status": 404,
                "detail": "没有任务 431228-2023-1-2-99",
                "instance": "0b6f4f0e9d0d4a5f8f6f3f1b7f2b9c11",
            }
        },
    )

    type: str = Field(description="错误类型的稳定地址,可直接打开查看说明", examples=["/problems/not-found"])
    title: str = Field(description="错误类型的名称")
    status: int = Field(description="HTTP 状态码", ge=400, le=599)
    detail: str = Field(description="这一次的具体原因与处理办法")
    instance: str = Field(description="请求编号,与响应头 X-Request-ID 相同")
    errors: list[ProblemFault] = Field(
        default_factory=list[ProblemFault], description="逐项错误;没有可定位的错误时省略"
    )
    candidates: list[dict[str, Any]] = Field(
        default_factory=list[dict[str, Any]], description="名称或编码不唯一时的全部候选;其他错误省略"
    )
