"""The conventions that no other tool holds: contracts, public names, sizes, names of modules."""

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LONGEST = 500
NAMELESS = {"utils", "util", "common", "helpers", "helper", "core", "misc", "shared", "crud", "base_service"}
# Run by a tool that asks for no names: Alembic runs the environment and the versions.
RUN_BY_OTHERS = {"migrations/env.py"}

MODULES = sorted(
    path.relative_to(ROOT).as_posix()
    for package in ("app", "seed", "migrations")
    for path in (ROOT / package).rglob("*.py")
)


def tree(module: str) -> ast.Module:
    return ast.parse((ROOT / module).read_text(encoding="utf-8"), module)


def assigned(module: str) -> dict[str, ast.expr]:
    """What a module assigns at its top, by name."""
    return {
        target.id: node.value
        for node in tree(module).body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }


def is_bare_package(module: str) -> bool:
    """An ``__init__`` with nothing but its docstring."""
    return module.endswith("/__init__.py") and all(
        isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) for node in tree(module).body
    )


def says_its_names_otherwise(module: str) -> bool:
    """A router is known by its ``router``, a version by its ``upgrade``, a bare package has no names."""
    return (
        is_bare_package(module)
        or module in RUN_BY_OTHERS
        or module.startswith("migrations/versions/")
        or (module.startswith("app/routers/") and "router" in assigned(module))
    )


def test_the_import_contracts_are_kept() -> None:
    done = subprocess.run(
        [Path(sys.executable).parent / "lint-imports", "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


def test_the_contracts_speak_of_all_packages_and_of_every_layer() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    assert settings["root_packages"] == ["app", "seed", "migrations"]
    layers = next(contract for contract in settings["contracts"] if contract["type"] == "layers")
    assert layers["exhaustive"]


@pytest.mark.parametrize("module", MODULES)
def test_a_module_says_which_names_are_its_own(module: str) -> None:
    assert "__all__" in assigned(module) or says_its_names_otherwise(module)


@pytest.mark.parametrize("module", [module for module in MODULES if "__all__" in assigned(module)])
def test_no_private_name_is_given_out_and_none_twice(module: str) -> None:
    exported = ast.literal_eval(assigned(module)["__all__"])
    assert len(exported) == len(set(exported))
    assert not any(name.startswith("_") for name in exported)


@pytest.mark.parametrize("module", MODULES)
def test_a_module_begins_with_what_it_is_for(module: str) -> None:
    assert ast.get_docstring(tree(module))


@pytest.mark.parametrize("module", [module for module in MODULES if not module.startswith("migrations/versions/")])
def test_a_module_is_short_enough_to_be_read(module: str) -> None:
    assert len((ROOT / module).read_text(encoding="utf-8").splitlines()) <= LONGEST


@pytest.mark.parametrize("module", [module for module in MODULES if module.startswith("app/")])
def test_the_service_prints_nothing(module: str) -> None:
    calls = [node.func for node in ast.walk(tree(module)) if isinstance(node, ast.Call)]
    assert not any(isinstance(call, ast.Name) and call.id == "print" for call in calls)


def test_every_module_is_named_after_what_it_holds() -> None:
    parts = {part.removesuffix(".py") for module in MODULES for part in module.split("/")}
    assert parts & NAMELESS == set()


def test_time_is_read_in_one_place() -> None:
    readers = {
        module
        for module in MODULES
        for node in ast.walk(tree(module))
        if isinstance(node, ast.Attribute) and node.attr in {"now", "utcnow", "today"}
        if isinstance(node.value, ast.Name) and node.value.id in {"datetime", "date"}
    }
    assert readers <= {"app/clock.py"}
