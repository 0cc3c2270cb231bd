"""A bulletin as a Word document, set as GB/T 9704-2012 has official documents set.

A4 with a type area of 156 × 225 mm, 22 lines of 28 characters in 仿宋 of size 三号; the title in 小标宋 of size 二号;
first headings in 黑体, second in 楷体; page numbers between dashes, odd ones on the right, even ones on the left; at
the end of the last page, between rules, who gets a copy and who printed it. A document says by name which typefaces it
wants; where they are not installed, its font table names what takes their place.

The same bulletin gives the same bytes: the file is packed with no clock but the bulletin's own.
"""

import zipfile
from datetime import UTC
from io import BytesIO
from typing import Any, Final, cast

from docx import Document
from docx.enum.table import WD_TABLE_ALIGNMENT
from docx.enum.text import WD_ALIGN_PARAGRAPH, WD_LINE_SPACING, WD_TAB_ALIGNMENT
from docx.oxml.ns import qn
from docx.oxml.parser import OxmlElement  # pyright: ignore[reportUnknownVariableType]
from docx.shared import Mm, Pt, RGBColor

from app.files.bulletin_sheet import Block, Heading, Paragraph, Sheet, Table

__all__ = ["write_document"]

FANGSONG, KAITI, HEITI, SONGTI, XIAOBIAOSONG = "仿宋_GB2312", "楷体_GB2312", "黑体", "宋体", "方正小标宋简体"
# What takes the place of a typeface that is not installed: first what systems of these years have, then by kind.
_INSTEAD: Final = {
    FANGSONG: ("仿宋", "roman"),
    KAITI: ("楷体", "script"),
    HEITI: ("SimHei", "swiss"),
    SONGTI: ("SimSun", "roman"),
    XIAOBIAOSONG: ("华文中宋", "roman"),
}
_THREE, _TWO, _FOUR, _SMALL_FOUR = Pt(16), Pt(22), Pt(14), Pt(12)
_LINE: Final = Pt(28.95)
# A character, 28 to a line.
_CHARACTER: Final = 15.75
_WIDTH: Final = 156
_TITLE_LINE: Final = 20
_WORD_ENDS: Final = "月旬度仗案的年”"
_NOT_FIRST: Final = "”’》〕\uff09\uff0c。、"
_RED: Final = RGBColor(0xFF, 0, 0)
# Lines alone: some programs give a character that is wider than its place in a grid two places. What it is wider by is
# taken from between the characters, in twentieths of a point.
_GRID: Final = {"type": "lines", "linePitch": "579"}
_CLOSER: Final = "-5"
_RULE, _THIN = "8", "6"
_AFTER_BORDERS: Final = ("w:shd", "w:tabs", "w:snapToGrid", "w:spacing", "w:ind", "w:jc", "w:rPr")
_AFTER_PLACE: Final = ("w:tblOverlap", "w:tblW", "w:jc", "w:tblBorders", "w:tblLayout", "w:tblCellMar", "w:tblLook")
_PACKED_AT: Final = (1980, 1, 1, 0, 0, 0)
_W: Final = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"


def write_document(sheet: Sheet, *, red_head: bool) -> bytes:
    """The bulletin as DOCX, with or without the red head."""
    document = Document()
    _set_page(document)
    _set_styles(document)
    if red_head:
        _red_head(document, sheet)
    _title(document, sheet, numbered=not red_head)
    for block in sheet.blocks:
        _block(document, block)
    _signature(document, sheet)
    _imprint(document, sheet)
    _properties(document, sheet)
    written = BytesIO()
    document.save(written)
    return _repacked(written.getvalue())


def _element(name: str, **values: str) -> Any:
    element = cast("Any", OxmlElement(f"w:{name}"))
    for attribute, value in values.items():
        element.set(qn(f"w:{attribute}"), value)
    return element


def _set_font(properties: Any, name: str) -> None:
    """One typeface for all scripts, and none that a theme would put in its place."""
    fonts = properties.get_or_add_rFonts()
    fonts.attrib.clear()
    for script in ("ascii", "hAnsi", "eastAsia", "cs"):
        fonts.set(qn(f"w:{script}"), name)


def _set_page(document: Any) -> None:
    section = document.sections[0]
    section.page_width, section.page_height = Mm(210), Mm(297)
    section.top_margin, section.bottom_margin = Mm(37), Mm(35)
    section.left_margin, section.right_margin = Mm(28), Mm(26)
    section.header_distance, section.footer_distance = Mm(15), Mm(23)
    properties = section._sectPr  # noqa: SLF001 - nothing else sets the grid
    for grid in properties.findall(qn("w:docGrid")):
        properties.remove(grid)
    properties.append(_element("docGrid", **_GRID))
    document.settings.odd_and_even_pages_header_footer = True
    for footer, side in (
        (section.footer, WD_ALIGN_PARAGRAPH.RIGHT),
        (section.even_page_footer, WD_ALIGN_PARAGRAPH.LEFT),
    ):
        footer.is_linked_to_previous = False
        paragraph = footer.paragraphs[0]
        paragraph.alignment = side
        form = paragraph.paragraph_format
        form.left_indent = form.right_indent = Pt(14)
        _run(paragraph, "— ", SONGTI, _FOUR)
        _page_number(_run(paragraph, "", SONGTI, _FOUR))
        _run(paragraph, " —", SONGTI, _FOUR)


def _page_number(run: Any) -> None:
    for kind in ("begin", None, "end"):
        if kind is None:
            code = _element("instrText")
            code.set(qn("xml:space"), "preserve")
            code.text = " PAGE "
            run._r.append(code)  # noqa: SLF001 - there are no fields in python-docx
        else:
            run._r.append(_element("fldChar", fldCharType=kind))  # noqa: SLF001


def _set_styles(document: Any) -> None:
    _style(document.styles["Normal"], FANGSONG, _THREE)
    document.styles["Normal"].element.get_or_add_rPr().append(_element("spacing", val=_CLOSER))
    for level, name in ((1, HEITI), (2, KAITI)):
        style = document.styles[f"Heading {level}"]
        _style(style, name, _THREE)
        style.font.bold = False
        style.font.color.rgb = RGBColor(0, 0, 0)
        form = style.paragraph_format
        form.space_before = form.space_after = Pt(0)
        form.first_line_indent = Pt(2 * _CHARACTER)
        form.keep_with_next = True


def _style(style: Any, name: str, size: Any) -> None:
    _set_font(style.element.get_or_add_rPr(), name)
    style.font.size = size
    form = style.paragraph_format
    form.line_spacing_rule, form.line_spacing = WD_LINE_SPACING.EXACTLY, _LINE
    form.space_before = form.space_after = Pt(0)
    form.widow_control = False


def _run(paragraph: Any, text: str, name: str, size: Any, *, red: bool = False) -> Any:
    run = paragraph.add_run(text)
    _set_font(run._r.get_or_add_rPr(), name)  # noqa: SLF001 - python-docx knows Western typefaces only
    run.font.size = size
    if red:
        run.font.color.rgb = _RED
    return run


def _line(document: Any, text: str, name: str, size: Any, *, line: Any = _LINE, red: bool = False) -> Any:
    """A centred line of its own."""
    paragraph = document.add_paragraph()
    paragraph.alignment = WD_ALIGN_PARAGRAPH.CENTER
    _leave_grid(paragraph)
    paragraph.paragraph_format.line_spacing = line
    _run(paragraph, text, name, size, red=red)
    return paragraph


def _leave_grid(paragraph: Any) -> None:
    """The lines of a paragraph are as high as it says, not as many of the grid's as they fill."""
    paragraph._p.get_or_add_pPr().append(_element("snapToGrid", val="0"))  # noqa: SLF001 - python-docx knows no grid


def _red_head(document: Any, sheet: Sheet) -> None:
    # As large as one line holds; its upper edge 35 mm below that of the type area.
    size = Pt(min(42, 440 // max(len(sheet.issuer), 1)))
    mark = _line(document, sheet.issuer, XIAOBIAOSONG, size, line=Pt(size.pt * 1.3), red=True)
    mark.paragraph_format.space_before = Mm(33)
    number = _line(document, sheet.number, FANGSONG, _THREE)
    number.paragraph_format.space_before = 2 * _LINE
    borders = _element("pBdr")
    # 4 mm below the number.
    borders.append(_element("bottom", val="single", sz="18", space="11", color="FF0000"))
    number._p.get_or_add_pPr().insert_element_before(borders, *_AFTER_BORDERS)  # noqa: SLF001
    for _ in range(2):
        document.add_paragraph()


def _title(document: Any, sheet: Sheet, *, numbered: bool) -> None:
    for line in _title_lines(sheet.title):
        _line(document, line, XIAOBIAOSONG, _TWO, line=Pt(34))
    if numbered:
        _line(document, sheet.number, KAITI, _THREE)
    document.add_paragraph()


def _title_lines(title: str) -> list[str]:
    """A title that is longer than a line, in two of about one length that break after a word, as far as can be seen."""
    if _measure(title) <= _TITLE_LINE:
        return [title]
    breaks = [
        place for place in range(1, len(title)) if title[place - 1] in _WORD_ENDS and title[place] not in _NOT_FIRST
    ]
    breaks = [place for place in breaks if max(map(_measure, (title[:place], title[place:]))) <= _TITLE_LINE]
    if not breaks:
        return [title]
    place = min(breaks, key=lambda place: abs(_measure(title[:place]) - _measure(title[place:])))
    return [title[:place], title[place:]]


def _measure(text: str) -> float:
    """How many characters wide a text is; figures are half as wide."""
    return sum(0.5 if letter.isascii() else 1.0 for letter in text)


def _block(document: Any, block: Block) -> None:
    match block:
        case Heading(level, text):
            document.add_heading(text, level)
        case Paragraph(text, lead):
            _text(document, text, lead)
        case Table():
            _table(document, block)


def _text(document: Any, text: str, lead: str = "") -> None:
    for place, line in enumerate(line for line in text.splitlines() if line.strip()):
        # Ragged: figures in brackets do not break, and a line before one would be torn apart.
        paragraph = document.add_paragraph()
        paragraph.alignment = WD_ALIGN_PARAGRAPH.LEFT
        paragraph.paragraph_format.first_line_indent = Pt(2 * _CHARACTER)
        if lead and place == 0:
            _run(paragraph, lead, FANGSONG, _THREE).font.bold = True
        paragraph.add_run(line.strip())


def _table(document: Any, block: Table) -> None:
    caption = _line(document, block.caption, HEITI, _FOUR)
    caption.paragraph_format.keep_with_next = True
    table = document.add_table(rows=1 + len(block.rows), cols=len(block.header))
    table.style, table.alignment, table.autofit = document.styles["Table Grid"], WD_TABLE_ALIGNMENT.CENTER, False
    total = sum(block.widths)
    widths = [Mm(_WIDTH * width / total) for width in block.widths]
    properties = table._tbl.tblPr  # noqa: SLF001 - margins of cells and a fixed width are not python-docx's
    properties.append(_margins())
    for column, width in zip(table.columns, widths, strict=True):
        column.width = width
    for number, cells in enumerate((block.header, *block.rows)):
        row = table.rows[number]
        row_properties = row._tr.get_or_add_trPr()  # noqa: SLF001
        row_properties.append(_element("cantSplit"))
        if number == 0:
            row_properties.append(_element("tblHeader"))
        for place, cell in enumerate(row.cells):
            cell.width = widths[place]
            cell.vertical_alignment = 1
            paragraph = cell.paragraphs[0]
            left = place in block.left and number > 0
            paragraph.alignment = WD_ALIGN_PARAGRAPH.LEFT if left else WD_ALIGN_PARAGRAPH.CENTER
            form = paragraph.paragraph_format
            _leave_grid(paragraph)
            form.line_spacing = Pt(18)
            # The last rows stay together, so that no sum stands alone on a page.
            form.keep_with_next = len(block.rows) - 2 <= number < len(block.rows)
            form.space_before = form.space_after = Pt(1.5)
            _run(paragraph, cells[place], HEITI if number == 0 else FANGSONG, _SMALL_FOUR)
    # What follows keeps its distance from the table.
    after = document.add_paragraph().paragraph_format
    after.line_spacing = Pt(10)


def _margins() -> Any:
    margins = _element("tblCellMar")
    for side in ("left", "right"):
        margins.append(_element(side, w="60", type="dxa"))
    return margins


def _signature(document: Any, sheet: Sheet) -> None:
    """Who signs, two characters from the right, and the date, which begins two characters further in than the name."""
    # No page with nothing but who signed: what stands last goes with it.
    for before in (document.paragraphs[-1], document.add_paragraph()):
        before.paragraph_format.keep_with_next = True
    signed = _measure(sheet.signer)
    dated = _measure(sheet.dated or "")
    from_right = max(2.0, signed - dated)
    signer_from_right = from_right + dated + 2 - signed if sheet.dated is not None else 2.0
    for text, distance in ((sheet.signer, signer_from_right), (sheet.dated, from_right)):
        if text is None:
            continue
        paragraph = document.add_paragraph(text)
        paragraph.alignment = WD_ALIGN_PARAGRAPH.RIGHT
        paragraph.paragraph_format.right_indent = Pt(distance * _CHARACTER)
        paragraph.paragraph_format.keep_with_next = True
    if sheet.contact:
        paragraph = document.add_paragraph(sheet.contact)
        paragraph.paragraph_format.first_line_indent = Pt(2 * _CHARACTER)


def _imprint(document: Any, sheet: Sheet) -> None:
    """At the foot of the last page, between rules: who gets a copy, who printed it and when."""
    lines = [sheet.copy_to] if sheet.copy_to else []
    lines.append(sheet.printed_by + ("" if sheet.dated is None else f"\t{sheet.dated}印发"))
    table = document.add_table(rows=len(lines), cols=1)
    table.autofit = False
    properties = table._tbl.tblPr  # noqa: SLF001 - where a table stands and its rules are not python-docx's
    place = _element("tblpPr", leftFromText="0", rightFromText="0", vertAnchor="margin", horzAnchor="margin")
    place.set(qn("w:tblpYSpec"), "bottom")
    properties.insert_element_before(place, *_AFTER_PLACE)
    borders = _element("tblBorders")
    for side, size in (("top", _RULE), ("bottom", _RULE), ("insideH", _THIN)):
        borders.append(_element(side, val="single", sz=size, space="0", color="000000"))
    properties.insert_element_before(borders, "w:shd", "w:tblLayout", "w:tblCellMar", "w:tblLook")
    table.columns[0].width = Mm(_WIDTH)
    for row, text in zip(table.rows, lines, strict=True):
        cell = row.cells[0]
        cell.width = Mm(_WIDTH)
        paragraph = cell.paragraphs[0]
        form = paragraph.paragraph_format
        form.left_indent = form.right_indent = Pt(8)
        form.line_spacing = Pt(24)
        form.tab_stops.add_tab_stop(Mm(_WIDTH) - Pt(20), WD_TAB_ALIGNMENT.RIGHT)
        _run(paragraph, text, FANGSONG, _FOUR)
    # A document may not end with a table; what it ends with takes no room.
    ending = document.add_paragraph().paragraph_format
    ending.line_spacing = Pt(1)


def _properties(document: Any, sheet: Sheet) -> None:
    at = sheet.at.astimezone(UTC).replace(tzinfo=None, microsecond=0)
    properties = document.core_properties
    properties.title, properties.author, properties.last_modified_by = sheet.title, sheet.issuer, sheet.issuer
    properties.subject, properties.keywords, properties.comments = sheet.number, "", ""
    properties.language, properties.revision = "zh-CN", 1
    properties.created = properties.modified = at


def _font_table() -> bytes:
    fonts = "".join(
        f'<w:font w:name="{name}"><w:altName w:val="{instead}"/><w:charset w:val="86"/>'
        f'<w:family w:val="{family}"/></w:font>'
        for name, (instead, family) in _INSTEAD.items()
    )
    return (
        f'<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n<w:fonts xmlns:w="{_W}">{fonts}</w:fonts>'.encode()
    )


def _repacked(content: bytes) -> bytes:
    """The same parts, with the font table of ours, packed at no time at all."""
    written = BytesIO()
    with zipfile.ZipFile(BytesIO(content)) as source, zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as target:
        for entry in source.infolist():
            body = _font_table() if entry.filename == "word/fontTable.xml" else source.read(entry)
            kept = zipfile.ZipInfo(entry.filename, _PACKED_AT)
            kept.compress_type = zipfile.ZIP_DEFLATED
            kept.external_attr = 0o600 << 16
            target.writestr(kept, body)
    return written.getvalue()
