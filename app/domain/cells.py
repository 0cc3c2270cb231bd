"""What the cells of a filled-in form say: figures, stages, periods and texts as clerks write them.

A cell is read as what anybody who looks at the form would read, or it is refused with a sentence that says what to
write instead; nothing is guessed. An empty cell is ``None`` and never zero.
"""

import re
import unicodedata
from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import Final, NamedTuple

from app.domain.periods import parse_period
from app.domain.progress import Stage

__all__ = [
    "BLANK",
    "Cell",
    "CellError",
    "CellKind",
    "figure_of_float",
    "read_code",
    "read_figure",
    "read_percent",
    "read_period",
    "read_prose",
    "read_stage",
]

PERCENT: Final = "%"
_SCALES: Final = {"万亿": Decimal(10**12), "亿": Decimal(10**8), "万": Decimal(10**4)}
# Of a share nobody counts ten thousands.
_SHARES: Final = {PERCENT, "‰", "个百分点", "百分点"}
_LONGEST_FIGURE: Final = 60
_FIGURE: Final = re.compile(
    r"(?P<sign>[+-]?)(?P<digits>[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)?|[0-9]+(?:\.[0-9]+)?|\.[0-9]+)(?P<suffix>[^0-9.,].*)?"
)
_EXPONENT: Final = re.compile(r"[+-]?[0-9.]+[eE][+-]?[0-9]+")
# What people put where they have nothing to say.
_DASHES: Final = {"-", "--", "—", "——", "/", "\\", "无", "暂无"}
# NFKC leaves these as they are.
_MINUS: Final = str.maketrans({"−": "-", "–": "-"})
_MONTH: Final = re.compile(r"([0-9]{4})(?:年|/)([0-9]{1,2})(?:月份?)?")
_STAGES: Final = {
    **{stage.value: stage for stage in Stage},
    **{stage.label: stage for stage in Stage},
    "未开始": Stage.NOT_STARTED,
    "未开工": Stage.NOT_STARTED,
    "进行中": Stage.IN_PROGRESS,
    "在建": Stage.IN_PROGRESS,
    "完成": Stage.COMPLETED,
    "已完工": Stage.COMPLETED,
}


class CellKind(StrEnum):
    """What a cell holds, as far as the file tells."""

    BLANK = "blank"
    TEXT = "text"
    NUMBER = "number"
    DATE = "date"
    BOOLEAN = "boolean"
    ERROR = "error"
    # A formula whose result is not in the file.
    UNCOMPUTED = "uncomputed"


class Cell(NamedTuple):
    """One cell: ``text`` as the file has it, ``number`` and ``day`` of those that are one.

    ``as_percent`` is of a number that is shown as a per cent: 0.45 shown as 45%.
    """

    kind: CellKind
    text: str = ""
    number: Decimal | None = None
    day: date | None = None
    as_percent: bool = False


BLANK: Final = Cell(CellKind.BLANK)


class CellError(ValueError):
    """A cell cannot be read: a stable code, and a Chinese sentence that says what to write."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


def figure_of_float(value: float) -> Decimal:
    """The decimal that a spreadsheet shows for a binary number: its shortest form of at most 15 digits.

    A spreadsheet keeps 15 digits and shows no more; what lies beyond is the noise of its sums (0.1 + 0.2).
    """
    return Decimal(f"{value:.15g}")


def read_figure(cell: Cell, measure: str | None) -> Decimal | None:
    """The figure in a cell, in the unit of measure ``measure``.

    A unit of measure that is written behind the figure must be that of the indicator, or differ from it by 万 or 亿
    alone (``12000亩`` is 1.2 where 万亩 are counted). 万 or 亿 without a unit of measure says how many where ones are
    counted; where 万 or 亿 are counted already, it could mean two things and is refused.

    Raises:
        CellError: it is no figure, or one in another unit of measure.
    """
    _refuse_unreadable(cell)
    if cell.kind is CellKind.DATE:
        raise CellError(
            "date_not_figure",
            f"须为数值,单元格却是日期 {cell.text}:可能是输入时被自动改成了日期,请把单元格格式设为“常规”后重填",
        )
    if cell.kind is CellKind.BOOLEAN:
        raise CellError("not_a_figure", f"须为数值,不能是 {cell.text}")
    if cell.number is not None:
        return _shown_number(cell.number, measure, as_percent=cell.as_percent)
    return _written_figure(_plain(cell.text), measure)


def read_percent(cell: Cell) -> Decimal | None:
    """The per cent in a cell, 0-100: ``45``, ``45%``, or 0.45 that is shown as 45%.

    Raises:
        CellError: it is no figure, or one of something else.
    """
    return read_figure(cell, PERCENT)


def _shown_number(number: Decimal, measure: str | None, *, as_percent: bool) -> Decimal:
    if not as_percent:
        return number
    if measure != PERCENT:
        raise CellError("unit_mismatch", f"单元格显示为百分比,而计量单位是“{measure or '无'}”")
    return number * 100


def _written_figure(text: str, measure: str | None) -> Decimal | None:
    if not text:
        return None
    if text in _DASHES:
        raise CellError("not_a_figure", f"没有数据请留空,不要填“{text}”;确为零请填 0")
    if _EXPONENT.fullmatch(text):
        raise CellError("not_a_figure", f"“{text}”是科学记数法,位数可能已经丢失,请填完整的数值")
    found = _FIGURE.fullmatch(text) if len(text) <= _LONGEST_FIGURE else None
    if found is None:
        raise CellError("not_a_figure", f"“{text[:_LONGEST_FIGURE]}”不是数值,请只填数字")
    figure = Decimal(found["sign"] + found["digits"].replace(",", ""))
    return figure * _factor(found["suffix"] or "", "".join(_plain(measure or "").split()))


def _factor(suffix: str, measure: str) -> Decimal:
    """How many of ``measure`` are one of what is written behind a figure."""
    if suffix in {"", measure}:
        return Decimal(1)
    written, written_stem = _split(suffix)
    counted, counted_stem = _split(measure)
    if written_stem == counted_stem:
        if written_stem == "" or (counted_stem not in _SHARES):
            return written / counted
    elif written_stem == "" and counted_stem not in _SHARES:
        if counted == 1:
            return written
        raise CellError(
            "ambiguous_scale", f"计量单位已是“{measure}”,再写“{suffix}”有两种读法:请只填数字,或把计量单位写全"
        )
    raise CellError("unit_mismatch", f"写的单位“{suffix}”与计量单位“{measure or '无'}”不同,请按计量单位只填数字")


def _split(unit: str) -> tuple[Decimal, str]:
    for scale, factor in _SCALES.items():
        if unit.startswith(scale):
            return factor, unit.removeprefix(scale)
    return Decimal(1), unit


def read_stage(cell: Cell) -> Stage | None:
    """The stage that a cell names, by the words clerks use for it.

    Raises:
        CellError: it names none.
    """
    word = read_code(cell)
    if not word:
        return None
    stage = _STAGES.get(word)
    if stage is None:
        raise CellError("unknown_stage", f"“{word[:20]}”不是阶段,须为 {'、'.join(stage.label for stage in Stage)} 之一")
    return stage


def read_period(cell: Cell) -> str:
    """The code of the period that a cell names: ``2023-04``, ``2023年4月``, or the first of a month as a date.

    A spreadsheet turns 2023-04 into that date as it is typed.

    Raises:
        CellError: it names none.
    """
    if cell.kind is CellKind.DATE and cell.day is not None:
        if cell.day.day == 1:
            return f"{cell.day:%Y-%m}"
        raise CellError("not_a_period", f"{cell.text} 是某一天,不是报送期,请填如 2023-04")
    written = read_code(cell)
    month = _MONTH.fullmatch(written)
    code = f"{month[1]}-{int(month[2]):02}" if month else written
    try:
        return parse_period(code).code if code else ""
    except ValueError:
        raise CellError("not_a_period", f"“{written[:20]}”不是报送期,请填如 2023-04") from None


def read_code(cell: Cell) -> str:
    """A code or name, without blanks around it and in half-width characters; empty where the cell is.

    Raises:
        CellError: the cell holds an error, or a formula without its result.
    """
    _refuse_unreadable(cell)
    return _plain(cell.text)


def read_prose(cell: Cell) -> str | None:
    """A text as it was typed, without blanks around it.

    Raises:
        CellError: the cell holds an error, or a formula without its result.
    """
    _refuse_unreadable(cell)
    return cell.text.replace("\r\n", "\n").strip() or None


def _refuse_unreadable(cell: Cell) -> None:
    if cell.kind is CellKind.ERROR:
        raise CellError("error_cell", f"单元格的公式出错({cell.text}),请改正")
    if cell.kind is CellKind.UNCOMPUTED:
        raise CellError("formula", "单元格是公式,文件中没有它的结果:请用电子表格软件打开并保存,或粘贴为数值")


def _plain(text: str) -> str:
    """Half-width characters, no blanks around; blanks within figures and codes are gone, too."""
    return "".join(unicodedata.normalize("NFKC", text).translate(_MINUS).split())
