"""How these commands fail: the service's own words on standard error, and an exit code that says which kind it is."""

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, Final, ParamSpec, TypeVar

import typer

from app.client.errors import ClientError, ProblemError

__all__ = ["OVERDUE", "PARTLY", "explained", "fault_text"]

PARTLY: Final = 4
"""Exit code: some was accepted and some refused."""
OVERDUE: Final = 6
"""Exit code: ``status --check`` found what is late."""

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


def explained(command: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """Tell expected failures on standard error, and end with their exit code."""

    @wraps(command)
    def run(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        try:
            return command(*args, **kwargs)
        except ProblemError as error:
            for line in _told(error.problem):
                typer.echo(line, err=True)
            raise typer.Exit(error.exit_code) from None
        except ClientError as error:
            typer.echo(f"错误: {error}", err=True)
            raise typer.Exit(error.exit_code) from None

    return run


def fault_text(fault: Mapping[str, str]) -> str:
    """One fault in one line."""
    return f"{fault['pointer']}: {fault['detail']}({fault['code']})"


def _told(problem: Mapping[str, Any]) -> list[str]:
    title, detail = problem["title"], problem["detail"]
    return [
        f"错误: {detail}" if detail.startswith(title) else f"错误: {title}: {detail}",
        *(f"  {fault_text(fault)}" for fault in problem.get("errors", [])),
        *(f"  候选: {one.get('code', '')} {one.get('name', '')}" for one in problem.get("candidates", [])),
        *([f"  已有的报送: {problem['existing']}"] if problem.get("existing") else []),
        f"请求编号: {problem.get('instance', '-')}",
    ]
