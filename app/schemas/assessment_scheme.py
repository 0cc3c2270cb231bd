"""考核办法:权重、扣分、分数线都是数据,一版一版只增不改."""

import re
from datetime import date
from decimal import Decimal
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError, PydanticKnownError

from app.domain.assessment import COSTLY, DEFAULT_SCHEME, Aspect, Scheme
from app.rendering import exact
from app.schemas.base import AsOf, Instant, ListQuery, PageRead, PlanCode, Read

__all__ = [
    "EXAMPLE",
    "AssessmentSchemeCreate",
    "AssessmentSchemePage",
    "AssessmentSchemeQuery",
    "AssessmentSchemeRead",
    "FaultCaps",
    "FaultPoints",
    "Hundred",
    "SchemeParameters",
    "Weights",
    "Words",
]


def _number(value: object) -> object:
    """Take nothing but a JSON number: Pydantic alone would read a text or a truth value as one."""
    if isinstance(value, (str, bool)):
        raise PydanticKnownError("decimal_type")
    return Decimal(repr(value)) if isinstance(value, float) else value


def _whole(value: object) -> object:
    """Take nothing but a JSON number, as :func:`_number`."""
    if isinstance(value, (str, bool)):
        raise PydanticKnownError("int_type")
    return value


def _day(value: object) -> object:
    """Take nothing but a day as text: Pydantic alone would read a bare number as seconds."""
    if isinstance(value, date):
        return value
    if not isinstance(value, str) or re.fullmatch(r"\d{4}-\d{2}-\d{2}", value) is None:
        raise PydanticKnownError("date_type")
    return value


Hundred = Annotated[
    Decimal,
    Field(ge=0, le=100, max_digits=5, decimal_places=2, allow_inf_nan=False),
    BeforeValidator(_number),
    PlainSerializer(exact, return_type=float | int),
    WithJsonSchema({"type": "number", "minimum": 0, "maximum": 100}),
]
Words = Annotated[str, Field(min_length=1, max_length=2000, pattern=r"^[^\x00]*[^\s\x00][^\x00]*$")]
_STRICT = ConfigDict(extra="forbid", frozen=True)
EXAMPLE: dict[str, Any] = {
    "weights": {aspect.value: int(weight) for aspect, weight in DEFAULT_SCHEME.weights.items()},
    "points": {kind.value: int(points) for kind, points in DEFAULT_SCHEME.points.items()},
    "caps": {kind.value: int(cap) for kind, cap in DEFAULT_SCHEME.caps.items()},
    "completed_share": 50,
    "excellent_from": 90,
    "qualified_from": 60,
    "decimals": 2,
}
"""The default parameters as they are written in JSON."""


class Weights(BaseModel):
    """五个方面的权重,合计 100."""

    model_config = _STRICT

    dispatch: Hundred = Field(description="日常调度", examples=[20])
    completion: Hundred = Field(description="完成情况", examples=[40])
    quality: Hundred = Field(description="项目质量", examples=[20])
    upkeep: Hundred = Field(description="后续管理", examples=[10])
    experience: Hundred = Field(description="经验总结", examples=[10])


class FaultPoints(BaseModel):
    """每次过错扣的分."""

    model_config = _STRICT

    late: Hundred = Field(description="迟报每次扣分", examples=[1])
    missed: Hundred = Field(description="漏报每次扣分", examples=[2])
    erroneous: Hundred = Field(description="错报每次扣分", examples=[2])
    concealed: Hundred = Field(description="瞒报每次扣分", examples=[5])


class FaultCaps(BaseModel):
    """每种过错全年至多扣的分."""

    model_config = _STRICT

    late: Hundred = Field(description="迟报至多扣分;100 等于不设上限", examples=[10])
    missed: Hundred = Field(description="漏报至多扣分;100 等于不设上限", examples=[20])
    erroneous: Hundred = Field(description="错报至多扣分;100 等于不设上限", examples=[20])
    concealed: Hundred = Field(description="瞒报至多扣分;100 等于不设上限", examples=[100])


class SchemeParameters(BaseModel):
    """考核办法的全部参数."""

    model_config = ConfigDict(extra="forbid", frozen=True, json_schema_extra={"example": EXAMPLE})

    weights: Weights = Field(description="五个方面的权重,合计 100")
    points: FaultPoints = Field(description="四种过错每次扣的分")
    caps: FaultCaps = Field(description="四种过错全年至多扣的分")
    completed_share: Hundred = Field(description="完成情况中按已完成任务数计算的百分比,其余按平均完成进度计算")
    excellent_from: Hundred = Field(description="优秀线:总分达到此数,且没有限制情形的,为优秀")
    qualified_from: Hundred = Field(description="合格线:总分未达此数的,等次待县里确定")
    decimals: Annotated[int, BeforeValidator(_whole)] = Field(
        default=2, ge=0, le=4, description="每项得分四舍五入到几位小数"
    )

    @model_validator(mode="after")
    def _holds_together(self) -> Self:
        try:
            self.scheme()
        except ValueError as error:
            raise PydanticCustomError("inconsistent_scheme", "{said}", {"said": str(error)}) from None
        return self

    def scheme(self) -> Scheme:
        """The scheme that a score is made by.

        Raises:
            ValueError: the parameters do not hold together.
        """
        return Scheme(
            weights={aspect: getattr(self.weights, aspect.value) for aspect in Aspect},
            points={kind: getattr(self.points, kind.value) for kind in COSTLY},
            caps={kind: getattr(self.caps, kind.value) for kind in COSTLY},
            completed_share=self.completed_share,
            excellent_from=self.excellent_from,
            qualified_from=self.qualified_from,
            decimals=self.decimals,
        )

    @classmethod
    def of(cls, scheme: Scheme) -> "SchemeParameters":
        """What the API says of a scheme."""

        def by_code(values: Any) -> dict[str, Decimal]:
            return {code.value: value for code, value in values.items()}

        return cls(
            weights=Weights.model_validate(by_code(scheme.weights)),
            points=FaultPoints.model_validate(by_code(scheme.points)),
            caps=FaultCaps.model_validate(by_code(scheme.caps)),
            completed_share=scheme.completed_share,
            excellent_from=scheme.excellent_from,
            qualified_from=scheme.qualified_from,
            decimals=scheme.decimals,
        )


class AssessmentSchemeCreate(BaseModel):
    """A new version of the scheme of a plan."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra={
            "example": {
                "plan": "431228-2023",
                "effective_on": "2023-06-01",
                "parameters": EXAMPLE,
                "note": "县政府办商县绩效办确定的首个版本",
            }
        },
    )

    plan: PlanCode
    effective_on: Annotated[date, BeforeValidator(_day)] = Field(
        description="自哪一天起施行:此后的考核默认按它计算", examples=["2023-06-01"]
    )
    parameters: SchemeParameters = Field(description="全部参数,逐一给出")
    note: Words = Field(description="依据与说明")


class AssessmentSchemeRead(Read):
    """One version of a scheme, which never changes."""

    id: UUID = Field(description="考核办法编号(UUIDv7)")
    plan: PlanCode
    version: int = Field(description="版本,自 1 起;0 为没有制定时所用的默认办法", examples=[1])
    effective_on: date = Field(description="自哪一天起施行")
    parameters: SchemeParameters = Field(description="全部参数")
    note: str = Field(description="依据与说明")
    created_at: Instant = Field(description="制定时刻(服务器时间)")
    created_by: str = Field(description="由谁制定")


class AssessmentSchemeQuery(ListQuery):
    """Filters of the list of schemes."""

    plan: PlanCode | None = Field(default=None, description="只要该总体方案的")
    as_of: AsOf = None
    sort: Literal["id", "-id"] = Field(default="id", description="排序:按制定先后;前加 - 为倒序")


class AssessmentSchemePage(PageRead[AssessmentSchemeRead]):
    """一页考核办法."""
