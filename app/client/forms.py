"""A unit's monthly form as a JSON file: what is given out to be filled in, and what of it is sent.

The file lists every task that is owed, with room for what a report says; what is left blank is not sent. Titles, due
instants and wordings of targets are there to be read, and are not sent either.
"""

import json
from collections.abc import Iterable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, NoReturn

from app.client.errors import InputError

__all__ = ["Line", "fill_line", "form_document", "read_form", "same_content", "written_form"]

Line = dict[str, Any]
_TEXTS: Final = ("progress", "problems", "next_steps")
_SAID: Final = ("stage", "percent_complete", *_TEXTS)


def form_document(form: Mapping[str, Any], targets: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The file for a form as the service gives it, and the targets of its tasks that take figures."""
    of_task: dict[str, list[Mapping[str, Any]]] = {}
    for target in targets:
        of_task.setdefault(target["task"], []).append(target)
    return {
        "unit": form["unit"]["unit"],
        "unit_name": form["unit"]["name"],
        "period": form["period"],
        "items": [_item(item, of_task.get(item["task"], [])) for item in form["items"]],
    }


def _item(item: Mapping[str, Any], targets: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    submission: Mapping[str, Any] = item["submission"] or {}
    figures = _figures(submission.get("observations", []))
    return {
        **{name: item[name] for name in ("task", "title", "due_at")},
        "state": submission.get("state"),
        **{name: submission.get(name) for name in _SAID},
        "observations": [
            {
                "target": target["code"],
                **{name: target[name] for name in ("text", "unit_of_measure")},
                "value": figures.get(target["code"]),
            }
            for target in targets
        ],
    }


def written_form(document: Mapping[str, Any]) -> str:
    """The file's text."""
    return json.dumps(document, ensure_ascii=False, indent=2) + "\n"


def read_form(path: Path) -> tuple[dict[str, Any], dict[int, Line]]:
    """Read a file: the document, and the lines that are filled in, by their position in it.

    Raises:
        InputError: it is no such file.
    """
    try:
        document = json.loads(
            path.read_text(encoding="utf-8-sig"), object_pairs_hook=_once, parse_constant=_refuse_constant
        )
        items = document["items"]
        lines = {index: _line(item) for index, item in enumerate(items)}
        _ = document["unit"] + document["period"]
    except OSError as error:
        raise InputError(f"无法读取 {path}: {error.strerror}") from None
    except RecursionError:
        raise InputError(f"{path} 不是月进度表: 嵌套过深") from None
    except ValueError as error:
        raise InputError(f"{path} 不是合法的 JSON(UTF-8): {error}") from None
    except (KeyError, TypeError, AttributeError):
        raise InputError(f"{path} 不是 liuzhang form get 所取的月进度表:须有 unit、period 与 items") from None
    return document, {index: line for index, line in lines.items() if line is not None}


def fill_line(document: Mapping[str, Any], task: str, said: Mapping[str, Any], figures: Mapping[str, Any]) -> None:
    """Fill in one task of a form; what is ``None`` stays as it is.

    Raises:
        InputError: the form has no such task, or the task no such target.
    """
    item = next((item for item in document["items"] if item["task"] == task), None)
    if item is None:
        raise InputError(f"表中没有任务 {task};表中有: {'、'.join(item['task'] for item in document['items']) or '无'}")
    item.update({name: value for name, value in said.items() if value is not None})
    rows = {row["target"]: row for row in item["observations"]}
    for target, value in figures.items():
        if target not in rows:
            raise InputError(f"任务 {task} 没有目标 {target};它的目标有: {'、'.join(rows) or '无'}")
        rows[target]["value"] = value


def same_content(line: Line, submission: Mapping[str, Any] | None) -> bool:
    """Whether a submission says what the line says."""
    return submission is not None and _content(line) == _content(submission)


def _line(item: Mapping[str, Any]) -> Line | None:
    """What is sent of one task; ``None`` where nothing is filled in."""
    said = {name: item.get(name) for name in _SAID}
    rows: list[dict[str, Any]] = item.get("observations") or []
    observations = [{"target": row["target"], "value": row["value"]} for row in rows if row.get("value") is not None]
    if not observations and all(value in {None, ""} for value in said.values()):
        return None
    # Blank is what the service takes it for: no text at all. Whatever else is missing, it will say.
    given = {name: value for name, value in said.items() if value is not None}
    return {"task": item["task"], **given, "observations": observations}


def _content(said: Mapping[str, Any]) -> tuple[Any, ...]:
    return (
        said.get("stage"),
        _number(said.get("percent_complete")),
        *(said.get(name) or "" for name in _TEXTS),
        {target: _number(value) for target, value in _figures(said.get("observations", [])).items()},
    )


def _figures(observations: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    return {row["target"]: row["value"] for row in observations}


def _number(value: Any) -> Any:
    """A number as the exact decimal that it is written as; what is none stays, for the service to refuse."""
    return Decimal(str(value)) if isinstance(value, int | float) else value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object in which no name stands twice: which of the two was meant is not guessed."""
    made = dict(pairs)
    if len(made) < len(pairs):
        raise ValueError(f"同一对象中有重复的字段: {'、'.join(name for name, _ in pairs)}")
    return made


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} 不是数字")
