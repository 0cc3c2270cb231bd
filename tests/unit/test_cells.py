"""What cells say: every way in which clerks write a figure, and every one that could mean something else."""

from contextlib import suppress
from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.cells import (
    BLANK,
    Cell,
    CellError,
    CellKind,
    figure_of_float,
    read_code,
    read_figure,
    read_percent,
    read_period,
    read_prose,
    read_stage,
)
from app.domain.progress import Stage


def text(value: str) -> Cell:
    return Cell(CellKind.TEXT, value)


def number(value: str, *, as_percent: bool = False) -> Cell:
    return Cell(CellKind.NUMBER, value, Decimal(value), as_percent=as_percent)


DAY = Cell(CellKind.DATE, "2023-01-02", day=date(2023, 1, 2))


def refused(read: object, *given_cells: object) -> str:
    with pytest.raises(CellError) as caught:
        read(*given_cells)  # type: ignore[operator]
    assert caught.value.detail
    return caught.value.code


@pytest.mark.parametrize(
    ("written", "measure", "figure"),
    [
        ("45", None, "45"),
        (" 45 ", "个", "45"),
        ("-3.50", "%", "-3.50"),
        ("+3", "个", "3"),
        ("−3", "个", "-3"),
        (".5", "亿元", "0.5"),
        ("1,234,567.8", "元", "1234567.8"),
        ("12345", "万亩", "12345"),
        ("１２３．５", "个", "123.5"),
        ("１，２３４", "个", "1234"),
        ("－5", "个", "-5"),
        ("1 234", "个", "1234"),
        ("45%", "%", "45"),
        ("４５％", "%", "45"),
        ("0.6‰", "‰", "0.6"),
        ("12个", "个", "12"),
        ("1.2万亩", "万亩", "1.2"),
        ("12000亩", "万亩", "1.2"),
        ("0.5亿亩", "万亩", "5000"),
        ("3万亿元", "亿元", "30000"),
        ("300万元", "亿元", "0.03"),
        ("1.5万", "人", "15000"),
        ("2亿", "元", "200000000"),
        ("3.5万", None, "35000"),
        ("650元/月", "元/月", "650"),
        ("0.065万元/月", "元/月", "650"),
        ("3人(个)", "人(个)", "3"),
        ("2个百分点", "个百分点", "2"),
        ("0", "个", "0"),
        ("00", "个", "0"),
        ("", "个", None),
        (" 　", "个", None),
    ],
)
def test_a_figure_is_read_as_anybody_would_read_it(written: str, measure: str | None, figure: str | None) -> None:
    assert read_figure(text(written), measure) == (None if figure is None else Decimal(figure))


@pytest.mark.parametrize(
    ("written", "measure", "code"),
    [
        ("1.2万", "万亩", "ambiguous_scale"),
        ("1亿", "万人次", "ambiguous_scale"),
        ("0.2万", "%", "unit_mismatch"),
        ("1万%", "%", "unit_mismatch"),
        ("45%", "个", "unit_mismatch"),
        ("45%", None, "unit_mismatch"),
        ("45%", "‰", "unit_mismatch"),
        ("45%", "个百分点", "unit_mismatch"),
        ("3公顷", "万亩", "unit_mismatch"),
        ("3元", "元/月", "unit_mismatch"),
        ("约40", "个", "not_a_figure"),
        ("40左右", "个", "unit_mismatch"),
        ("≥40", "个", "not_a_figure"),
        ("1,23", "个", "not_a_figure"),
        ("1.234,5", "个", "not_a_figure"),
        ("1,5", "个", "not_a_figure"),
        ("(5)", "个", "not_a_figure"),
        ("--5", "个", "not_a_figure"),
        ("5.", "个", "not_a_figure"),
        ("1.2.3", "个", "not_a_figure"),
        ("1e5", "个", "not_a_figure"),
        ("1.23E+05", "个", "not_a_figure"),
        ("nan", "个", "not_a_figure"),
        ("inf", "个", "not_a_figure"),
        ("十二", "个", "not_a_figure"),
        ("=1+1", "个", "not_a_figure"),
        ("'5", "个", "not_a_figure"),
        ("—", "个", "not_a_figure"),
        ("无", "个", "not_a_figure"),
        ("9" * 100_000, "个", "not_a_figure"),
    ],
)
def test_what_could_mean_something_else_is_refused(written: str, measure: str | None, code: str) -> None:
    assert refused(read_figure, text(written), measure) == code


@pytest.mark.parametrize(
    ("cell", "measure", "figure"),
    [
        (number("45"), "%", "45"),
        (number("0.45", as_percent=True), "%", "45"),
        (number("0.125", as_percent=True), "%", "12.5"),
        (number("12000"), "万亩", "12000"),
        (number("-0"), "个", "0"),
        (BLANK, "个", None),
    ],
)
def test_a_number_is_taken_as_it_is_shown(cell: Cell, measure: str, figure: str | None) -> None:
    assert read_figure(cell, measure) == (None if figure is None else Decimal(figure))


@pytest.mark.parametrize(
    ("cell", "code"),
    [
        (number("0.45", as_percent=True), "unit_mismatch"),
        (DAY, "date_not_figure"),
        (Cell(CellKind.BOOLEAN, "TRUE"), "not_a_figure"),
        (Cell(CellKind.ERROR, "#REF!"), "error_cell"),
        (Cell(CellKind.UNCOMPUTED), "formula"),
    ],
)
def test_a_cell_that_holds_no_figure_is_refused(cell: Cell, code: str) -> None:
    assert refused(read_figure, cell, "个") == code


def test_a_sum_of_binary_numbers_is_what_the_spreadsheet_shows() -> None:
    assert figure_of_float(0.1 + 0.2) == Decimal("0.3")
    assert figure_of_float(1.1 * 3) == Decimal("3.3")
    assert figure_of_float(33.33) == Decimal("33.33")


@given(st.decimals(min_value=-(10**9), max_value=10**9, places=4))
def test_a_decimal_survives_its_way_through_a_spreadsheet(figure: Decimal) -> None:
    assert figure_of_float(float(figure)) == figure


@given(st.decimals(min_value=-(10**9), max_value=10**9, places=2), st.sampled_from(["", "个", "万亩", "%", "亿元"]))
def test_a_figure_reads_the_same_in_every_width_and_with_separators(figure: Decimal, measure: str) -> None:
    plain = f"{figure:f}"
    wide = plain.translate({ord(c): ord(c) + 0xFEE0 for c in "0123456789.-"})
    assert read_figure(text(plain), measure) == figure
    assert read_figure(text(wide), measure) == figure
    assert read_figure(text(f"{figure:,f}{measure}"), measure) == figure


@given(st.decimals(min_value=0, max_value=10**6, places=3))
def test_ten_thousand_of_ones_are_one_of_ten_thousands(figure: Decimal) -> None:
    assert read_figure(text(f"{figure:f}亿元"), "万元") == figure * 10_000
    assert read_figure(text(f"{figure:f}元"), "万元") == figure / 10_000
    assert read_figure(text(f"{figure:f}万"), "元") == figure * 10_000


@given(st.text(max_size=80), st.sampled_from([None, "个", "%", "万亩", "元/月"]))
def test_any_text_is_a_figure_or_refused(written: str, measure: str | None) -> None:
    for read in (lambda cell: read_figure(cell, measure), read_percent, read_stage, read_period):
        # Any other error would come through.
        with suppress(CellError):
            read(text(written))


@pytest.mark.parametrize(
    ("word", "stage"),
    [
        ("未启动", Stage.NOT_STARTED),
        ("未开始", Stage.NOT_STARTED),
        ("推进中", Stage.IN_PROGRESS),
        (" 进 行 中 ", Stage.IN_PROGRESS),
        ("in_progress", Stage.IN_PROGRESS),
        ("已完成", Stage.COMPLETED),
        ("", None),
    ],
)
def test_a_stage_is_known_by_the_words_for_it(word: str, stage: Stage | None) -> None:
    assert read_stage(text(word)) is stage


def test_a_stage_that_is_none_is_refused() -> None:
    assert refused(read_stage, text("快了")) == "unknown_stage"
    assert refused(read_stage, number("1")) == "unknown_stage"


@pytest.mark.parametrize(
    ("cell", "period"),
    [
        (text("2023-04"), "2023-04"),
        (text("2023－04"), "2023-04"),
        (text("2023年4月"), "2023-04"),
        (text("2023年04月份"), "2023-04"),
        (text("2023/4"), "2023-04"),
        (text("2023-Q2"), "2023-Q2"),
        (number("2023"), "2023"),
        (Cell(CellKind.DATE, "2023-04-01", day=date(2023, 4, 1)), "2023-04"),
        (BLANK, ""),
    ],
)
def test_a_period_is_read_as_it_is_written(cell: Cell, period: str) -> None:
    assert read_period(cell) == period


@pytest.mark.parametrize(
    "cell", [DAY, text("2023.4"), number("45017"), text("2023-13"), text("四月"), text("2023年13月")]
)
def test_a_period_that_is_none_is_refused(cell: Cell) -> None:
    assert refused(read_period, cell) == "not_a_period"


def test_texts_and_codes() -> None:
    assert read_prose(text("  第一行\r\n第二行 ")) == "第一行\n第二行"
    assert read_prose(text("  ")) is None
    assert read_prose(number("45")) == "45"
    assert read_code(text(" ４３１２２８-2023-6-1-1\n")) == "431228-2023-6-1-1"
    assert refused(read_prose, Cell(CellKind.ERROR, "#N/A")) == "error_cell"
    assert refused(read_code, Cell(CellKind.UNCOMPUTED)) == "formula"
