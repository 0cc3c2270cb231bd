"""The documents say what the code does: settings, errors, metrics, seed keys, commands and links."""

import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import httpx
import pytest
import yaml
from typer.main import get_command

from app.cli import app as command
from app.cli.parts import PartsGroup
from app.db import SERVICE_ROLE
from app.errors import all_errors
from app.settings import Settings
from seed.format import Format

ROOT = Path(__file__).parent.parent
READMES = ["README.md", "README.zh-CN.md"]
DOCUMENTS = sorted(str(path.relative_to(ROOT)) for path in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")))
SETTINGS = {f"LIUZHANG_{name.upper()}": field for name, field in Settings.model_fields.items()}


def shown(value: object) -> str:
    """A setting's value as it is written in the environment."""
    return str(value).lower() if isinstance(value, bool) else str(value)


DEFAULTS = {
    name: shown(field.default)
    for name, field in SETTINGS.items()
    if field.default is not None and not field.is_required()
}

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#{1,6} +(.+?) *$", re.MULTILINE)


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def blocks(name: str, language: str) -> list[str]:
    return [body for found, body in _BLOCK.findall(read(name)) if found == language]


def prose(name: str) -> str:
    return _BLOCK.sub("", read(name))


def anchors(name: str) -> set[str]:
    """The anchors of a document's headings, made as repository hosts make them."""
    headings = _HEADING.findall(prose(name))
    return {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


def named_targets(name: str) -> set[str]:
    code = [*blocks(name, "bash"), *_INLINE.findall(prose(name))]
    return {target for text in code for target in re.findall(r"\bmake ([a-z]+)", text)}


@pytest.mark.parametrize("name", [*READMES, ".env.example"])
def test_every_setting_is_documented_and_none_is_invented(name: str) -> None:
    assert set(re.findall(r"LIUZHANG_[A-Z_]*[A-Z]", read(name))) == set(SETTINGS)


@pytest.mark.parametrize("name", READMES)
def test_readme_shows_the_defaults(name: str) -> None:
    rows = dict(re.findall(r"^\| `(LIUZHANG_\w+)` \| (?:`([^`]+)`|none|无) \|", read(name), re.MULTILINE))
    assert {setting: default for setting, default in rows.items() if default} == DEFAULTS
    assert set(rows) == set(SETTINGS)


def test_example_settings_are_commented_and_show_the_defaults() -> None:
    lines = read(".env.example").splitlines()
    assert [line for line in lines if line and not line.startswith("#")] == []
    shown = dict(re.findall(r"^# (LIUZHANG_\w+)=(.+)$", read(".env.example"), re.MULTILINE))
    assert set(shown) == set(SETTINGS)
    assert {name: value for name, value in shown.items() if name in DEFAULTS} == DEFAULTS


def test_example_settings_are_accepted(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text(re.sub(r"^# (?=LIUZHANG_)", "", read(".env.example"), flags=re.MULTILINE), encoding="utf-8")
    settings = Settings(_env_file=file)  # type: ignore[call-arg]
    assert {name: shown(getattr(settings, name.removeprefix("LIUZHANG_").lower())) for name in DEFAULTS} == DEFAULTS


def test_every_problem_type_is_documented() -> None:
    rows = re.findall(r"^\| `/problems/([a-z-]+)` \| (\d+) \| ([^|]+) \|", read("docs/api.md"), re.MULTILINE)
    assert {(slug, int(status), title.strip()) for slug, status, title in rows} == {
        (error.slug, error.status, error.title) for error in all_errors()
    }


async def test_every_metric_is_documented(client: httpx.AsyncClient) -> None:
    exposed = re.findall(r"^# TYPE (\w+)", (await client.get("/metrics")).text, re.MULTILINE)
    assert "liuzhang_waiting" in exposed
    documented = set(_INLINE.findall(read("docs/operations.md")))
    assert {name for name in exposed if not name.endswith("_created")} <= documented


def test_every_key_of_the_seed_files_is_documented() -> None:
    documented = {word for code in _INLINE.findall(prose("docs/seed.md")) for word in re.findall(r"\w+", code)}
    keys = {name for model in Format.__subclasses__() for name in model.model_fields}
    keys |= {
        name for model in Format.__subclasses__() for child in model.__subclasses__() for name in child.model_fields
    }
    assert keys <= documented


@pytest.mark.parametrize("name", DOCUMENTS)
def test_examples_in_yaml_can_be_read(name: str) -> None:
    for example in blocks(name, "yaml"):
        assert yaml.safe_load(example)


@pytest.mark.parametrize("name", [*READMES, "CONTRIBUTING.md"])
def test_make_targets_exist(name: str) -> None:
    targets = set(re.findall(r"^([a-z]+):", read("Makefile"), re.MULTILINE))
    assert named_targets(name) <= targets


def command_names(group: Any, before: str = "") -> set[str]:
    """The commands of a group as they are typed, those of groups within it too."""
    names: set[str] = set()
    for name in group.commands:
        one = group.opened(name) if isinstance(group, PartsGroup) else group.commands[name]
        names |= command_names(one, f"{before}{name} ") if hasattr(one, "commands") else {before + name}
    return names


@pytest.mark.parametrize("name", READMES)
def test_every_command_is_documented(name: str) -> None:
    rows = re.findall(r"^\| (`liuzhang [^|]*) \|", read(name), re.MULTILINE)
    documented = {found for row in rows for found in re.findall(r"`liuzhang ([a-z -]+)`", row)}
    assert documented == command_names(get_command(command))


@pytest.mark.parametrize("name", DOCUMENTS)
def test_relative_links_resolve(name: str) -> None:
    place = (ROOT / name).parent
    for link in _LINK.findall(prose(name)):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = unquote(link).partition("#")
        target = (place / path).resolve() if path else ROOT / name
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(str(target.relative_to(ROOT))), link


def test_readmes_have_the_same_sections_and_commands() -> None:
    english, chinese = READMES
    assert len(re.findall(r"^## ", prose(english), re.MULTILINE)) == len(
        re.findall(r"^## ", prose(chinese), re.MULTILINE)
    )
    assert blocks(english, "bash") == blocks(chinese, "bash")
    assert named_targets(english) == named_targets(chinese)


def test_compose_file_has_no_password() -> None:
    composed = yaml.safe_load(read("compose.yaml"))
    services = composed["services"]
    required = r"\$\{POSTGRES_PASSWORD:\?[^}]+\}"
    assert re.fullmatch(required, services["database"]["environment"]["POSTGRES_PASSWORD"])
    assert re.fullmatch(required, services["service"]["environment"]["PGPASSWORD"])
    assert services["service"]["depends_on"]["database"]["condition"] == "service_healthy"
    # The service logs in as the role that the database is set up with.
    assert f"//{SERVICE_ROLE}@" in services["service"]["environment"]["LIUZHANG_SERVICE_DATABASE_URL"]
    (mounted,) = services["database"]["configs"]
    assert f"CREATE ROLE {SERVICE_ROLE} LOGIN" in composed["configs"][mounted["source"]]["content"]


def test_dockerfile_copies_what_exists_and_is_not_ignored() -> None:
    allowed = set(re.findall(r"^!(\S+)$", read(".dockerignore"), re.MULTILINE))
    copied = [line.split()[1:-1] for line in read("Dockerfile").splitlines() if re.match(r"COPY (?!--from)", line)]
    for path in (path for paths in copied for path in paths):
        assert (ROOT / path).exists()
        assert path.split("/")[0] in allowed
