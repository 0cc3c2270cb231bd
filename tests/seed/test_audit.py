"""The audit proves a seed against its document: it is silent where they agree, and names the place where not."""

from pathlib import Path

import pytest

from seed.audit import AuditReport, audit, audit_file
from seed.reader import read_plan
from tests.seed.small_plan import CODE, DOCUMENT, FILES, Edit, edited, line_of, printed_document, write_plan

PRINTED = "plan.txt"


def audited(root: Path, *edits: Edit, text: str = DOCUMENT) -> AuditReport:
    return audit(read_plan(write_plan(root, *edits)), text, PRINTED)


def test_a_seed_that_says_what_is_printed_is_clean(tmp_path: Path) -> None:
    report = audited(tmp_path)
    assert report.findings == []
    assert report.clean
    assert report.brackets == 7
    assert report.titles == 2 + 3 + 6
    assert report.digit_runs == 18
    assert report.locators > 0


def test_blanks_and_the_width_of_punctuation_do_not_matter(tmp_path: Path) -> None:
    wide = DOCUMENT.translate(str.maketrans("(),:", "\uff08\uff09\uff0c\uff1a")).replace("市财政局", "市 财\u3000政局")
    assert audited(tmp_path, text=wide).findings == []


def test_the_document_is_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "printed.txt"
    path.write_text(edited(DOCUMENT, "7.5%", "7.6%"), encoding="utf-8")
    report = audit_file(read_plan(write_plan(tmp_path)), path)
    assert {finding.file for finding in report.findings} == {f"{CODE}/plan.yaml", "printed.txt"}


def test_a_document_of_another_plan_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="没有总体方案的标题行"):
        audited(tmp_path, text="另一份文件\n")


# What changes in the seed; the text on the line that is named; what is said of it.
SEED_MUTATIONS: dict[str, tuple[Edit, str, str]] = {
    "a unit dropped": (
        Edit("battle-1.yaml", "responsible: [市财政局, 市自然资源局]", "responsible: [市财政局]"),
        "- number: 1\n        title: 新建",
        "附件1/二/(一)/1 第 1 个括注: 缺少 responsible 市自然资源局",
    ),
    "a unit added": (
        Edit(
            "battle-1.yaml", "responsible: [市财政局, 市自然资源局]", "responsible: [市财政局, 市自然资源局, 市林业局]"
        ),
        "- number: 1\n        title: 新建",
        "第 1 个括注: 原文没有 responsible 市林业局",
    ),
    "a role changed": (
        Edit("battle-1.yaml", "cooperating: [市商务局]", "responsible: [市商务局]"),
        "- number: 1\n        title: 开通",
        "附件1/二/(二)/1 第 1 个括注: 缺少 cooperating 市商务局",
    ),
    "units in another order": (
        Edit("battle-1.yaml", "[市财政局, 市自然资源局]", "[市自然资源局, 市财政局]"),
        "- number: 1\n        title: 新建",
        "单位顺序与原文不同",
    ),
    "等 dropped": (
        Edit("battle-1.yaml", "            open_ended: true\n", ""),
        "- number: 2\n        title: 推广",
        "附件1/二/(一)/2 第 1 个括注: “等”与原文不一致",
    ),
    "等 added": (
        Edit("battle-2.yaml", "cooperating: [各乡镇]", "cooperating: [各乡镇]\n            open_ended: true"),
        "- number: 2\n        title: 设置",
        "附件2/二/(一)/2 第 1 个括注: “等”与原文不一致",
    ),
    "a clause dropped": (
        Edit("battle-1.yaml", "          - summary: 培训\n            lead: [市商务局]\n", ""),
        "- number: 2\n        title: 推广",
        "附件1/二/(一)/2 有 2 个责任括注,录入了 1 个",
    ),
    "a clause added": (
        Edit("battle-1.yaml", "花农自己的合作社\n", "花农自己的合作社\n        clauses: [{lead: [市商务局]}]\n"),
        "- number: 2\n        title: 培育",
        "附件1/二/(二)/2 有 0 个责任括注,录入了 1 个",
    ),
    "a heading's bracket dropped": (
        Edit("battle-1.yaml", "    bracket: {lead: [市商务局]}\n", ""),
        "- ordinal: 2",
        "附件1/二/(二) 有 1 个责任括注,录入了 0 个",
    ),
    "a figure's text changed": (
        Edit("plan.yaml", "花卉产值增长7.5%以上", "花卉产值增长7.6%以上"),
        "花卉产值增长7.6%以上",
        "总体方案/一/(一) 没有“花卉产值增长7.6%以上”",
    ),
    "a figure that is not in its text": (
        Edit("plan.yaml", "value: 7.5,", "value: 75,"),
        "value: 75,",
        "“花卉产值增长7.5%以上”中没有数字 75",
    ),
    "the end of a range that is not in its text": (
        Edit("plan.yaml", "value_max: 5", "value_max: 6"),
        "value_max: 6",
        "“新挂牌古树3至5棵”中没有数字 6",
    ),
    "an aim's text changed": (
        Edit("battle-2.yaml", "text: 不让一棵古树非正常死亡", "text: 不让一棵古树死亡"),
        "text: 不让一棵古树死亡",
        "附件2/一 没有“不让一棵古树死亡”",
    ),
    "a text that is there twice": (
        Edit("battle-2.yaml", "text: 登记古树400棵左右", "text: 古树"),
        "text: 古树",
        "附件2/二/(一)/1 2 次出现“古树”",
    ),
    "a target at the wrong place": (
        Edit("plan.yaml", "text: 花农满意, locator: 总体方案/一/(一)", "text: 花农满意, locator: 总体方案/一/(二)"),
        "text: 花农满意",
        "总体方案/一/(二) 没有“花农满意”",
    ),
    "a target at no place": (
        Edit("plan.yaml", "text: 花农满意, locator: 总体方案/一/(一)", "text: 花农满意, locator: 总体方案/一/(九)"),
        "text: 花农满意",
        "原文没有位置 总体方案/一/(九)",
    ),
    "a task at no place": (
        Edit("battle-1.yaml", "locator: 附件1/二/(二)/2", "locator: 附件1/二/(三)/2"),
        "locator: 附件1/二/(三)/2",
        "原文没有位置 附件1/二/(三)/2",
    ),
    "a task at another's place": (
        Edit("battle-1.yaml", "locator: 附件1/二/(二)/2", "locator: 附件1/二/(一)/2"),
        "locator: 附件1/二/(一)/2\n        deliverables: 花农",
        "位置 附件1/二/(一)/2 已被另一条目使用",
    ),
    "a task with another number": (
        Edit("battle-1.yaml", "- number: 2\n        title: 培育", "- number: 3\n        title: 培育"),
        "- number: 3",
        "序号 3 与位置 附件1/二/(二)/2 不符",
    ),
    "a task's title": (
        Edit("battle-1.yaml", "title: 新建连片大棚", "title: 新建大棚"),
        "title: 新建大棚\n",
        "附件1/二/(一)/1 的标题是“新建连片大棚”",
    ),
    "a corrected title without its anomaly": (
        Edit("battle-1.yaml", "printed: 盆栽花弄, reading: 盆栽花卉", "printed: 盆栽花弄"),
        "title: 推广盆栽花卉",
        "附件1/二/(一)/2 的标题是“推广盆栽花弄”",
    ),
    "a group's title": (
        Edit("battle-2.yaml", "title: 摸清家底", "title: 摸清底数"),
        "title: 摸清底数",
        "附件2/二/(一) 的标题是“摸清家底”",
    ),
    "a battle's name": (
        Edit("battle-2.yaml", "name: 打好古树名木守护仗", "name: 打好古树名木保护仗"),
        "name: 打好古树名木保护仗",
        "附件2 的标题不是“打好古树名木保护仗”",
    ),
    "a battle at no place": (
        Edit("battle-2.yaml", "locator: 附件2\n", "locator: 附件3\n"),
        "locator: 附件3",
        "原文没有位置 附件3",
    ),
    "a member missing": (
        Edit("battle-1.yaml", "members: [市农业农村局, 市财政局, 市商务局]", "members: [市农业农村局, 市商务局]"),
        "members:",
        "附件1/三/(一) 的成员单位名单与录入的不一致",
    ),
    "the last member missing": (
        Edit("battle-2.yaml", "members: [市林业局, 市财政局, 各乡镇]", "members: [市林业局, 市财政局]"),
        "members:",
        "原文的成员单位名单没有录完",
    ),
    "members in another order": (
        Edit("battle-2.yaml", "members: [市林业局, 市财政局, 各乡镇]", "members: [市财政局, 市林业局, 各乡镇]"),
        "members:",
        "附件2/三 的成员单位名单与录入的不一致",
    ),
    "等 after the members": (
        Edit("battle-1.yaml", "  open_ended: true\n  office", "  office"),
        "task_force:",
        "名单后是否有“等”与录入的不一致",
    ),
    "another office": (
        Edit("battle-2.yaml", "office: 市林业局", "office: 市财政局"),
        "office: 市财政局",
        "附件2/三 的专班办公室不是“市财政局”",
    ),
    "another convener": (
        Edit("battle-1.yaml", "person: 周小禾", "person: 周大禾"),
        "person: 周大禾",
        "附件1/三/(一) 没有“周大禾”",
    ),
    "a task force at no place": (
        Edit("battle-2.yaml", "locator: 附件2/三\n", "locator: 附件2/四\n"),
        "locator: 附件2/四",
        "原文没有位置 附件2/四",
    ),
    "a rule's phrase": (
        Edit("plan.yaml", "printed: [连续两次未报的约谈]", "printed: [连续三次未报的约谈]"),
        "printed: [连续三次未报的约谈]",
        "总体方案/二/(一) 没有“连续三次未报的约谈”",
    ),
    "a rule at no place": (
        Edit(
            "plan.yaml",
            "locator: 总体方案/二/(一)\n    summary: 两期没有交表的要谈话\n    printed: [连续两次未报的约谈]",
            "locator: 总体方案/三\n    summary: 两期没有交表的要谈话",
        ),
        "locator: 总体方案/三",
        "原文没有位置 总体方案/三",
    ),
    "an anomaly that is not printed": (
        Edit("plan.yaml", "printed: 打好古树名木守护战工作方案", "printed: 打好古树名木保卫战工作方案"),
        "打好古树名木保卫战工作方案",
        "附件2[1] 没有“打好古树名木保卫战工作方案”",
    ),
    "an anomaly at no place": (
        Edit("battle-1.yaml", "{kind: misprint, locator: 附件1/二/(一)/2", "{kind: misprint, locator: 附件1/二/(一)/7"),
        "附件1/二/(一)/7",
        "原文没有位置 附件1/二/(一)/7",
    ),
    "a leftover skip": (
        Edit("battle-1.yaml", "skips:\n", "skips:\n  - {printed: 第12号, reason: 已删去的一句}\n"),
        "第12号",
        "原文没有“第12号”",
    ),
    "a leftover skip of a place": (
        Edit("battle-1.yaml", "skips:\n", "skips:\n  - {printed: 120个, locator: 附件1/二, reason: 移到别处}\n"),
        "移到别处",
        "原文没有“120个”",
    ),
    "a skip at no place": (
        Edit("battle-1.yaml", "上年的95个, locator: 附件1/一,", "上年的95个, locator: 附件1/五,"),
        "上年的95个",
        "原文没有位置 附件1/五",
    ),
    "a superseded part at no place": (
        Edit("plan.yaml", 'superseded: ["附件2[1]"]', 'superseded: ["附件2[1]", 附件7]'),
        "superseded:",
        "原文没有位置 附件7",
    ),
}


@pytest.mark.parametrize("mutation", SEED_MUTATIONS)
def test_a_seed_that_says_otherwise_is_named_with_its_line(tmp_path: Path, mutation: str) -> None:
    edit, marker, message = SEED_MUTATIONS[mutation]
    report = audited(tmp_path, edit)
    assert not report.clean
    text = edited(FILES[edit.file], edit.old, edit.new)
    assert text.count(marker) == 1
    line = text[: text.index(marker)].count("\n") + 1
    assert [(finding.file, finding.line) for finding in report.findings if message in finding.message] == [
        (f"{CODE}/{edit.file}", line)
    ], report.findings


# What of the seed goes; the text on the line of the document that is named; what is said of it.
LEFT_OVER: dict[str, tuple[Edit, str, str]] = {
    "a target dropped": (
        Edit(
            "battle-1.yaml",
            "          - {indicator: greenhouses, operator: gte, value: 80, text: 新建大棚80座}\n",
            "          []\n",
        ),
        "1.新建连片大棚",
        "附件1/二/(一)/1 的数字没有着落: …",
    ),
    "a rule's phrase dropped": (
        Edit("plan.yaml", "printed: [每月20日前报送进度表]", "printed: [报送进度表]"),
        "(一)按月报送",
        "总体方案/二/(一) 的数字没有着落: …",
    ),
    "a skip of another place": (
        Edit("battle-1.yaml", "上年的95个, locator: 附件1/一,", "建成花卉大棚120个, locator: 附件1/一,"),
        "一、花卉目标",
        "附件1/一 的数字没有着落: …",
    ),
    "a superseded part taken as in force": (
        Edit("plan.yaml", 'superseded: ["附件2[1]"]', "superseded: []"),
        "一、初稿目标",
        "附件2[1]/一 的数字没有着落: …",
    ),
    "a task dropped": (
        Edit(
            "battle-2.yaml",
            "      - number: 2" + FILES["battle-2.yaml"].partition("      - number: 2")[2],
            "",
        ),
        "2.设置标牌",
        "附件2/二/(一)/2 的责任括注没有录入",
    ),
}


@pytest.mark.parametrize("mutation", LEFT_OVER)
def test_what_is_printed_and_not_in_the_seed_is_named_with_its_line(tmp_path: Path, mutation: str) -> None:
    edit, marker, message = LEFT_OVER[mutation]
    found = [finding for finding in audited(tmp_path, edit).findings if message in finding.message]
    assert [(finding.file, finding.line) for finding in found] == [(PRINTED, line_of(DOCUMENT, marker))]


# What changes in the document; the place that is named; what is said of it.
PRINT_MUTATIONS: dict[str, tuple[str, str, str, str]] = {
    "an extra bracket in a task": (
        "有一家办一家。",
        "有一家办一家。(市农业农村局负责)",
        f"{CODE}/battle-1.yaml",
        "附件1/二/(二)/2 有 1 个责任括注,录入了 0 个",
    ),
    "an extra bracket outside the tasks": (
        "建成花卉大棚120个,",
        "建成花卉大棚120个(市农业农村局牵头),",
        PRINTED,
        "附件1/一 的责任括注没有录入",
    ),
    "an extra task": (
        "三、保障措施\n",
        "3.办好花展。(市商务局牵头)\n三、保障措施\n",
        PRINTED,
        "附件1/二/(二)/3 的责任括注没有录入",
    ),
    "an extra figure": (
        "把花送到车站。",
        "把花送到3个车站。",
        PRINTED,
        "附件1/二/(二)/1 的数字没有着落: …",
    ),
    "another unit": (
        "市林业局会同各乡镇负责",
        "市林业局会同各街道负责",
        f"{CODE}/battle-2.yaml",
        "缺少 responsible 各街道",
    ),
}


@pytest.mark.parametrize("mutation", PRINT_MUTATIONS)
def test_a_document_that_says_more_is_named(tmp_path: Path, mutation: str) -> None:
    old, new, file, message = PRINT_MUTATIONS[mutation]
    found = audited(tmp_path, text=edited(DOCUMENT, old, new)).findings
    assert [finding.file for finding in found if message in finding.message] == [file]


def test_the_text_of_a_superseded_part_is_left_alone(tmp_path: Path) -> None:
    text = edited(DOCUMENT, "守护古树380棵。", "守护古树381棵。(市财政局牵头)")
    assert audited(tmp_path, text=text).clean


def test_the_real_seed_agrees_with_the_printed_document(plan_directory: Path) -> None:
    source = read_plan(plan_directory)
    report = audit_file(source, printed_document())
    assert report.clean, "\n".join(map(str, report.findings))
    groups = [group for battle in source.battles for group in battle.content.groups]
    assert (sum(len(group.tasks) for group in groups), len(groups), len(source.battles)) == (163, 26, 6)
    assert report.titles == 163 + 26 + 6
    assert report.brackets == 168
