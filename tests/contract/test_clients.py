"""Clients generated from openapi.json: the usual generators understand it, and what they make works."""

import json
import os
import re
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "openapi.json"
CONVENTIONS = ROOT / "docs" / "api.md"
TYPESCRIPT = Path(__file__).parent / "clients"
UNREACHABLE = re.compile(
    r"npm error (?:code|errno) (E(?:AI_AGAIN|CONN\w+|HOSTUNREACH|NET\w+|NOTFOUND|SOCKETTIMEDOUT|TIMEDOUT))\b"
)


def run(*command: str | Path, cwd: Path, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    searched = os.pathsep.join([*([str(path)] if path else []), os.environ["PATH"]])
    environment = os.environ | {"PATH": searched, "PYTHONUTF8": "1", "NO_COLOR": "1"}
    return subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        cwd=cwd,
        env=environment,
        timeout=600,
        check=False,
    )


def test_typescript(tmp_path: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not installed")
    shutil.copytree(TYPESCRIPT, tmp_path, dirs_exist_ok=True)
    options = ["--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries=1", "--fetch-timeout=60000"]
    installed = run(npm, "ci", *options, cwd=tmp_path)
    unreachable = UNREACHABLE.search(installed.stderr)
    if unreachable is not None:
        pytest.skip(f"npm cannot reach its registry ({unreachable[1]})")
    assert installed.returncode == 0, installed.stderr
    tools = tmp_path / "node_modules" / ".bin"
    generated = run(tools / "openapi-typescript", DOCUMENT, "--output", "schema.ts", cwd=tmp_path)
    assert generated.returncode == 0, generated.stderr
    assert "warn" not in (generated.stdout + generated.stderr).lower()
    options = ["--strict", "--noEmit", "--target", "ES2022", "--moduleResolution", "bundler", "--module", "ES2022"]
    compiled = run(tools / "tsc", *options, "client.ts", cwd=tmp_path)
    assert compiled.returncode == 0, compiled.stdout


def test_python(tmp_path: Path, server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    client_directory = tmp_path / "liuzhang_client"
    tools = Path(sys.executable).parent
    config = tmp_path / "client.yaml"
    documented = re.search(
        r"^```yaml\n(project_name_override.*?)^```$", CONVENTIONS.read_text("utf-8"), re.MULTILINE | re.DOTALL
    )
    assert documented is not None
    config.write_text(documented[1], encoding="utf-8")
    options = ["--path", DOCUMENT, "--config", config, "--output-path", client_directory, "--meta", "none"]
    options.append("--fail-on-warning")
    # It formats what it made with the ruff beside it.
    generated = run(tools / "openapi-python-client", "generate", *options, cwd=tmp_path, path=tools)
    said = (generated.stdout.splitlines()[1:], generated.stderr)
    assert (generated.returncode, *said) == (0, [], "")
    document = json.loads(DOCUMENT.read_text(encoding="utf-8"))
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    expected = {f"{one['tags'][0].replace('-', '_')}/{one['operationId']}.py" for one in operations}
    made = {path.relative_to(client_directory / "api").as_posix() for path in client_directory.glob("api/*/*.py")}
    assert {name for name in made if not name.endswith("/__init__.py")} == expected

    monkeypatch.syspath_prepend(tmp_path)
    client_module, models = import_module("liuzhang_client"), import_module("liuzhang_client.models")
    list_tasks, get_task = (import_module(f"liuzhang_client.api.tasks.{name}") for name in ("list_tasks", "get_task"))
    role = models.AssignmentRole.LEAD
    with client_module.Client(
        base_url=server, httpx_args={"trust_env": False}, raise_on_unexpected_status=True
    ) as client:
        page = list_tasks.sync(client=client, battle="431228-2023-1", role=role, limit=3, include_total=True)
        assert len(page.items) == 3
        assert page.total > 3
        rest = list_tasks.sync(client=client, battle="431228-2023-1", role=role, limit=500, cursor=page.next_cursor)
        assert 3 + len(rest.items) == page.total
        task = get_task.sync("431228-2023-1-2-5", client=client)
        assert isinstance(task, models.TaskRead)
        assert task.title == "支持农业基础设施建设"
        assert task.to_dict() == httpx.get(f"{server}/api/v1/tasks/{task.code}", trust_env=False).json()
        answer = get_task.sync_detailed("431228-2023-1-2-99", client=client)
        assert answer.status_code == 404
        assert isinstance(answer.parsed, models.Problem)
        assert answer.parsed.type_ == "/problems/not-found"
        assert answer.parsed.instance == answer.headers["x-request-id"]
