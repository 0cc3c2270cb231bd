"""Every validation error is told in Chinese: real errors of Pydantic, made by small models."""

import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal
from uuid import UUID

import pytest
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError
from pydantic_core._pydantic_core import list_all_errors

import app.schemas
import seed.format
from app.settings import Settings
from app.validation import explain_validation

FALLBACK = "值不合要求"
CHINESE = re.compile(r"[一-鿿]")


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = "x"


class Named(BaseModel):
    name: str


class Row(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    name: str


Figure = Annotated[Decimal, Field(max_digits=5, decimal_places=2)]

# What the core of Pydantic checks (its word for it): a type, what is refused, the error, what the sentence must say.
CASES: list[tuple[str, Any, Any, str, str]] = [
    ("str", str, 1, "string_type", "字符串"),
    ("str", str, b"\xff", "string_unicode", "UTF-8"),
    ("str", Annotated[str, StringConstraints(min_length=2)], "a", "string_too_short", "至少 2 个字符"),
    ("str", Annotated[str, StringConstraints(max_length=2)], "abc", "string_too_long", "至多 2 个字符"),
    ("str", Annotated[str, StringConstraints(pattern=r"^\d{6}$")], "a", "string_pattern_mismatch", r"^\d{6}$"),
    ("int", int, None, "int_type", "整数"),
    ("int", int, "one", "int_parsing", "整数"),
    ("int", int, 1.5, "int_from_float", "小数"),
    ("int", int, "9" * 5000, "int_parsing_size", "超出范围"),
    ("int", Annotated[int, Field(ge=1)], 0, "greater_than_equal", "不小于 1"),
    ("int", Annotated[int, Field(le=500)], 501, "less_than_equal", "不大于 500"),
    ("int", Annotated[int, Field(gt=0)], 0, "greater_than", "大于 0"),
    ("int", Annotated[int, Field(lt=10)], 10, "less_than", "小于 10"),
    ("float", float, None, "float_type", "数字"),
    ("float", float, "a", "float_parsing", "数字"),
    ("float", Annotated[float, Field(allow_inf_nan=False)], float("nan"), "finite_number", "有限"),
    ("decimal", Decimal, [], "decimal_type", "数字"),
    ("decimal", Decimal, "a", "decimal_parsing", "数字"),
    ("decimal", Decimal, "NaN", "finite_number", "有限"),
    ("decimal", Figure, "12345", "decimal_whole_digits", "整数部分至多 3 位"),
    ("decimal", Figure, "1.234", "decimal_max_places", "小数至多 2 位"),
    ("decimal", Annotated[Decimal, Field(max_digits=2)], "123", "decimal_max_digits", "至多 2 位"),
    ("bool", bool, None, "bool_type", "true 或 false"),
    ("bool", bool, "maybe", "bool_parsing", "true 或 false"),
    ("date", date, None, "date_type", "YYYY-MM-DD"),
    ("date", date, "2023-02-30", "date_from_datetime_parsing", "YYYY-MM-DD"),
    ("date", date, "2023-02-03T04:05:06", "date_from_datetime_inexact", "不带时刻"),
    ("datetime", datetime, None, "datetime_type", "RFC 3339"),
    ("datetime", datetime, "soon", "datetime_from_date_parsing", "RFC 3339"),
    ("datetime", AwareDatetime, "2023-02-03T04:05:06", "timezone_aware", "时区"),
    ("enum", Colour, "green", "enum", "'red'、'blue'"),
    ("literal", Literal["code", "-code"], "up", "literal_error", "'code'、'-code'"),
    ("list", list[int], 1, "list_type", "数组"),
    ("list", Annotated[list[int], Field(min_length=1)], [], "too_short", "至少 1 项"),
    ("list", Annotated[list[int], Field(max_length=1)], [1, 2], "too_long", "至多 1 项"),
    ("dict", dict[str, int], 1, "dict_type", "对象"),
    ("uuid", UUID, "x", "uuid_parsing", "UUID"),
    ("uuid", UUID, 1, "uuid_type", "UUID"),
    ("model", Strict, 1, "model_type", "对象"),
    ("model", Strict, {"nmae": "x"}, "extra_forbidden", "不认识"),
    ("model", Named, {}, "missing", "缺少"),
    ("model", Row, 1, "model_attributes_type", "对象"),
]
# The same, read from JSON as it is, without conversions.
JSON_CASES: list[tuple[Any, str, str, str]] = [
    (date, '"2023-02-30"', "date_parsing", "YYYY-MM-DD"),
    (datetime, '"soon"', "datetime_parsing", "RFC 3339"),
    (Named, "{", "json_invalid", "JSON"),
]
# What only arranges the others, and raises nothing of its own.
ARRANGING = {
    "default",
    "definition-ref",
    "definitions",
    "function-after",
    "function-before",
    "model-field",
    "model-fields",
    "no-info",
    "nullable",
    "union",
}
# The paths of the settings, read from text of which none is refused, and the free part of a problem's candidates.
NEVER_FAILING = {"any", "is-instance", "json-or-python", "lax-or-strict"}


def error_of(annotation: Any, value: Any) -> Any:
    """The first error of validating ``value``."""
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(annotation).validate_python(value)
    return caught.value.errors(include_url=False)[0]


def assert_told(error: Any, kind: str, said: str) -> None:
    assert error["type"] == kind
    sentence = explain_validation(error["type"], error.get("ctx", {}), error["msg"])
    assert said in sentence
    assert CHINESE.search(sentence)
    assert sentence != FALLBACK
    assert "{" not in sentence.replace(r"\d{6}", "")


@pytest.mark.parametrize(
    ("annotation", "value", "kind", "said"),
    [case[1:] for case in CASES],
    ids=[f"{case[0]}-{case[3]}" for case in CASES],
)
def test_a_real_error_is_told_in_chinese(annotation: Any, value: Any, kind: str, said: str) -> None:
    assert_told(error_of(annotation, value), kind, said)


@pytest.mark.parametrize(("annotation", "text", "kind", "said"), JSON_CASES)
def test_a_real_error_of_json_is_told_in_chinese(annotation: Any, text: str, kind: str, said: str) -> None:
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(annotation).validate_json(text, strict=True)
    assert_told(caught.value.errors(include_url=False)[0], kind, said)


def models() -> Iterator[type[BaseModel]]:
    """Every model that reads what others wrote: of the API, of the seed files, of the settings."""
    names = [f"app.schemas.{found.name}" for found in pkgutil.iter_modules(app.schemas.__path__)]
    for module in [*map(importlib.import_module, names), seed.format]:
        for model in vars(module).values():
            if inspect.isclass(model) and issubclass(model, BaseModel) and model.__module__ == module.__name__:
                yield model
    yield Settings


def checks(schema: Any) -> Iterator[str]:
    """Every kind of check in a core schema."""
    if isinstance(schema, dict):
        if isinstance(schema.get("type"), str):
            yield schema["type"]
        for name, part in schema.items():
            if name not in {"metadata", "serialization", "default", "expected", "members", "config"}:
                yield from checks(part)
    elif isinstance(schema, list | tuple):
        for part in schema:
            yield from checks(part)


def test_every_check_of_our_schemas_has_its_errors_tried() -> None:
    used = {kind for model in models() for kind in checks(model.__pydantic_core_schema__)}
    assert used >= {"str", "int", "decimal", "date", "enum", "literal", "list", "model"}
    assert used - {case[0] for case in CASES} - ARRANGING - NEVER_FAILING == set()


def sentences() -> dict[str, str]:
    """The error types that have a sentence of their own."""
    examples = {error["type"]: error.get("example_context") or {} for error in list_all_errors()}
    told = {kind: explain_validation(kind, context) for kind, context in examples.items() if kind != "value_error"}
    return {kind: sentence for kind, sentence in told.items() if sentence != FALLBACK}


def test_every_sentence_has_been_seen_in_a_real_error() -> None:
    tried = {case[3] for case in CASES} | {case[2] for case in JSON_CASES}
    assert set(sentences()) == tried


def test_a_sentence_raised_by_this_project_is_passed_on() -> None:
    class Checked(BaseModel):
        value: int

        def model_post_init(self, _context: Any) -> None:
            if self.value < 0:
                raise ValueError("不能是负数")

    error = error_of(Checked, {"value": -1})
    assert explain_validation(error["type"], error["ctx"], error["msg"]) == "不能是负数"


def test_an_unknown_kind_of_error_gets_a_general_sentence() -> None:
    assert explain_validation("frozen_set_type", {}, "Input should be a valid frozenset") == FALLBACK
    assert explain_validation("made_up", {"anything": 1}) == FALLBACK
    error = error_of(Path, 1)
    assert explain_validation(error["type"], error.get("ctx", {}), error["msg"]) == FALLBACK
