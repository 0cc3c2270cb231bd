"""The JSON Schemas that editors check seed files with: in step with the models, and true of the real plan."""

import json
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml

from seed.format import json_schemas
from tests.seed.small_plan import FILES, edited

ROOT = Path(__file__).parents[2]
SCHEMAS = ROOT / "seed" / "schema"


class Loader(yaml.SafeLoader):
    """Dates stay the text they are written as, which is what JSON knows."""


Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def loaded(text: str) -> Any:
    return yaml.load(text, Loader)


def schema_for(name: str) -> dict[str, Any]:
    """The schema of a seed file, by the file's name."""
    return json_schemas()[name.removesuffix(".yaml").partition("-")[0]]


def errors_of(name: str, content: Any) -> list[str]:
    validator = jsonschema_rs.validator_for(schema_for(name), validate_formats=True)
    return [f"{name}: {error.instance_path} {error.message}" for error in validator.iter_errors(content)]


def test_the_committed_schemas_are_those_of_the_models() -> None:
    committed = {path.name: json.loads(path.read_text(encoding="utf-8")) for path in SCHEMAS.glob("*.json")}
    made = {f"{name}.schema.json": json.loads(json.dumps(schema)) for name, schema in json_schemas().items()}
    assert committed == made, "run `make schemas` and commit seed/schema"


@pytest.mark.parametrize("name", sorted(json_schemas()))
def test_a_schema_is_itself_valid(name: str) -> None:
    jsonschema_rs.meta.validate(json_schemas()[name])


def test_every_file_of_the_real_plans_is_valid() -> None:
    paths = sorted(path for plan in ROOT.glob("seed/*/plan.yaml") for path in plan.parent.glob("*.yaml"))
    assert len(paths) >= 8
    assert [error for path in paths for error in errors_of(path.name, loaded(path.read_text(encoding="utf-8")))] == []


@pytest.mark.parametrize("name", FILES)
def test_every_file_of_the_small_plan_is_valid(name: str) -> None:
    assert errors_of(name, loaded(FILES[name])) == []


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("plan.yaml", "issuer: 宁乡市", "isuer: 宁乡市"),
        ("plan.yaml", "year: 2023", "year: 1999"),
        ("plan.yaml", "issued_on: 2023-02-08", "issued_on: 2023-02-30"),
        ("plan.yaml", 'code: "430124"', 'code: "43012"'),
        ("plan.yaml", "operator: gte", "operator: ge"),
        ("plan.yaml", "kind: sanction", "kind: fine"),
        ("units.yaml", "kind: collective", "kind: all"),
        ("battle-1.yaml", "number: 1\n        title: 新建", "number: one\n        title: 新建"),
        ("battle-1.yaml", "deliverables: 坝塘镇的八十座新棚", "deliverables: ''"),
        ("battle-1.yaml", "  open_ended: true\n  office", "  open_ended: maybe\n  office"),
        ("battle-2.yaml", "office: 市林业局\n", ""),
    ],
)
def test_a_wrong_file_is_refused(name: str, old: str, new: str) -> None:
    assert errors_of(name, loaded(edited(FILES[name], old, new)))
