"""The printed document is read into sections by its numbering, and its brackets into units and roles."""

import pytest

from seed.document import Document, UnknownLocatorError, parse_bracket

TITLE = "河湾县“两不愁”总体方案"
TEXT = """\
河湾县人民政府关于印发“两不愁”总体方案的通知
一、本句不是总体方案的一章
河湾县“两不愁” 总体方案
开头一段。
一、主要目标
目标一段。
(一)吃得上。米价涨幅 3.5 %以内。
(二) 住得稳
1.修屋。修好 12 间。(县住建局牵头)
2.5亿元以下的工程不在此列。
2.通水:到户。
十一、附则
(十二)解释。由县里解释。
附件:1.吃饭方案
2.住房方案
附件1
吃饭方案
一、米
1.种稻。(县农业局牵头,县水利局负责)(一期)
附件2
住房方案(初稿)
一、砖
1.烧砖。
附件2
住房方案
一、瓦
1.烧瓦。
附件 2
住房方案(终稿)
一、木
"""


@pytest.fixture(scope="module")
def document() -> Document:
    return Document(TEXT, title=TITLE)


def test_every_numbered_place_has_a_locator_in_print_order(document: Document) -> None:
    assert list(document.sections) == [
        "通知",
        "总体方案",
        "总体方案/一",
        "总体方案/一/(一)",
        "总体方案/一/(二)",
        "总体方案/一/(二)/1",
        "总体方案/一/(二)/2",
        "总体方案/十一",
        "总体方案/十一/(十二)",
        "总体方案/附件",
        "附件1",
        "附件1/一",
        "附件1/一/1",
        "附件2[1]",
        "附件2[1]/一",
        "附件2[1]/一/1",
        "附件2[2]",
        "附件2[2]/一",
        "附件2[2]/一/1",
        "附件2",
        "附件2/一",
    ]


def test_an_attachment_printed_again_supersedes_the_one_before(document: Document) -> None:
    assert document["附件2[1]"].text == "住房方案(初稿)"
    assert document["附件2[2]"].text == "住房方案"
    assert document["附件2"].text == "住房方案(终稿)"


def test_sections_know_their_line_title_and_text_without_blanks(document: Document) -> None:
    section = document["总体方案/一/(一)"]
    assert (section.line, section.title, section.text) == (7, "吃得上", "吃得上。米价涨幅3.5%以内。")
    assert document["总体方案/一/(二)"].title == "住得稳"
    assert document["总体方案/一/(二)/2"].title == "通水"
    assert document["总体方案/一"].text == "主要目标目标一段。"
    assert document["总体方案"].text == "开头一段。"
    assert TEXT.splitlines()[document["附件1/一/1"].line - 1].startswith("1.种稻")


def test_a_figure_at_the_start_of_a_line_is_no_heading(document: Document) -> None:
    assert document["总体方案/一/(二)/1"].text == "修屋。修好12间。(县住建局牵头)2.5亿元以下的工程不在此列。"


def test_the_notice_and_the_table_of_contents_have_no_headings(document: Document) -> None:
    assert "一、本句不是总体方案的一章" in document["通知"].text
    assert document["总体方案/附件"].text == "附件:1.吃饭方案2.住房方案"


def test_a_section_gives_its_brackets_in_print_order(document: Document) -> None:
    (bracket,) = document["总体方案/一/(二)/1"].brackets
    assert bracket.units == (("lead", "县住建局"),)
    assert document["总体方案/一/(一)"].brackets == []


def test_an_unknown_locator_is_named(document: Document) -> None:
    with pytest.raises(UnknownLocatorError, match="附件9/一"):
        document["附件9/一"]
    assert issubclass(UnknownLocatorError, LookupError)


def test_a_document_without_the_title_line_cannot_be_located() -> None:
    with pytest.raises(ValueError, match="没有总体方案的标题行“别的方案”"):
        Document(TEXT, title="别的方案")


def test_full_width_brackets_and_punctuation_are_read_like_the_narrow_ones() -> None:
    wide = str.maketrans("(),:", "\uff08\uff09\uff0c\uff1a")
    narrow, printed = Document(TEXT, title=TITLE), Document(TEXT.translate(wide), title=TITLE)
    assert printed.sections == narrow.sections


L, R, C = "lead", "responsible", "cooperating"


@pytest.mark.parametrize(
    ("printed", "units", "open_ended"),
    [
        ("县教育局牵头", [(L, "县教育局")], False),
        ("县教育局牵头负责", [(L, "县教育局")], False),
        ("由县教育局牵头", [(L, "县教育局")], False),
        ("县教育局、县财政局牵头", [(L, "县教育局"), (L, "县财政局")], False),
        ("县教育局负责", [(R, "县教育局")], False),
        ("县教育局配合", [(C, "县教育局")], False),
        ("县教育局牵头,县财政局、县民政局负责", [(L, "县教育局"), (R, "县财政局"), (R, "县民政局")], False),
        ("县教育局牵头、县财政局负责", [(L, "县教育局"), (R, "县财政局")], False),
        (
            "县教育局牵头,县财政局负责,县民政局配合",
            [(L, "县教育局"), (R, "县财政局"), (C, "县民政局")],
            False,
        ),
        ("县财政局负责,县教育局牵头", [(R, "县财政局"), (L, "县教育局")], False),
        ("县教育局牵头,县财政局等负责", [(L, "县教育局"), (R, "县财政局")], True),
        ("县教育局等牵头,县财政局负责", [(L, "县教育局"), (R, "县财政局")], True),
        ("县教育局、县财政局等部门负责", [(R, "县教育局"), (R, "县财政局")], True),
        ("县教育局会同县财政局负责", [(R, "县教育局"), (R, "县财政局")], False),
        ("县教育局会同县财政局、县民政局牵头", [(L, "县教育局"), (L, "县财政局"), (L, "县民政局")], False),
        ("县教育局、县财政局按职责分工负责", [(R, "县教育局"), (R, "县财政局")], False),
        ("县教育局、县财政局等按职责分工负责", [(R, "县教育局"), (R, "县财政局")], True),
        ("县教育局牵头,各乡镇依职责负责", [(L, "县教育局"), (R, "各乡镇")], False),
        ("牵头责任单位:县教育局", [(L, "县教育局")], False),
        ("牵头责任单位: 县教育局、县财政局", [(L, "县教育局"), (L, "县财政局")], False),
        ("牵头费任单位:县教育局", [(L, "县教育局")], False),
        ("牵头责任单位:县教育局、县财政局等", [(L, "县教育局"), (L, "县财政局")], True),
        (" 县教育局 牵头 ,县 财政局负责 ", [(L, "县教育局"), (R, "县财政局")], False),
    ],
)
def test_a_bracket_names_units_with_their_roles(
    printed: str, units: list[tuple[str, str]], *, open_ended: bool
) -> None:
    bracket = parse_bracket(printed)
    assert bracket is not None
    assert list(bracket.units) == units
    assert bracket.open_ended == open_ended


@pytest.mark.parametrize(
    "printed", ["", "一期", "河湾", "附表样", "2023年", "责任单位:县教育局", "负责人由县里任命", "县教育局牵头的项目"]
)
def test_any_other_bracket_is_none(printed: str) -> None:
    assert parse_bracket(printed) is None
