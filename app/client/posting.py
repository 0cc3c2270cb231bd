"""A filled-in form on its way to the service: as a whole or line by line, and again without harm.

Lines that the service already holds as they are count as done, so a form can be posted again after an answer was lost,
by the same command or another.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final
from urllib.parse import quote

from app.client.connection import Connection
from app.client.errors import ProblemError
from app.client.forms import Line, same_content

__all__ = ["FormPost", "form_path"]

_CONFLICT: Final = 409
_EDITABLE: Final = frozenset({"draft", "returned"})


def form_path(unit: str, period: str) -> str:
    """Where a form is; the unit may be a name as printed."""
    return f"units/{quote(unit, safe='')}/forms/{quote(period, safe='')}"


class FormPost:
    """One form to be posted; ``lines`` are those filled in, by their position in the file."""

    def __init__(
        self, connection: Connection, document: Mapping[str, Any], lines: Mapping[int, Line], *, draft: bool
    ) -> None:
        self._connection = connection
        self._unit, self._period = document["unit"], document["period"]
        self._lines = lines
        self._draft = draft
        self._there = self._read()
        self.pending = [index for index, line in lines.items() if not self._is_done(line)]

    def check(self) -> dict[str, Any]:
        """What would become of the form, as the answer to a batch; nothing is written."""
        if not self.pending:
            return self._answer([])
        items = [
            {"unit": self._unit, "period": self._period, "submit": not self._draft, **self._lines[index]}
            for index in self.pending
        ]
        results = self._connection.post("submissions/batch", {"items": items}, dry_run="true")["results"]
        return self._answer(map(self._checked, self._placed(results, self.pending)))

    def post_whole(self, idempotency_key: str | None) -> dict[str, Any]:
        """Post all lines in one transaction; the answer is that of a batch.

        Raises:
            ProblemError: a line is refused; nothing of the form is taken. Faults point into the file.
        """
        return self._answer(self._put(self.pending, idempotency_key) if self.pending else [])

    def post_lines(self, idempotency_key: str | None, on_line: Callable[[], None]) -> dict[str, Any]:
        """Post line by line, each by itself; ``on_line`` is told after each."""
        results: list[dict[str, Any]] = []
        for index in self.pending:
            try:
                results += self._put([index], idempotency_key and f"{idempotency_key}-{index}")
            except ProblemError as error:
                if error.exit_code != ProblemError.exit_code:
                    raise
                results.append(_refused(index, error.problem))
            on_line()
        return self._answer(results)

    def _put(self, indexes: list[int], idempotency_key: str | None) -> list[dict[str, Any]]:
        body = {"items": [self._lines[index] for index in indexes], "submit": not self._draft}
        try:
            answer = self._connection.put(form_path(self._unit, self._period), body, idempotency_key=idempotency_key)
        except ProblemError as error:
            if error.problem["status"] == _CONFLICT:
                # Whose answer got lost finds on coming again what it had sent itself.
                self._there = self._read()
                if all(self._is_done(self._lines[index]) for index in indexes):
                    return [self._done(index) for index in indexes]
            raise type(error)(_placed_problem(error.problem, indexes)) from None
        return self._placed(answer["results"], indexes)

    def _read(self) -> dict[str, Any]:
        form = self._connection.get(form_path(self._unit, self._period))
        return {item["task"]: item["submission"] for item in form["items"]}

    def _is_done(self, line: Line) -> bool:
        there = self._there.get(line["task"])
        settled = {"submitted", "certified", *(["draft"] if self._draft else [])}
        return there is not None and there["state"] in settled and same_content(line, there)

    def _done(self, index: int) -> dict[str, Any]:
        there = self._there[self._lines[index]["task"]]
        return {"index": index, "status": 200, "id": there["id"], "warnings": there["warnings"], "errors": []}

    def _placed(self, results: Iterable[Mapping[str, Any]], indexes: list[int]) -> list[dict[str, Any]]:
        return [{**result, "index": indexes[result["index"]]} for result in results]

    def _checked(self, result: dict[str, Any]) -> dict[str, Any]:
        """A check's result for a form: drafts and returned reports are replaced, so that there is one is no fault."""
        there = self._there.get(self._lines[result["index"]]["task"])
        state = there and there["state"]
        errors = [fault for fault in result["errors"] if fault["code"] != "already_reported" or state not in _EDITABLE]
        return {**result, "errors": errors, "status": result["status"] if errors else 200}

    def _answer(self, results: Iterable[dict[str, Any]]) -> dict[str, Any]:
        found = {result["index"]: result for result in results}
        every = [found.get(index) or self._done(index) for index in self._lines]
        refused = sum(bool(result["errors"]) for result in every)
        return {"accepted": len(every) - refused, "refused": refused, "results": every}


def _refused(index: int, problem: Mapping[str, Any]) -> dict[str, Any]:
    whole = {"pointer": f"/body/items/{index}", "code": problem["type"].rsplit("/", 1)[-1], "detail": problem["detail"]}
    return {
        "index": index,
        "status": problem["status"],
        "id": problem.get("existing"),
        "warnings": [],
        "errors": problem.get("errors") or [whole],
    }


def _placed_problem(problem: Mapping[str, Any], indexes: list[int]) -> dict[str, Any]:
    """The problem with its faults where they stand in the file, blank lines counted."""

    def placed(pointer: str) -> str:
        parts = pointer.split("/")
        if parts[:3] == ["", "body", "items"] and len(parts) > 3 and parts[3].isdigit():
            parts[3] = str(indexes[int(parts[3])])
        return "/".join(parts)

    faults = [{**fault, "pointer": placed(fault["pointer"])} for fault in problem.get("errors", [])]
    return {**problem, **({"errors": faults} if faults else {})}
