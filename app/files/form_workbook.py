"""A form as an XLSX workbook, as offices hand it round: what is to be filled in is open, all else is protected."""

from io import BytesIO
from typing import Any, Final

from openpyxl import Workbook
from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE, Cell
from openpyxl.styles import Alignment, Border, Font, PatternFill, Protection, Side
from openpyxl.worksheet.cell_range import MultiCellRange
from openpyxl.worksheet.datavalidation import DataValidation
from openpyxl.worksheet.properties import PageSetupProperties
from openpyxl.worksheet.worksheet import Worksheet

from app.domain.periods import parse_period
from app.domain.plan import Frequency
from app.domain.progress import Stage
from app.files.columns import SAID, Column, letter_of
from app.files.forms import FORM_COLUMNS, Content, Form, form_rows
from app.files.tables import FORMAT_VERSION, MARKER_SHEET

__all__ = ["write_workbook"]

_WIDTHS: Final = {
    Column.TASK: 18,
    Column.TITLE: 24,
    Column.ROLE: 8,
    Column.STATE: 8,
    Column.PREVIOUS_PERCENT: 8,
    Column.STAGE: 9,
    Column.PERCENT: 9,
    Column.PROGRESS: 32,
    Column.PROBLEMS: 22,
    Column.NEXT_STEPS: 22,
    Column.TARGET: 21,
    Column.INDICATOR: 20,
    Column.AIM: 13,
    Column.MEASURE: 9,
    Column.PREVIOUS_VALUE: 10,
    Column.VALUE: 10,
}
_HEADINGS: Final = {
    Column.PREVIOUS_PERCENT: "上期进度(%)",
    Column.STAGE: "阶段*",
    Column.PERCENT: "完成进度(%)*",
}
_ASKED: Final = frozenset({*SAID, Column.VALUE})
_LEFT: Final = frozenset({Column.TITLE, Column.PROGRESS, Column.PROBLEMS, Column.NEXT_STEPS, Column.INDICATOR})
_TITLE_ROW, _NOTE_ROW, _HEADING_ROW = 1, 2, 3
_LAST: Final = letter_of(len(FORM_COLUMNS) - 1)
_FONT: Final = "宋体"
_SIDE: Final = Side(style="thin", color="7F7F7F")
_BORDER: Final = Border(left=_SIDE, right=_SIDE, top=_SIDE, bottom=_SIDE)
_HEADING_FILL: Final = PatternFill("solid", fgColor="DDE6F0")
_GIVEN_FILL: Final = PatternFill("solid", fgColor="F2F2F2")
_OPEN: Final = Protection(locked=False)
_LINE_HEIGHT: Final = 15
_MOST_LINES: Final = 12

_GUIDE: Final = (
    ("填写", "只填白色的格:阶段、完成进度、进展情况、存在问题、下步打算、本期数值。灰色的格由系统给出,请勿改动。"),
    ("阶段", f"从下拉列表中选择:{'、'.join(stage.label for stage in Stage)}。已完成的完成进度为 100,未启动的为 0。"),
    ("完成进度", "0 至 100,至多两位小数,如 45 或 45%。"),
    ("本期数值", "按该行的计量单位只填数字;没有数据请留空,留空不等于零。带单位的(如 12000亩)按计量单位换算。"),
    ("多个指标", "一项任务有几个指标时占几行:进展写在第一行,其余各行只填本期数值。"),
    ("不报的任务", "白色的格全部留空的任务不作处理,可以以后再报。"),
    ("已报送的", "状态为已报送、已认定的任务请保持原样;内容未变的不作处理,改动了的不予接受。"),
    ("不要做的", "不要合并数据行的单元格,不要改列名,不要设密码,不要引用别的文件。可以调整列的次序和宽度。"),
    (
        "自用的列",
        f"可以加列(先撤销工作表保护,没有密码),列名为“{Column.NOTE.label}”的不读取;其他不认识的列名会使整份不予接受。",
    ),
    ("公式", "可以用公式,读取的是保存时的结果;公式出错的格不予接受。"),
    ("上传", "保存为 XLSX,或另存为 CSV(UTF-8 或 GB18030)。可先选“只检查”:逐格给出问题,不写入任何内容。"),
)


def write_workbook(form: Form) -> bytes:
    """The form as an XLSX file."""
    workbook = Workbook()
    sheet = workbook.active
    assert isinstance(sheet, Worksheet), "a new workbook has one"
    sheet.title = "月进度表"
    _write_head(sheet, form)
    last = _write_rows(sheet, form)
    _set_up(sheet, last)
    _write_guide(workbook.create_sheet("填表说明"))
    _write_marker(workbook.create_sheet(MARKER_SHEET), form)
    out = BytesIO()
    workbook.save(out)
    return out.getvalue()


def _write_head(sheet: Worksheet, form: Form) -> None:
    period = parse_period(form.period)
    month = f"{period.start.year}年{period.start.month}月"
    title = _put(
        sheet, _TITLE_ROW, 1, f"{form.unit_name}{month if period.frequency is Frequency.MONTH else period.code}进度表"
    )
    title.font = Font(name=_FONT, size=18, bold=True)
    title.alignment = Alignment(horizontal="center", vertical="center")
    note = _put(
        sheet,
        _NOTE_ROW,
        1,
        f"报送期 {form.period}    期限 {form.due}    单位编码 {form.unit}    "
        "白色格由单位填写,灰色格请勿改动;带 * 的列,报送的任务均须填写",
    )
    note.font = Font(name=_FONT, size=10, color="595959")
    note.alignment = Alignment(vertical="center")
    for row, height in ((_TITLE_ROW, 32), (_NOTE_ROW, 20), (_HEADING_ROW, 34)):
        sheet.row_dimensions[row].height = height
        if row != _HEADING_ROW:
            sheet.merge_cells(f"A{row}:{_LAST}{row}")
    for index, column in enumerate(FORM_COLUMNS, 1):
        heading = _put(sheet, _HEADING_ROW, index, _HEADINGS.get(column, column.label))
        heading.font = Font(name=_FONT, size=10, bold=True)
        heading.fill, heading.border = _HEADING_FILL, _BORDER
        heading.alignment = Alignment(horizontal="center", vertical="center", wrap_text=True)
        sheet.column_dimensions[letter_of(index - 1)].width = _WIDTHS[column]


def _write_rows(sheet: Worksheet, form: Form) -> int:
    """Write the rows; the number of the last."""
    number = _HEADING_ROW
    for number, row in enumerate(form_rows(form), _HEADING_ROW + 1):
        has_report, has_target = Column.ROLE in row, Column.TARGET in row
        for index, column in enumerate(FORM_COLUMNS, 1):
            cell = _put(sheet, number, index, row.get(column))
            cell.font = Font(name=_FONT, size=10)
            cell.border = _BORDER
            cell.alignment = Alignment(
                horizontal="left" if column in _LEFT else "center", vertical="center", wrap_text=True
            )
            if column in _ASKED and (has_target if column is Column.VALUE else has_report):
                cell.protection = _OPEN
            else:
                cell.fill = _GIVEN_FILL
        lines = max(
            _lines_of(row.get(column), _WIDTHS[column])
            for column in (Column.TITLE, Column.PROGRESS, Column.PROBLEMS, Column.NEXT_STEPS, Column.INDICATOR)
        )
        # At least two, so that there is room to write by hand.
        sheet.row_dimensions[number].height = _LINE_HEIGHT * min(max(lines, 2), _MOST_LINES) + 4
    return number


def _lines_of(content: Content, width: int) -> int:
    """How many lines a text takes in a column; a Chinese character is two wide."""
    if not isinstance(content, str):
        return 1
    return sum(1 + (2 * len(line)) // width for line in content.split("\n"))


def _set_up(sheet: Worksheet, last: int) -> None:
    sheet.freeze_panes = f"C{_HEADING_ROW + 1}"
    sheet.sheet_view.zoomScale = 90
    if last > _HEADING_ROW:
        stages = DataValidation(type="list", formula1=f'"{",".join(stage.label for stage in Stage)}"', allow_blank=True)
        stages.error, stages.errorTitle = "请从列表中选择", "阶段"
        percents = DataValidation(type="decimal", operator="between", formula1="0", formula2="100", allow_blank=True)
        percents.error, percents.errorTitle = "须为 0 至 100 的数字", "完成进度"
        for column, validation in ((Column.STAGE, stages), (Column.PERCENT, percents)):
            letter = letter_of(FORM_COLUMNS.index(column))
            validation.sqref = MultiCellRange(f"{letter}{_HEADING_ROW + 1}:{letter}{last}")
            sheet.add_data_validation(validation)
    # Without a password: it keeps from slips, not from people.
    sheet.protection.sheet = True
    sheet.protection.formatColumns = sheet.protection.formatRows = sheet.protection.formatCells = False
    sheet.page_setup.orientation, sheet.page_setup.paperSize = "landscape", sheet.PAPERSIZE_A3
    sheet.page_setup.fitToWidth, sheet.page_setup.fitToHeight = 1, 0
    sheet.sheet_properties.pageSetUpPr = PageSetupProperties(fitToPage=True)
    sheet.print_title_rows = f"{_HEADING_ROW}:{_HEADING_ROW}"
    sheet.page_margins.left = sheet.page_margins.right = 0.4
    sheet.page_margins.top = sheet.page_margins.bottom = 0.5
    footer: Any = sheet.oddFooter
    footer.center.text = "第 &P 页,共 &N 页"


def _write_guide(sheet: Worksheet) -> None:
    sheet.column_dimensions["A"].width, sheet.column_dimensions["B"].width = 14, 90
    title = _put(sheet, 1, 1, "填表说明")
    title.font = Font(name=_FONT, size=14, bold=True)
    sheet.row_dimensions[1].height = 28
    for row, (what, text) in enumerate(_GUIDE, 2):
        for index, content in enumerate((what, text), 1):
            cell = _put(sheet, row, index, content)
            cell.font = Font(name=_FONT, size=11, bold=index == 1)
            cell.border = _BORDER
            cell.alignment = Alignment(vertical="center", wrap_text=True)
        sheet.row_dimensions[row].height = 34
    sheet.protection.sheet = True
    sheet.page_setup.fitToWidth, sheet.page_setup.fitToHeight = 1, 0
    sheet.sheet_properties.pageSetUpPr = PageSetupProperties(fitToPage=True)


def _write_marker(sheet: Worksheet, form: Form) -> None:
    """Which form this is, where no menu shows it, so that a form cannot be handed in as another."""
    said = {"format": FORMAT_VERSION, "plan": form.plan, "unit": form.unit, "period": form.period}
    for row, (name, value) in enumerate(said.items(), 1):
        _put(sheet, row, 1, name)
        _put(sheet, row, 2, value)
    sheet.sheet_state = "veryHidden"


def _put(sheet: Worksheet, row: int, column: int, content: Content) -> Cell:
    cell: Any = sheet.cell(row, column)
    if isinstance(content, str):
        # What XML cannot hold has no place in a cell, and a text is one even where it begins as a formula does.
        cell.value = ILLEGAL_CHARACTERS_RE.sub("\ufffd", content)
        cell.data_type = "s"
        if content.startswith(("=", "+", "-", "@")):
            cell.quotePrefix = True
    else:
        cell.value = content
    return cell
