"""How the command starts: fast, with a list of what it can do, and with completion in the shell."""

import os
import subprocess
import sys
from collections.abc import Callable

import pytest
from typer.main import get_command

from app.cli import app
from app.cli.parts import PartsGroup
from app.client.environment import VARIABLES
from app.settings import read_settings
from tests.client.conftest import COMMAND, Caller

HEAVY = {"sqlalchemy", "asyncpg", "fastapi", "pydantic", "uvicorn"}
ROOT = get_command(app)


def test_the_list_of_commands_says_what_they_say_of_themselves() -> None:
    assert isinstance(ROOT, PartsGroup)
    for name, part in ROOT.parts.items():
        opened = ROOT.opened(name)
        assert opened.name == name
        assert opened.help.splitlines()[0] == part.help


@pytest.mark.parametrize("arguments", [["--help"], ["status", "--help"], ["form", "get", "--help"], ["version"]])
def test_nothing_heavy_is_loaded_for_what_does_not_serve(arguments: list[str]) -> None:
    code = (
        "import sys\nfrom app.cli import main\nsys.argv[1:] = sys.argv[2:]\n"
        "try:\n    main()\nexcept SystemExit:\n    print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "liuzhang", *arguments], capture_output=True, text=True, check=True
    )
    assert HEAVY & set(done.stderr.split()) == set()


def test_help_tells_the_exit_codes(stranger: Caller) -> None:
    assert "退出码" in stranger.run("--help").out


def complete(someone: Caller, words: str) -> list[str]:
    variables = someone.variables({"_LIUZHANG_COMPLETE": "complete_bash", "COMP_WORDS": words})
    variables["COMP_CWORD"] = str(len(words.split(" ")) - 1)
    done = subprocess.run([COMMAND], capture_output=True, text=True, env=variables, cwd=someone.home, check=True)
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("liuzhang st", {"status"}),
        ("liuzhang form ", {"get", "fill", "put"}),
        ("liuzhang form put --d", {"--dry-run", "--draft"}),
        ("liuzhang form fill f.json x --stage in", {"in_progress"}),
        ("liuzhang serve --po", {"--port"}),
    ],
)
def test_commands_options_and_values_are_completed(stranger: Caller, words: str, offered: set[str]) -> None:
    assert offered <= set(complete(stranger, words))


def test_units_are_completed_from_the_service_and_none_without_it(
    caller: Callable[..., Caller], stranger: Caller
) -> None:
    assert "431228-jyj" in complete(caller(), "liuzhang status --unit 431228-jy")
    assert complete(stranger, "liuzhang status --unit 431228-jy") == []


def test_completion_installs_itself_for_the_shell_it_is_called_from(stranger: Caller) -> None:
    # With a second command, the shell stays what the first one is called from.
    line = f"{COMMAND} --install-completion; true"
    subprocess.run(["bash", "-c", line], env=stranger.variables({}), cwd=stranger.home, check=True, timeout=60)
    assert "_LIUZHANG_COMPLETE" in (stranger.home / ".bash_completions" / "liuzhang.sh").read_text()


def test_the_service_lets_the_variables_of_the_client_stand(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("LIUZHANG_")]:
        monkeypatch.delenv(name)
    for name in VARIABLES:
        monkeypatch.setenv(name, "x")
    assert read_settings().port == 8000
