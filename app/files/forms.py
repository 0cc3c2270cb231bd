"""A form to be filled in: what stands in it, row by row, the same in XLSX and CSV."""

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Final, NamedTuple, TypeAlias

from app.domain.plan import Operator
from app.domain.progress import Stage
from app.domain.workflow import SubmissionState
from app.files.columns import Column

__all__ = ["FORM_COLUMNS", "Content", "Form", "FormTarget", "FormTask", "aim_text", "form_rows"]

FORM_COLUMNS: Final[Sequence[Column]] = (
    Column.TASK,
    Column.TITLE,
    Column.ROLE,
    Column.STATE,
    Column.PREVIOUS_PERCENT,
    Column.STAGE,
    Column.PERCENT,
    Column.PROGRESS,
    Column.PROBLEMS,
    Column.NEXT_STEPS,
    Column.TARGET,
    Column.INDICATOR,
    Column.AIM,
    Column.MEASURE,
    Column.PREVIOUS_VALUE,
    Column.VALUE,
)
Content: TypeAlias = "str | Decimal | None"
_NOT_REPORTED: Final = "未报送"


class FormTarget(NamedTuple):
    """A target that figures are reported for, with the figure reported last and the one of this form, if any."""

    code: str
    indicator: str
    aim: str
    measure: str | None
    previous: Decimal | None
    value: Decimal | None


class FormTask(NamedTuple):
    """A task of a form, with what is reported already; ``state`` is ``None`` where nothing is."""

    code: str
    title: str
    role: str
    state: SubmissionState | None
    previous_percent: Decimal | None
    stage: Stage | None
    percent: Decimal | None
    progress: str | None
    problems: str | None
    next_steps: str | None
    targets: Sequence[FormTarget]


class Form(NamedTuple):
    """The form of a unit for a period; ``due`` is its due day in words."""

    plan: str
    unit: str
    unit_name: str
    period: str
    due: str
    tasks: Sequence[FormTask]


def aim_text(operator: Operator, value: Decimal, value_max: Decimal | None) -> str:
    """A target value in words: 不低于 650, 43 左右, 5 至 8."""
    shown = f"{value.normalize():f}"
    if operator is Operator.RANGE and value_max is not None:
        return f"{shown} 至 {value_max.normalize():f}"
    return f"{shown} {operator.label}" if operator is Operator.APPROX else f"{operator.label} {shown}"


def form_rows(form: Form) -> Iterator[Mapping[Column, Content]]:
    """The rows of a form: one a task, and one more for each further target of it."""
    for task in form.tasks:
        first: dict[Column, Content] = {
            Column.TASK: task.code,
            Column.TITLE: task.title,
            Column.ROLE: task.role,
            Column.STATE: task.state.label if task.state else _NOT_REPORTED,
            Column.PREVIOUS_PERCENT: task.previous_percent,
            Column.STAGE: task.stage.label if task.stage else None,
            Column.PERCENT: task.percent,
            Column.PROGRESS: task.progress,
            Column.PROBLEMS: task.problems,
            Column.NEXT_STEPS: task.next_steps,
            Column.UNIT: form.unit,
            Column.PERIOD: form.period,
        }
        if not task.targets:
            yield first
        for target in task.targets:
            yield {
                **first,
                Column.TARGET: target.code,
                Column.INDICATOR: target.indicator,
                Column.AIM: target.aim,
                Column.MEASURE: target.measure,
                Column.PREVIOUS_VALUE: target.previous,
                Column.VALUE: target.value,
            }
            first = {name: first[name] for name in (Column.TASK, Column.TITLE, Column.UNIT, Column.PERIOD)}
