"""The answers of the health checks."""

from typing import Literal

from pydantic import Field

from app.schemas.base import Read

__all__ = ["Live", "Ready"]


class Live(Read):
    """The process answers."""

    status: Literal["live"] = Field(description="进程存活")


class Ready(Read):
    """The service can answer from its database."""

    status: Literal["ready"] = Field(description="可以服务")
    revision: str = Field(description="数据库结构版本", examples=["0001"])
    plans: int = Field(description="已载入的总体方案数", examples=[1])
