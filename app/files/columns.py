"""The columns of a form as a file, found by their headings whatever their order."""

import unicodedata
from collections.abc import Sequence

from app.domain.plan import Labelled

__all__ = ["ASKED", "SAID", "Column", "column_of", "letter_of"]


class Column(Labelled):
    """A column, with its Chinese heading."""

    TASK = "task", "任务编码"
    TITLE = "title", "任务"
    ROLE = "role", "本单位角色"
    STATE = "state", "报送状态"
    PREVIOUS_PERCENT = "previous_percent", "上期进度"
    STAGE = "stage", "阶段"
    PERCENT = "percent_complete", "完成进度"
    PROGRESS = "progress", "进展情况"
    PROBLEMS = "problems", "存在问题"
    NEXT_STEPS = "next_steps", "下步打算"
    TARGET = "target", "目标编码"
    INDICATOR = "indicator", "指标"
    AIM = "aim", "目标值"
    MEASURE = "measure", "计量单位"
    PREVIOUS_VALUE = "previous_value", "上期数值"
    VALUE = "value", "本期数值"
    UNIT = "unit", "单位"
    PERIOD = "period", "报送期"
    NOTE = "note", "备注"


# What a report says of its task, once; and what the row of a target adds.
SAID: Sequence[Column] = (Column.STAGE, Column.PERCENT, Column.PROGRESS, Column.PROBLEMS, Column.NEXT_STEPS)
# What is read of a file; all else is there for those who fill it in.
ASKED: frozenset[Column] = frozenset({*SAID, Column.TASK, Column.TARGET, Column.VALUE, Column.UNIT, Column.PERIOD})
_BY_HEADING = {column.label: column for column in Column}


def column_of(heading: str) -> Column | None:
    """The column of a heading: blanks, marks such as ``*``, and a unit in brackets behind it do not matter."""
    plain = "".join(unicodedata.normalize("NFKC", heading).split())
    return _BY_HEADING.get(plain.partition("(")[0].strip("*:%"))


def letter_of(index: int) -> str:
    """The letters of a column, as spreadsheets name it: 0 is A, 26 is AA."""
    letters = ""
    index += 1
    while index:
        index, digit = divmod(index - 1, 26)
        letters = chr(ord("A") + digit) + letters
    return letters
