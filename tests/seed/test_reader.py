"""A plan directory is read whole or not at all: every fault is told with file and line."""

from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from app.domain.plan import AssignmentRole
from seed.reader import Finding, PlanSource, SeedError, read_plan
from tests.seed.small_plan import CODE, FILES, Edit, line_of, write_plan


def faults_of(directory: Path) -> list[Finding]:
    with pytest.raises(SeedError) as caught:
        read_plan(directory)
    return caught.value.findings


@pytest.fixture
def source(tmp_path: Path) -> PlanSource:
    return read_plan(write_plan(tmp_path))


def test_a_sound_plan_is_read_without_findings(source: PlanSource) -> None:
    assert source.code == CODE
    assert [battle.content.ordinal for battle in source.battles] == [1, 2]
    assert source.unit_names()["县发改局"] == source.unit_names()["市发改局"] == "fgj"
    assert source.plan.content.issued_on == date(2023, 2, 8)


def test_figures_are_exact_decimals(source: PlanSource) -> None:
    growth, _, trees = source.plan.content.targets
    assert growth.value == Decimal("7.5")
    assert str(growth.value) == "7.5"
    assert (trees.value, trees.value_max) == (Decimal(3), Decimal(5))
    assert source.battles[0].content.targets[0].baseline == Decimal(95)
    assert source.plan.content.rules[0].parameters == {
        "missed-before-talk": Decimal(2),
        "weight": Decimal("0.25"),
        "public": False,
        "form": "样式另发",
    }


def test_a_figure_passes_through_no_float_on_its_way(tmp_path: Path) -> None:
    written = "1234567.8900"
    source = read_plan(write_plan(tmp_path, Edit("plan.yaml", "value: 7.5,", f"value: {written},")))
    assert str(source.plan.content.targets[0].value) == written


def test_a_date_is_a_date_and_text_that_looks_like_a_figure_stays_text(source: PlanSource) -> None:
    task = source.battles[0].content.groups[0].tasks[1]
    assert task.targets[0].due_on == date(2023, 6, 30)
    assert source.plan.content.region.code == "430124"


def test_a_bracket_lists_leads_first_each_in_print_order(source: PlanSource) -> None:
    clause = source.battles[0].content.groups[0].tasks[0].clauses[0]
    assert clause.entries == [
        (AssignmentRole.LEAD, "市农业农村局"),
        (AssignmentRole.RESPONSIBLE, "市财政局"),
        (AssignmentRole.RESPONSIBLE, "市自然资源局"),
    ]


def test_battles_are_read_in_the_order_of_their_ordinals(tmp_path: Path) -> None:
    directory = write_plan(tmp_path, Edit("battle-1.yaml", "ordinal: 1\nshort", "ordinal: 11\nshort"))
    assert [battle.content.ordinal for battle in read_plan(directory).battles] == [2, 11]


def test_the_digest_is_of_the_content(tmp_path: Path) -> None:
    first = read_plan(write_plan(tmp_path / "a"))
    assert read_plan(write_plan(tmp_path / "b")).digest == first.digest
    changed = read_plan(write_plan(tmp_path / "c", Edit("units.yaml", "加挂绿化办牌子", "加挂绿化委牌子")))
    assert changed.digest != first.digest


# File, text there, what it becomes, text on the line the finding must name, part of the message.
FAULTS: dict[str, tuple[str, str, str, str, str]] = {
    "YAML with an open quote": ("plan.yaml", "year: 2023", "year: '2023", "", "不是合法的 YAML"),
    "YAML with a tab": ("battle-1.yaml", "  heads:", "\theads:", "\theads:", "不是合法的 YAML"),
    "a control character": ("units.yaml", "加挂绿化办牌子", "加挂\x07", "加挂\x07", "U+0007"),
    "a second document": ("units.yaml", "units:\n", "---\nunits:\n", "---", "不是合法的 YAML"),
    "a file that is a list": ("units.yaml", FILES["units.yaml"], "- a\n- b\n", "- a", "须为对象"),
    "an empty file": ("units.yaml", FILES["units.yaml"], "", "", "文件是空的"),
    "a file of comments": ("battle-2.yaml", FILES["battle-2.yaml"], "# 待补\n", "# 待补", "文件是空的"),
    "a duplicate key": ("plan.yaml", "year: 2023", "year: 2023\nyear: 2024", "year: 2024", "键 year 重复"),
    "a duplicate key inside": (
        "battle-1.yaml",
        "        title: 培育花农合作社",
        "        title: 甲\n        title: 培育花农合作社",
        "title: 培育花农合作社",
        "键 title 重复",
    ),
    "a key that is no text": ("plan.yaml", "year: 2023", "year: 2023\n? [a]\n: 1", "? [a]", "键须为普通文字"),
    "a merge key": ("plan.yaml", "year: 2023", "year: 2023\n<<: {a: 1}", "<<:", "键须为普通文字"),
    "an unknown key": ("battle-1.yaml", "        title: 新建", "        titel: 新建", "titel", "titel: 不认识"),
    "a missing key": (
        "battle-1.yaml",
        "        deliverables: 坝塘镇的八十座新棚\n",
        "",
        "- number: 1\n        title: 新建",
        "deliverables: 缺少必填项",
    ),
    "a missing key at the top": ("plan.yaml", "issuer: 宁乡市人民政府办公室\n", "", "region:", "issuer: 缺少必填项"),
    "an empty value": ("plan.yaml", "objective: 让花更香、树更老", "objective:", "objective:", "须为字符串"),
    "a blank value": ("plan.yaml", "objective: 让花更香、树更老", 'objective: " "', "objective:", "至少 1 个字符"),
    "text too long": ("plan.yaml", "让花更香", "香" * 201, "objective:", "至多 200 个字符"),
    "a wrong enum": (
        "units.yaml",
        "市财政局, kind: county_bureau",
        "市财政局, kind: bureau",
        "市财政局",
        "须为以下之一: 'county_bureau'、",
    ),
    "a code that is no code": (
        "plan.yaml",
        "code: flower-output",
        "code: Flower_Output",
        "code: Flower_Output",
        "格式不符",
    ),
    "a region code unquoted": ("plan.yaml", 'code: "430124"', "code: 430124", "region:", "须为字符串"),
    "a number that is none": (
        "battle-1.yaml",
        "number: 1\n        title: 新建",
        "number: one\n        title: 新建",
        "number: one",
        "须为整数",
    ),
    "a number too small": ("battle-2.yaml", "ordinal: 2\n", "ordinal: 0\n", "ordinal: 0", "须不小于 1"),
    "a date that is none": ("plan.yaml", "issued_on: 2023-02-08", "issued_on: 2023-02-30", "issued_on", "YYYY-MM-DD"),
    "a figure that is none": ("plan.yaml", "value: 7.5,", "value: 7.5%,", "value: 7.5%,", "须为数字"),
    "a figure that is infinite": ("plan.yaml", "value: 7.5,", "value: .inf,", "value: .inf", "数字写法不支持: .inf"),
    "a figure in hexadecimal": ("plan.yaml", "value: 7.5,", "value: 0x7,", "value: 0x7", "数字写法不支持: 0x7"),
    "a figure too fine": ("plan.yaml", "value: 7.5,", "value: 7.12345,", "value: 7.12345", "小数至多 4 位"),
    "an operator without value": (
        "plan.yaml",
        "operator: gte, value: 7.5,",
        "operator: gte,",
        "增长7.5%",
        "须写 value",
    ),
    "a value without operator": (
        "plan.yaml",
        "operator: gte, value: 7.5,",
        "value: 7.5,",
        "增长7.5%",
        "须写 qualitative",
    ),
    "an aim with a value": (
        "plan.yaml",
        "qualitative: improve,",
        "qualitative: improve, value: 1,",
        "花农满意,",
        "定性目标不能带 value",
    ),
    "an aim with an operator": (
        "plan.yaml",
        "qualitative: improve,",
        "qualitative: improve, operator: eq, value: 1,",
        "花农满意,",
        "不能再写 qualitative",
    ),
    "a range without its end": (
        "plan.yaml",
        ", value_max: 5",
        "",
        "3至5棵",
        "value_max 只用于且必须用于 operator: range",
    ),
    "an end without range": (
        "plan.yaml",
        "operator: range",
        "operator: gte",
        "3至5棵",
        "value_max 只用于且必须用于 operator: range",
    ),
    "a range upside down": ("plan.yaml", "value_max: 5", "value_max: 3", "3至5棵", "value_max 须大于 value"),
    "a bracket without units": (
        "battle-1.yaml",
        "bracket: {lead: [市商务局]}",
        "bracket: {lead: []}",
        "bracket:",
        "至少有一个单位",
    ),
    "a unit twice in a role": (
        "battle-1.yaml",
        "[市财政局, 市自然资源局]",
        "[市财政局, 市财政局]",
        "- lead: [市农业农村局]",
        "不能重复",
    ),
    "a battle without groups": (
        "battle-2.yaml",
        FILES["battle-2.yaml"].partition("groups:")[2],
        " []\n",
        "groups:",
        "至少 1 项",
    ),
    "a unit twice under two names": (
        "battle-2.yaml",
        "responsible: [市林业局, 各乡镇]",
        "responsible: [市发改局, 市发展和改革局]",
        "- responsible: [市发改局",
        "以不同名称重复",
    ),
    "an unknown unit in a bracket": (
        "battle-1.yaml",
        "[市财政局, 市自然资源局]",
        "[市财政局, 市国土局]",
        "- lead: [市农业农村局]",
        "没有单位“市国土局”",
    ),
    "an unknown unit in a heading": (
        "battle-1.yaml",
        "bracket: {lead: [市商务局]}",
        "bracket: {lead: [市商业局]}",
        "bracket:",
        "没有单位“市商业局”",
    ),
    "an unknown unit among members": (
        "battle-1.yaml",
        "[市农业农村局, 市财政局, 市商务局]",
        "[市农业农村局, 财政局, 市商务局]",
        "members:",
        "没有单位“财政局”",
    ),
    "an unknown unit as office": (
        "battle-2.yaml",
        "office: 市林业局",
        "office: 市绿化办",
        "office:",
        "没有单位“市绿化办”",
    ),
    "an unknown receiver": (
        "plan.yaml",
        "receivers: [市发改局]",
        "receivers: [市计委]",
        "receivers:",
        "没有单位“市计委”",
    ),
    "an unknown certifier": (
        "plan.yaml",
        "certifier: 市林业局",
        "certifier: 市绿化办",
        "certifier:",
        "没有单位“市绿化办”",
    ),
    "a name of two units": (
        "units.yaml",
        "aliases: [市发展和改革局, 县发改局]",
        "aliases: [市财政局]",
        "abbreviation: fgj",
        "名称“市财政局”已属于另一单位",
    ),
    "an alias twice": (
        "units.yaml",
        "aliases: [市发展和改革局, 县发改局]",
        "aliases: [发改, 发改]",
        "abbreviation: fgj",
        "名称“发改”已属于另一单位",
    ),
    "an abbreviation twice": (
        "units.yaml",
        "abbreviation: czj",
        "abbreviation: nyncj",
        "市财政局",
        "拼音首字母 nyncj 重复",
    ),
    "an undefined indicator": (
        "battle-1.yaml",
        "{indicator: flower-market, ",
        "{indicator: flower-fair, ",
        "6月底前",
        "指标 flower-fair 没有定义",
    ),
    "an indicator defined again": (
        "battle-2.yaml",
        "code: old-tree-deaths, name",
        "code: greenhouses, name",
        "code: greenhouses",
        "指标 greenhouses 已有定义",
    ),
    "a figure without a unit of measure": (
        "plan.yaml",
        "name: 新挂牌古树, unit_of_measure: 棵,",
        "name: 新挂牌古树,",
        "3至5棵",
        "没有计量单位",
    ),
    "a rule code twice": (
        "plan.yaml",
        "code: talk",
        "code: monthly-form",
        "code: monthly-form\n    name: 约谈",
        "规则 monthly-form 已有定义",
    ),
    "another region": ("units.yaml", 'code: "430124"', 'code: "430181"', "region:", "与 plan.yaml 的地区不一致"),
    "a battle's ordinal twice": (
        "battle-2.yaml",
        "ordinal: 2\n",
        "ordinal: 1\n",
        "ordinal: 1\nshort_name",
        "序号 1 的仗已有定义",
    ),
    "a group's ordinal twice": (
        "battle-1.yaml",
        "- ordinal: 2\n",
        "- ordinal: 1\n",
        "- ordinal: 1\n    title: 拓宽",
        "组序号 1 重复",
    ),
    "a task's number twice": (
        "battle-2.yaml",
        "- number: 2\n",
        "- number: 1\n",
        "- number: 1\n        title: 设置",
        "任务序号 1 重复",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_told_with_file_and_line(tmp_path: Path, fault: str) -> None:
    file, old, new, marker, message = FAULTS[fault]
    directory = write_plan(tmp_path, Edit(file, old, new))
    found = [finding for finding in faults_of(directory) if message in finding.message]
    assert len(found) == 1, faults_of(directory)
    text = (directory / file).read_text(encoding="utf-8")
    assert found[0].file == f"{CODE}/{file}"
    if marker:
        assert text.count(marker) == 1
        assert found[0].line == text[: text.index(marker)].count("\n") + 1
    assert str(found[0]).startswith(f"{CODE}/{file}:{found[0].line}: ")


@pytest.mark.parametrize("name", ["plan.yaml", "units.yaml"])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    directory = write_plan(tmp_path)
    (directory / name).unlink()
    assert faults_of(directory) == [Finding(f"{CODE}/{name}", 0, "文件不存在")]


def test_a_plan_without_battles_is_refused(tmp_path: Path) -> None:
    directory = write_plan(tmp_path)
    for path in directory.glob("battle-*.yaml"):
        path.unlink()
    assert faults_of(directory) == [Finding(f"{CODE}/", 0, "没有 battle-N.yaml")]


def test_an_empty_directory_is_told_all_it_lacks(tmp_path: Path) -> None:
    assert [finding.file.partition("/")[2] for finding in faults_of(tmp_path)] == ["", "plan.yaml", "units.yaml"]


def test_a_file_in_another_encoding_is_told_with_its_line(tmp_path: Path) -> None:
    directory = write_plan(tmp_path)
    path = directory / "units.yaml"
    text = path.read_text(encoding="utf-8")
    ascii_until, after = text.split("加挂")
    path.write_bytes(ascii_until.encode() + ("加挂" + after).encode("gb18030"))
    (finding,) = faults_of(directory)
    assert (finding.file, finding.line) == (f"{CODE}/units.yaml", line_of(text, "加挂"))
    assert "不是 UTF-8 文本" in finding.message


def test_a_byte_order_mark_does_no_harm(tmp_path: Path) -> None:
    directory = write_plan(tmp_path)
    path = directory / "units.yaml"
    path.write_text(path.read_text(encoding="utf-8"), encoding="utf-8-sig")
    assert read_plan(directory).code == CODE


def test_the_faults_of_all_files_are_told_at_once_in_file_and_line_order(tmp_path: Path) -> None:
    edits = [
        Edit("units.yaml", "name: 市财政局, kind: county_bureau", "name: 市财政局, kind: bureau"),
        Edit("battle-2.yaml", "number: 2", "number: two"),
        Edit("plan.yaml", "year: 2023", "year: 1999"),
        Edit("battle-2.yaml", "short_name: 古树名木", "short_nam: 古树名木"),
    ]
    found = faults_of(write_plan(tmp_path, *edits))
    places = [(finding.file, finding.line) for finding in found]
    assert places == sorted(places)
    assert {finding.file.partition("/")[2] for finding in found} == {"units.yaml", "battle-2.yaml", "plan.yaml"}
    assert len(found) == 5


def test_all_faults_between_files_are_told_at_once(tmp_path: Path) -> None:
    edits = [
        Edit("units.yaml", 'code: "430124"', 'code: "430181"'),
        Edit("battle-1.yaml", "[市财政局, 市自然资源局]", "[市国土局, 市计委]"),
        Edit("battle-2.yaml", "{indicator: old-tree-deaths,", "{indicator: deaths,"),
    ]
    found = faults_of(write_plan(tmp_path, *edits))
    assert [finding.message for finding in found] == [
        "units.yaml 中没有单位“市国土局”",
        "units.yaml 中没有单位“市计委”",
        "指标 deaths 没有定义",
        "与 plan.yaml 的地区不一致",
    ]
