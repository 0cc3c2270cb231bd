"""The OpenAPI document: complete, Chinese, with examples that are true, and in step with the committed file."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import jsonschema_rs
import pytest

from app.routers.answers import PROBLEM_JSON

CHINESE = re.compile(r"[一-鿿]")
Operation = tuple[str, str, dict[str, Any]]


def operations(document: dict[str, Any]) -> Iterator[Operation]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method, path, operation


def test_the_committed_document_is_the_one_served(document: dict[str, Any]) -> None:
    committed = json.loads(Path("openapi.json").read_text(encoding="utf-8"))
    assert committed == json.loads(json.dumps(document)), "run `make openapi` and commit openapi.json"


def test_operation_ids_are_unique_snake_case(document: dict[str, Any]) -> None:
    ids = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(ids) == len(set(ids)) >= 16
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)*", name) for name in ids)


def test_everything_a_user_reads_is_chinese(document: dict[str, Any]) -> None:
    for _, path, operation in operations(document):
        assert CHINESE.search(operation["summary"]), path
        assert CHINESE.search(operation["description"]), path
        for parameter in operation.get("parameters", []):
            assert CHINESE.search(parameter.get("description", "")), (path, parameter["name"])
        for answer in operation["responses"].values():
            assert CHINESE.search(answer["description"]), path
    named = {tag["name"] for tag in document["tags"]}
    used = {tag for _, _, operation in operations(document) for tag in operation["tags"]}
    assert used == named
    assert all(CHINESE.search(tag["description"]) for tag in document["tags"])


def test_no_schema_is_described_in_english(document: dict[str, Any]) -> None:
    described = {name: s["description"] for name, s in document["components"]["schemas"].items() if "description" in s}
    assert {name for name, text in described.items() if not CHINESE.search(text)} == set()


def test_every_field_of_an_answer_is_described(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    bare = [
        f"{name}.{field}"
        for name, schema in schemas.items()
        for field, shape in schema.get("properties", {}).items()
        if not CHINESE.search(shape.get("description", "")) and not refers_to_described(shape, schemas)
    ]
    assert bare == []


def refers_to_described(shape: dict[str, Any], schemas: dict[str, Any]) -> bool:
    options = [shape, *shape.get("anyOf", []), shape.get("items", {})]
    return any("$ref" in option and option["$ref"].rsplit("/", 1)[1] in schemas for option in options)


def test_every_error_is_problem_json_and_every_answer_carries_the_request_id(document: dict[str, Any]) -> None:
    for _, path, operation in operations(document):
        assert "422" in operation["responses"], path
        for status, answer in operation["responses"].items():
            assert "X-Request-ID" in answer["headers"]
            if status[0] in "45":
                assert list(answer["content"]) == [PROBLEM_JSON]
                assert answer["content"][PROBLEM_JSON]["schema"] == {"$ref": "#/components/schemas/Problem"}
            if status == "304":
                assert "content" not in answer
    assert "HTTPValidationError" not in document["components"]["schemas"]


def test_examples_fit_their_schemas(document: dict[str, Any]) -> None:
    checked = 0
    for name, schema in document["components"]["schemas"].items():
        whole = {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
        for example in [schema["example"]] if "example" in schema else []:
            jsonschema_rs.validate(whole, example)
            checked += 1
        for shape in schema.get("properties", {}).values():
            for example in shape.get("examples", []):
                jsonschema_rs.validate({**shape, "components": document["components"]}, example)
                checked += 1
    assert checked > 30


async def test_examples_are_of_the_real_plan(document: dict[str, Any], client: httpx.AsyncClient) -> None:
    for path, schema in {
        "/api/v1/tasks/431228-2023-1-2-5": "TaskRead",
        "/api/v1/targets/431228-2023-1-2-5-T2": "TargetRead",
    }.items():
        example = dict(document["components"]["schemas"][schema]["example"])
        real = (await client.get(path)).json()
        for target in example.pop("targets", []):
            assert target in real["targets"]
        assert example == {name: real[name] for name in example}


def test_codes_carry_their_labels(document: dict[str, Any]) -> None:
    role = document["components"]["schemas"]["AssignmentRole"]
    assert role["enum"] == ["lead", "responsible", "cooperating"]
    assert role["x-enum-descriptions"] == ["牵头", "负责", "配合"]
    for name, schema in document["components"]["schemas"].items():
        if "enum" in schema:
            assert len(schema["x-enum-descriptions"]) == len(schema["enum"]), name


PATHS = ["/nothing", "/api/v1/nothing", "/api/v1/tasks/", "/problems/none", "/docs/assets/none.js", "/api/v1/tasks/bad"]


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
async def test_one_error_shape_over_all_paths(document: dict[str, Any], client: httpx.AsyncClient, method: str) -> None:
    served = [path.replace("{code}", "bad%20code") for path in document["paths"]]
    for path in [*PATHS, *served]:
        answer = await client.request(method, f"{path}?no_such_parameter=1")
        if answer.status_code == 200 and path.startswith(("/docs", "/problems")):
            continue
        assert answer.status_code in {404, 405, 422}, (method, path, answer.status_code)
        assert answer.headers["content-type"] == PROBLEM_JSON
        body = answer.json()
        assert body["type"].startswith("/problems/")
        assert body["status"] == answer.status_code
        assert body["instance"] == answer.headers["x-request-id"]
        assert CHINESE.search(body["title"])
        assert CHINESE.search(body["detail"])
        if answer.status_code == 405:
            assert answer.headers["allow"]
