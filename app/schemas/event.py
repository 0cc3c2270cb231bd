"""Events as pollers and webhooks get them."""

from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from app.domain.events import EventType
from app.schemas.base import BattleCode, Instant, PeriodCode, PlanCode, Read, RuleCode, TaskCode, UnitCode, UnitFilter

__all__ = ["ChangesQuery", "ChangesRead", "EventData", "EventId", "EventRead"]

EventId = Annotated[
    str,
    Field(
        pattern=r"^evt_[1-9]\d{0,17}$",
        description="事件编号,即 webhook-id;同一事件重复送达时不变,请按它去重",
        examples=["evt_1024"],
    ),
]
_ONE_TYPE = "|".join(kind.value.replace(".", r"\.") for kind in EventType)


class EventData(Read):
    """What an event names beside plan, battle and unit; null where it does not apply."""

    rule: RuleCode | None = Field(default=None, description="应报与延期所依据的规则")
    task: TaskCode | None = Field(default=None, description="任务;不分任务的为 null")
    period: PeriodCode | None = Field(default=None, description="报送期;台账等不分期的为 null")
    kind: str | None = Field(default=None, description="清单、台账、简报通报、排名等的类别", examples=["major_hazard"])
    level: int | None = Field(default=None, description="督办级别", examples=[2])
    revision: int | None = Field(default=None, description="进度报送的版本", examples=[1])
    content_hash: str | None = Field(default=None, description="报送(含更正)的内容的 SHA-256,与回执相同")
    due_at: Instant | None = Field(default=None, description="有效期限;延期的,为延至何时;台账事项的,为办理期限")
    lock_at: Instant | None = Field(default=None, description="补报期限")
    submitted_at: Instant | None = Field(default=None, description="应报已报送、尚待认定的,为其报送时刻")


class EventRead(Read):
    """One event, the same to pollers and to webhooks."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "id": "evt_1024",
                "type": "submission.submitted",
                "at": "2023-05-18T09:30:00+08:00",
                "plan": "431228-2023",
                "battle": "431228-2023-6",
                "unit": "431228-jyj",
                "subject": "0188290d-1f40-7000-8000-6f1d2c3b4a59",
                "data": {
                    "rule": None,
                    "task": "431228-2023-6-1-1",
                    "period": "2023-04",
                    "kind": None,
                    "level": None,
                    "revision": 1,
                    "content_hash": "9f2feb0f1ef425b292f2f94bdd73f6b4bd3d0c4d6a3f1f1b7d4f0c0f2b1e5a77",
                    "due_at": None,
                    "lock_at": None,
                    "submitted_at": None,
                },
            }
        }
    )

    id: EventId
    type: EventType
    at: Instant = Field(description="何时发生;由时间推移而来的(临近期限、逾期、漏报),为何时发现")
    plan: PlanCode
    battle: BattleCode | None = Field(description="所属的仗;不分仗的为 null")
    unit: UnitCode
    subject: UUID | None = Field(
        description="所说的报送、延期、清单事项、台账事项、简报等的编号;应报没有编号,以规则、单位、任务、报送期指明"
    )
    data: EventData


class ChangesRead(Read):
    """A stretch of the stream."""

    items: list[EventRead] = Field(description="事件,按先后")
    next_cursor: str = Field(description="下一次从这里接着取;没有新的事件也给出", examples=["c1024"])
    has_more: bool = Field(description="后面已有更多,可立即再取;本次 items 为空时也可能如此")


class ChangesQuery(BaseModel):
    """Which stretch of the stream, and which events of it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    cursor: str | None = Field(
        default=None,
        max_length=40,
        pattern=r"^[A-Za-z0-9_-]+$",
        description="上一次的 next_cursor;省略为从头,latest 为只要此后的",
    )
    limit: int = Field(default=100, ge=1, le=500, description="至多几条")
    types: str | None = Field(
        default=None,
        max_length=800,
        pattern=rf"^({_ONE_TYPE})(,({_ONE_TYPE}))*$",
        description="只要这些类型的,以逗号分开",
        examples=["submission.submitted,obligation.overdue"],
    )
    unit: UnitFilter | None = Field(default=None, description="只要该单位的")
    plan: PlanCode | None = Field(default=None, description="只要该总体方案的")
    wait: int = Field(default=0, ge=0, le=30, description="没有新的事件时,至多等几秒")
