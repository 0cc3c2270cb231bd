"""What these commands print: tables for people, JSON for scripts, progress on a terminal only."""

import json
import sys
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

__all__ = ["instant", "percent", "print_facts", "print_json", "print_table", "working"]


@contextmanager
def working(title: str, total: int | None = None) -> Generator[Callable[[], None]]:
    """Show that work goes on, on standard error, where that is a terminal; what is given moves it on by one."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(title, total=total)
        yield lambda: progress.advance(task)


def print_json(answer: Any) -> None:
    """Print an answer of the service as it is."""
    typer.echo(json.dumps(answer, ensure_ascii=False, indent=2))


def print_table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print aligned columns; Chinese is two columns wide. In a pipe no line is broken."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for heading in headings:
        table.add_column(heading)
    for row in rows:
        table.add_row(*(_cell(value) for value in row))
    # Wide enough for any row: a line of a table is a line of the file it is written to.
    width = None if sys.stdout.isatty() else 10_000
    Console(width=width, highlight=False, markup=False, emoji=False).print(table)


def print_facts(facts: Mapping[str, object]) -> None:
    """Print names and values, one a line."""
    for name, value in facts.items():
        typer.echo(f"{name}:{_shown(value)}")


def instant(value: str | None) -> str:
    """An instant of an answer, to the second; answers are in Beijing time."""
    return "-" if value is None else value[:19].replace("T", " ")


def percent(ratio: Mapping[str, Any]) -> str | None:
    """A rate of an answer."""
    return None if ratio["percent"] is None else f"{ratio['percent']}%"


def _cell(value: object) -> Text:
    # Never markup: what people reported may contain brackets.
    return Text(_shown(value).replace("\n", " "))


def _shown(value: object) -> str:
    """A value without control characters: what people reported must not command a terminal."""
    text = "-" if value is None else str(value)
    return "".join(sign if sign.isprintable() or sign == "\n" else "�" for sign in text)
