"""Files as tables: every kind of cell that a workbook has, every file that is not taken, and what reading costs."""

import io
import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from contextlib import suppress
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openpyxl import Workbook

from app.domain.cells import CellKind
from app.errors import UnreadableFileError
from app.files.columns import Column, column_of, letter_of
from app.files.delimited import decode
from app.files.package import MOST_BYTES
from app.files.tables import Entry, Table, entries, open_table

TASK = "431228-2023-6-3-4"
HEADINGS = ["任务编码", "阶段", "完成进度", "进展情况", "目标编码", "本期数值"]
NEEDED = (Column.TASK, Column.STAGE, Column.PERCENT)
SHEET = "xl/worksheets/sheet1.xml"
STRINGS = "xl/sharedStrings.xml"
STRINGS_TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml.sharedStrings+xml"
OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"


def workbook_of(*rows: list[Any], change: Callable[[Any], None] | None = None) -> bytes:
    workbook = Workbook()
    sheet: Any = workbook.active
    for row in rows:
        sheet.append(row)
    if change is not None:
        change(sheet)
    out = io.BytesIO()
    workbook.save(out)
    return out.getvalue()


def filled(**changes: Any) -> bytes:
    return workbook_of(HEADINGS, [TASK, "推进中", 45], **changes)


def repacked(content: bytes, changes: dict[str, Callable[[bytes], bytes]], **added: bytes) -> bytes:
    """The same package with some of its parts changed, and others added."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, changes.get(name, bytes)(old.read(name)))
        for name, data in added.items():
            new.writestr(name, data)
    return out.getvalue()


def replaced(old: str, new: str) -> Callable[[bytes], bytes]:
    # As openpyxl writes it.
    written = old.encode("ascii", "xmlcharrefreplace")

    def change(data: bytes) -> bytes:
        assert written in data, data[:2000]
        return data.replace(written, new.encode())

    return change


def shared() -> bytes:
    """A table whose texts stand in a part of their own, where spreadsheets put them."""
    cell = '<c r="B2" t="inlineStr"><is><t>推进中</t></is></c>'
    override = f'<Override PartName="/{STRINGS}" ContentType="{STRINGS_TYPE}"/></Types>'
    strings = (
        '<sst xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main">'
        "<si><r><t>推进</t></r><r><t>中</t></r><rPh sb='0' eb='1'><t>tuijin</t></rPh></si></sst>"
    )
    changes = {
        SHEET: replaced(cell, '<c r="B2" t="s"><v>0</v></c>'),
        "[Content_Types].xml": replaced("</Types>", override),
    }
    return repacked(filled(), changes, **{STRINGS: strings.encode()})


def opened(content: bytes, charset: str | None = None) -> Table:
    return open_table(content, charset, needed=NEEDED)


def read(content: bytes, charset: str | None = None) -> list[Entry]:
    return list(entries(opened(content, charset).rows))


def code_of(content: bytes, charset: str | None = None) -> str:
    with pytest.raises(UnreadableFileError) as caught:
        read(content, charset)
    (fault,) = caught.value.faults
    assert fault.detail
    return fault.code


# Cells ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "number_format", "kind", "text", "as_percent"),
    [
        ("推进中", "General", CellKind.TEXT, "推进中", False),
        (45, "General", CellKind.NUMBER, "45", False),
        (0.1 + 0.2, "General", CellKind.NUMBER, "0.3", False),
        (1e-7, "General", CellKind.NUMBER, "0.0000001", False),
        (0.45, "0%", CellKind.NUMBER, "0.45", True),
        (0.45, "0.00%", CellKind.NUMBER, "0.45", True),
        (45, '0"%"', CellKind.NUMBER, "45", False),
        (45, r"0\%", CellKind.NUMBER, "45", False),
        (12000, '0!.0,"万"', CellKind.NUMBER, "12000", False),
        (date(2023, 4, 1), "yyyy-mm-dd", CellKind.DATE, "2023-04-01", False),
        (45017, "yyyy-mm-dd", CellKind.DATE, "2023-04-01", False),
        (45017, "General", CellKind.NUMBER, "45017", False),
        (
            datetime.fromisoformat("2023-04-01T08:30:00"),
            "yyyy-mm-dd hh:mm",
            CellKind.DATE,
            "2023-04-01 08:30:00",
            False,
        ),
        (time(8, 30), "hh:mm", CellKind.DATE, "08:30:00", False),
        (timedelta(hours=30), "[h]:mm", CellKind.DATE, "1 day, 6:00:00", False),
        (True, "General", CellKind.BOOLEAN, "TRUE", False),
        ("#REF!", "General", CellKind.ERROR, "#REF!", False),
    ],
)
def test_every_kind_of_cell_is_told_apart(
    value: Any, number_format: str, kind: CellKind, text: str, as_percent: bool
) -> None:
    def format_it(sheet: Any) -> None:
        sheet["C2"].number_format = number_format

    (entry,) = read(workbook_of(HEADINGS, [TASK, "推进中", value], change=format_it))
    cell = entry.rows[0].of(Column.PERCENT)
    assert (cell.kind, cell.text, cell.as_percent) == (kind, text, as_percent)
    assert (cell.number is not None) == (kind is CellKind.NUMBER)


@pytest.mark.parametrize(
    ("cell", "kind", "text"),
    [
        ("<c r='C2'><f>20+25</f><v>45</v></c>", CellKind.NUMBER, "45"),
        ("<c r='C2'><f>20+25</f></c>", CellKind.UNCOMPUTED, ""),
        ("<c r='C2'><f>20+25</f><v/></c>", CellKind.UNCOMPUTED, ""),
        ("<c r='C2' t='str'><f>A1</f><v>45%</v></c>", CellKind.TEXT, "45%"),
        ("<c r='C2' t='e'><f>1/0</f><v>#DIV/0!</v></c>", CellKind.ERROR, "#DIV/0!"),
        ("<c r='C2' t='inlineStr'><is><r><t>4</t></r><r><t>5</t></r></is></c>", CellKind.TEXT, "45"),
        ("<c r='C2'/>", CellKind.BLANK, ""),
    ],
)
def test_of_a_formula_the_result_is_read_that_stands_in_the_file(cell: str, kind: CellKind, text: str) -> None:
    content = repacked(filled(), {SHEET: replaced('<c r="C2" t="n"><v>45</v></c>', cell)})
    (entry,) = read(content)
    assert (entry.rows[0].of(Column.PERCENT).kind, entry.rows[0].of(Column.PERCENT).text) == (kind, text)


def test_texts_in_a_part_of_their_own_are_read() -> None:
    (entry,) = read(shared())
    assert entry.rows[0].of(Column.STAGE).text == "推进中"


# Tables --------------------------------------------------------------------------------------------------------------


def test_columns_are_found_by_their_headings() -> None:
    assert column_of(" 完成进度（%）* ") is Column.PERCENT
    assert column_of("任 务 编 码") is Column.TASK
    assert column_of("心得") is None
    assert [letter_of(index) for index in (0, 25, 26, 51, 52, 701, 702)] == ["A", "Z", "AA", "AZ", "BA", "ZZ", "AAA"]


def test_rows_below_the_table_that_say_nothing_are_nothing() -> None:
    content = workbook_of(["标题"], HEADINGS, [TASK, "推进中", 45], [], ["", None, "  "], *[[] for _ in range(50)])
    assert [entry.rows[0].number for entry in read(content)] == [3]


def test_hidden_rows_are_read_and_told() -> None:
    def hide(sheet: Any) -> None:
        sheet.row_dimensions[3].hidden = True

    table = opened(workbook_of(HEADINGS, [TASK, "推进中", 45], [f"{TASK}1", "推进中", 1], change=hide))
    assert len(list(entries(table.rows))) == 2
    assert table.notes == ["有隐藏的行,同样读取: 第 3 行"]


def test_a_further_target_is_a_row_of_the_same_report() -> None:
    content = workbook_of(
        HEADINGS,
        [TASK, "推进中", 45, None, f"{TASK}-T1", 1],
        [TASK, None, None, None, f"{TASK}-T2", 0],
        [TASK, None, None, None, f"{TASK}-T3", None],
        [f"{TASK}1", None, None, None, f"{TASK}1-T1", None],
    )
    first, second = read(content)
    assert [row.number for row in first.rows] == [2, 3, 4]
    assert (first.is_blank, second.is_blank) == (False, True)
    assert first.rows[1].of(Column.VALUE).number == Decimal(0)


@pytest.mark.parametrize(("area", "code"), [("A1:F1", None), ("A3:A4", "merged_cells"), ("D3:E3", "merged_cells")])
def test_merged_cells_are_refused_where_data_stands(area: str, code: str | None) -> None:
    def merge(sheet: Any) -> None:
        sheet.merge_cells(area)

    content = workbook_of(["标题"], HEADINGS, [TASK, "推进中", 45], [TASK], change=merge)
    if code is None:
        assert len(read(content)) == 2
    else:
        assert code_of(content) == code


def test_two_sheets_with_a_table_are_refused_and_a_hidden_one_does_not_count() -> None:
    def second(state: str) -> Callable[[Any], None]:
        def add(sheet: Any) -> None:
            other = sheet.parent.create_sheet("副本")
            other.append(HEADINGS)
            other.sheet_state = state

        return add

    assert code_of(filled(change=second("visible"))) == "two_tables"
    assert len(read(filled(change=second("hidden")))) == 1


def test_what_stands_beside_the_table_is_refused() -> None:
    assert code_of(workbook_of(HEADINGS, [TASK, "推进中", 45, None, None, None, "其他"])) == "no_heading"


def test_a_sheet_that_lies_about_its_size_costs_nothing() -> None:
    content = repacked(filled(), {SHEET: replaced('ref="A1:F2"', 'ref="A1:XFD1048576"')})
    assert len(read(content)) == 1
    far = repacked(filled(), {SHEET: replaced('<c r="C2" t="n"><v>45</v></c>', '<c r="XFD2" t="n"><v>45</v></c>')})
    assert code_of(far) == "too_many_cells"
    deep = repacked(
        filled(), {SHEET: replaced("</sheetData>", '<row r="1048576"><c r="A1048576"><v>1</v></c></row></sheetData>')}
    )
    assert code_of(deep) == "too_many_cells"


# Files that are not taken --------------------------------------------------------------------------------------------

EXTERNAL = (
    '<Relationship Id="rId99" TargetMode="External" Target="{target}" '
    'Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/{kind}"/></Relationships>'
)
RELATIONS = "xl/_rels/workbook.xml.rels"
DTD = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'


def with_dtd(data: bytes) -> bytes:
    return DTD.encode() + data[data.index(b"?>") + 2 :] if data.startswith(b"<?xml") else DTD.encode() + data


def encrypted(content: bytes) -> bytes:
    """The content with the flag of an encrypted entry set in all its headers."""
    changed = bytearray(content)
    for mark, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        start = 0
        while (start := changed.find(mark, start)) >= 0:
            changed[start + at] |= 1
            start += 4
    return bytes(changed)


def declared(content: bytes, size: int) -> bytes:
    """The content with another size of the sheet in the directory, which nothing but reading would find out."""
    with zipfile.ZipFile(io.BytesIO(content)) as package:
        entry = package.getinfo(SHEET)
    changed = bytearray(content)
    for mark, size_at, name_at in ((b"PK\x03\x04", 22, 30), (b"PK\x01\x02", 24, 46)):
        start = 0
        while (start := changed.find(mark, start)) >= 0:
            if changed[start + name_at :].startswith(SHEET.encode()):
                struct.pack_into("<I", changed, start + size_at, size)
            start += 4
    assert entry.file_size != size
    return bytes(changed)


BAD: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty": (lambda: b"", "empty_file"),
    "blanks": (lambda: b" \n", "empty_file"),
    "xls": (lambda: OLE + b"\0" * 1000, "old_format"),
    "password": (lambda: OLE + b"\0" * 500 + "EncryptedPackage".encode("utf-16-le"), "password"),
    "encrypted zip": (lambda: encrypted(filled()), "password"),
    "ods": (
        lambda: repacked(filled(), {}, mimetype=b"application/vnd.oasis.opendocument.spreadsheet"),
        "other_format",
    ),
    "xlsb": (lambda: repacked(filled(), {}, **{"xl/workbook.bin": b"x"}), "other_format"),
    "zip": (lambda: b"PK\x05\x06" + b"\0" * 18, "not_a_workbook"),
    "broken zip": (lambda: filled()[:-30], "broken_file"),
    "changed byte": (lambda: bytes(b ^ 0x55 if 300 < i < 340 else b for i, b in enumerate(filled())), "broken_file"),
    "macros": (lambda: repacked(filled(), {}, **{"xl/vbaProject.bin": b"x"}), "active_content"),
    "xlsm": (
        lambda: repacked(
            filled(),
            {
                "[Content_Types].xml": replaced(
                    "openxmlformats-officedocument.spreadsheetml.sheet.main", "ms-excel.sheet.macroEnabled.main"
                )
            },
        ),
        "active_content",
    ),
    "external workbook": (
        lambda: repacked(filled(), {}, **{"xl/externalLinks/externalLink1.xml": b"<externalLink/>"}),
        "active_content",
    ),
    "DDE": (
        lambda: repacked(filled(), {}, **{"xl/externalLinks/externalLink1.xml": b"<ddeLink ddeService='cmd'/>"}),
        "active_content",
    ),
    "connections": (lambda: repacked(filled(), {}, **{"xl/connections.xml": b"<connections/>"}), "active_content"),
    "embedded": (lambda: repacked(filled(), {}, **{"xl/embeddings/a.xlsx": filled()}), "active_content"),
    "external relationship": (
        lambda: repacked(
            filled(), {RELATIONS: replaced("</Relationships>", EXTERNAL.format(target="//host/x", kind="image"))}
        ),
        "external_reference",
    ),
    "entities": (lambda: repacked(filled(), {SHEET: with_dtd}), "entities"),
    "entities in the strings": (lambda: repacked(shared(), {STRINGS: with_dtd}), "entities"),
    "bad XML": (lambda: repacked(filled(), {SHEET: replaced("</sheetData>", "</sheet>")}), "broken_file"),
    "string that is not there": (
        lambda: repacked(shared(), {SHEET: replaced("<v>0</v>", "<v>999</v>")}),
        "broken_file",
    ),
    "cell of no place": (lambda: repacked(filled(), {SHEET: replaced('r="C2"', 'r="??"')}), "broken_file"),
    "number that is none": (lambda: repacked(filled(), {SHEET: replaced("<v>45</v>", "<v>4x5</v>")}), "broken_file"),
    "deep XML": (
        lambda: repacked(filled(), {SHEET: replaced("<sheetData>", "<a>" * 100 + "<sheetData>")}),
        "broken_file",
    ),
    "bomb by ratio": (lambda: repacked(filled(), {}, **{"xl/media/a.xml": b"<a>" + b" " * 20_000_000}), "zip_bomb"),
    "bomb by entries": (lambda: repacked(filled(), {}, **{f"xl/media/{n}": b"" for n in range(2000)}), "zip_bomb"),
    "bomb by declared size": (lambda: declared(filled(), MOST_BYTES + 1), "zip_bomb"),
    "size that is not true": (lambda: declared(filled(), 500), "broken_file"),
    "other headings": (lambda: "\r\n任务名称,阶段".encode("gb18030"), "no_table"),
    "binary": (lambda: bytes(range(256)) * 10, "not_text"),
    "NUL": ("任务编码,阶段,完成进度\r\n1,\0,2".encode, "not_text"),
    "open quote": (f'任务编码,阶段,完成进度\r\n{TASK},"推进中,45\r\n'.encode, "broken_csv"),
    "quote within": (f'任务编码,阶段,完成进度\r\n{TASK},"推"进中,45\r\n'.encode, "broken_csv"),
    "endless line": (lambda: "任务编码,阶段,完成进度\r\n".encode() + b"a" * 1_000_000, "broken_csv"),
    "too many columns": (lambda: "任务编码,阶段,完成进度\r\n".encode() + b"a," * 300, "too_many_cells"),
    "no headings": (f"{TASK},推进中,45\r\n".encode, "no_table"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_file_that_is_not_taken_is_told_what_is_wrong_with_it(name: str) -> None:
    make, code = BAD[name]
    assert code_of(make()) == code


def test_a_link_in_a_cell_is_no_reason_to_refuse_a_file() -> None:
    def link(sheet: Any) -> None:
        sheet["D2"] = "见通报"
        sheet["D2"].hyperlink = "https://example.org/"

    assert len(read(filled(change=link))) == 1


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 4000), st.integers(0, 255))
def test_a_changed_byte_is_read_or_refused(place: int, value: int) -> None:
    content = bytearray(filled())
    content[place % len(content)] = value
    # Any other error would come through.
    with suppress(UnreadableFileError):
        read(bytes(content))


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    for before in (b"", b"PK\x03\x04", "任务编码,阶段,完成进度\n".encode()):
        with suppress(UnreadableFileError):
            read(before + content)


def test_encodings() -> None:
    text = "任务编码,进展情况"
    for encoding in ("utf-8", "utf-8-sig", "gb18030", "utf-16"):
        assert decode(text.encode(encoding)) == text
    assert decode("𠀀".encode("gb18030")) == "𠀀"
    assert decode("县".encode("gbk"), "GB2312") == "县"
    for content, charset in (("县".encode("gbk"), "utf-8"), (b"a", "latin-1"), (b"\xff\xfea", None)):
        with pytest.raises(UnreadableFileError):
            decode(content, charset)


# What it costs -------------------------------------------------------------------------------------------------------


def long_table(rows: int) -> bytes:
    workbook = Workbook(write_only=True)
    sheet = workbook.create_sheet()
    sheet.append(HEADINGS)
    for number in range(rows):
        sheet.append([f"{TASK}{number}", "推进中", 45.5, f"第{number}项,已开工,形象进度过半" * 4, None, None])
    out = io.BytesIO()
    workbook.save(out)
    return out.getvalue()


def peak_of(content: bytes) -> tuple[int, int]:
    tracemalloc.start()
    try:
        count = sum(1 for _ in entries(opened(content).rows))
        return count, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_long_file_takes_little_more_memory_than_its_texts() -> None:
    content = long_table(5000)
    count, peak = peak_of(content)
    assert count == 5000
    # 5,000 texts of 60 characters are 1 MB; all the cells at once would be ten times that.
    assert peak < 12_000_000
