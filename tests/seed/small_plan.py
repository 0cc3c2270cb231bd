"""An invented plan of another county, 宁乡市, as seed files and as the document they would have been taken from.

The text is made up. It is small, yet holds three levels of headings, an attachment printed twice, brackets of several
forms, a misprinted title, and targets of every kind. ``write_plan`` writes it out with edits, each of which must apply
exactly once, so that a test says nothing but what it changes.
"""

import os
from pathlib import Path
from typing import NamedTuple

import pytest

CODE = "430124-2023"
_ROOT = Path(__file__).parents[2]

DOCUMENT = """\
宁乡市人民政府办公室关于印发《宁乡市打好“两仗”总体方案》的通知
宁政办发〔2023〕9号
各乡镇人民政府:
现将方案印发给你们,请照此办理。
2023年2月8日
宁乡市打好“两仗”总体方案
为做好全年工作,依据长政办发〔2023〕3号文件,制定本方案。
一、主要目标
(一)花卉产业有起色。花卉产值增长 7.5%以上,花农满意。
(二)古树有人守。新挂牌古树3至5棵。
二、组织实施
(一)按月报送。各专班每月20日前报送进度表(样式另发),连续两次未报的约谈。
附件:1.打好花卉产业突围仗工作方案
2.打好古树名木守护仗工作方案
附件1
打好花卉产业突围仗工作方案
一、花卉目标
建成花卉大棚120个,比上年的95个更多。
二、工作任务
(一)扩大种植规模。抓好示范片。
1.新建连片大棚。在坝塘镇(含周边村)新建大棚80座。(市农业农村局牵头,市财政局、市自然资源局负责)
2.推广盆栽花弄。6月底前办好花市。(市农业农村局、市商务局等按职责分工负责)组织电商培训。(牵头责任单位:市商务局)
(二)拓宽销售渠道(由市商务局牵头)
1.开通花卉专线。把花送到车站。(市交通运输局牵头,市商务局配合)
2.培育花农合作社。有一家办一家。
三、保障措施
(一)成立专班。由副市长周小禾任召集人,市农业农村局、市财政局、市商务局等为成员单位,办公室设在市农业农村局。
附件2
打好古树名木守护战工作方案
一、初稿目标
守护古树380棵。
二、工作任务
(一)摸清家底。
1.普查古树。(市林业局负责)
附件2
打好古树名木守护仗工作方案
一、古树目标
不让一棵古树非正常死亡。
二、工作任务
(一)摸清家底。
1.普查古树。登记古树400棵左右。(市林业局会同各乡镇负责)
2.设置标牌。(市林业局负责,各乡镇配合)
三、工作专班
召集人由副市长担任。成员单位为市林业局、市财政局、各乡镇,办公室设在市林业局。
"""

_PLAN = """\
region: {code: "430124", name: 宁乡市}
year: 2023
title: 宁乡市打好“两仗”总体方案
short_title: 宁乡“两仗”
document_number: 宁政办发〔2023〕9号
issuer: 宁乡市人民政府办公室
issued_on: 2023-02-08
objective: 让花更香、树更老
superior_documents:
  - {number: 长政办发〔2023〕3号, title: 长沙市打好“两仗”总体方案, issuer: 长沙市人民政府办公厅}
superseded: ["附件2[1]"]
indicators:
  - {code: flower-output, name: 花卉产值增长率, unit_of_measure: "%", direction: higher, accumulation: cumulative}
  - {code: new-trees, name: 新挂牌古树, unit_of_measure: 棵, direction: higher, accumulation: cumulative}
  - {code: grower-satisfaction, name: 花农满意度, direction: higher, accumulation: point}
targets:
  - {indicator: flower-output, operator: gte, value: 7.5, text: 花卉产值增长7.5%以上, locator: 总体方案/一/(一)}
  - {indicator: grower-satisfaction, qualitative: improve, text: 花农满意, locator: 总体方案/一/(一)}
  - {indicator: new-trees, operator: range, value: 3, value_max: 5, text: 新挂牌古树3至5棵, locator: 总体方案/一/(二)}
rules:
  - code: monthly-form
    name: 月进度表
    kind: reporting
    locator: 总体方案/二/(一)
    summary: 专班逐月交表
    owed_by: 各专班
    receivers: [市发改局]
    certifier: 市林业局
    schedule: {frequency: month, due_day: 20, first_period: 2023-03, last_period: 2023-12}
    parameters: {missed-before-talk: 2, weight: 0.25, public: false, form: 样式另发}
    printed: [每月20日前报送进度表]
  - code: talk
    name: 约谈
    kind: sanction
    locator: 总体方案/二/(一)
    summary: 两期没有交表的要谈话
    printed: [连续两次未报的约谈]
anomalies:
  - {kind: duplicate, locator: "附件2[1]", printed: 打好古树名木守护战工作方案, note: 附件2印了两遍}
skips:
  - {printed: 宁政办发〔2023〕9号, locator: 通知, reason: 发文字号}
  - {printed: 2023年2月8日, locator: 通知, reason: 印发日期}
  - {printed: 长政办发〔2023〕3号, locator: 总体方案, reason: 引用的文件字号}
  - {printed: "附件:1.", locator: 总体方案/附件, reason: 目录序号}
  - {printed: 2.打好, locator: 总体方案/附件, reason: 目录序号}
"""

_UNITS = """\
region: {code: "430124", name: 宁乡市}
units:
  - {abbreviation: nyncj, name: 市农业农村局, kind: county_bureau}
  - {abbreviation: czj, name: 市财政局, kind: county_bureau}
  - {abbreviation: zrzyj, name: 市自然资源局, kind: county_bureau}
  - {abbreviation: swj, name: 市商务局, kind: county_bureau}
  - {abbreviation: jtysj, name: 市交通运输局, kind: county_bureau}
  - {abbreviation: lyj, name: 市林业局, kind: county_bureau, note: 加挂绿化办牌子}
  - {abbreviation: fgj, name: 市发改局, kind: county_bureau, aliases: [市发展和改革局, 县发改局]}
  - {abbreviation: gxz, name: 各乡镇, kind: collective}
"""

_BATTLE_1 = """\
ordinal: 1
short_name: 花卉产业
name: 打好花卉产业突围仗
locator: 附件1
objective: 种得多、卖得远
task_force:
  locator: 附件1/三/(一)
  name: 花卉产业工作专班
  heads:
    - {role: convener, post: 副市长, person: 周小禾}
  members: [市农业农村局, 市财政局, 市商务局]
  open_ended: true
  office: 市农业农村局
indicators:
  - {code: greenhouses, name: 花卉大棚, unit_of_measure: 个, direction: higher, accumulation: cumulative}
  - {code: flower-market, name: 花市, direction: higher, accumulation: point}
targets:
  - {indicator: greenhouses, operator: eq, value: 120, text: 建成花卉大棚120个, locator: 附件1/一, baseline: 95}
groups:
  - ordinal: 1
    title: 扩大种植规模
    locator: 附件1/二/(一)
    summary: 先做样板
    upstream_note: 以上级下达为准
    tasks:
      - number: 1
        title: 新建连片大棚
        locator: 附件1/二/(一)/1
        deliverables: 坝塘镇的八十座新棚
        clauses:
          - lead: [市农业农村局]
            responsible: [市财政局, 市自然资源局]
        targets:
          - {indicator: greenhouses, operator: gte, value: 80, text: 新建大棚80座}
      - number: 2
        title: 推广盆栽花卉
        locator: 附件1/二/(一)/2
        deliverables: 一场花市和一轮培训
        clauses:
          - summary: 花市
            responsible: [市农业农村局, 市商务局]
            open_ended: true
            note: 按职责分工
          - summary: 培训
            lead: [市商务局]
        targets:
          - {indicator: flower-market, qualitative: achieve, text: 6月底前办好花市, due_on: 2023-06-30}
  - ordinal: 2
    title: 拓宽销售渠道
    locator: 附件1/二/(二)
    bracket: {lead: [市商务局]}
    tasks:
      - number: 1
        title: 开通花卉专线
        locator: 附件1/二/(二)/1
        deliverables: 一条直达车站的线路
        clauses:
          - lead: [市交通运输局]
            cooperating: [市商务局]
      - number: 2
        title: 培育花农合作社
        locator: 附件1/二/(二)/2
        deliverables: 花农自己的合作社
anomalies:
  - {kind: misprint, locator: 附件1/二/(一)/2, printed: 盆栽花弄, reading: 盆栽花卉, note: 错字}
skips:
  - {printed: 上年的95个, locator: 附件1/一, reason: 基数已记在目标里}
"""

_BATTLE_2 = """\
ordinal: 2
short_name: 古树名木
name: 打好古树名木守护仗
locator: 附件2
objective: 一棵也不少
task_force:
  locator: 附件2/三
  name: 古树名木工作专班
  heads:
    - {role: convener, post: 副市长}
  members: [市林业局, 市财政局, 各乡镇]
  office: 市林业局
indicators:
  - {code: old-trees-registered, name: 登记古树, unit_of_measure: 棵, direction: higher, accumulation: point}
  - {code: old-tree-deaths, name: 古树非正常死亡, direction: lower, accumulation: cumulative}
targets:
  - {indicator: old-tree-deaths, qualitative: prevent, text: 不让一棵古树非正常死亡, locator: 附件2/一}
groups:
  - ordinal: 1
    title: 摸清家底
    locator: 附件2/二/(一)
    tasks:
      - number: 1
        title: 普查古树
        locator: 附件2/二/(一)/1
        deliverables: 一本古树账
        clauses:
          - responsible: [市林业局, 各乡镇]
            note: 会同
        targets:
          - {indicator: old-trees-registered, operator: approx, value: 400, text: 登记古树400棵左右}
      - number: 2
        title: 设置标牌
        locator: 附件2/二/(一)/2
        deliverables: 每棵树一块牌
        clauses:
          - responsible: [市林业局]
            cooperating: [各乡镇]
"""

FILES = {"plan.yaml": _PLAN, "units.yaml": _UNITS, "battle-1.yaml": _BATTLE_1, "battle-2.yaml": _BATTLE_2}


class Edit(NamedTuple):
    """One change of a file: ``old``, which must stand there once, becomes ``new``."""

    file: str
    old: str
    new: str


def edited(text: str, old: str, new: str) -> str:
    """``text`` with its only ``old`` replaced."""
    assert text.count(old) == 1, f"{text.count(old)} times: {old}"
    return text.replace(old, new)


def write_plan(root: Path, *edits: Edit) -> Path:
    """Write the plan, edited, to a directory of its own below ``root``; returns the directory."""
    files = dict(FILES)
    for edit in edits:
        files[edit.file] = edited(files[edit.file], edit.old, edit.new)
    directory = root / CODE
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (directory / name).write_text(text, encoding="utf-8")
    return directory


def line_of(text: str, marker: str) -> int:
    """The number of the only line of ``text`` that holds ``marker``."""
    lines = [number for number, line in enumerate(text.splitlines(), 1) if marker in line]
    assert len(lines) == 1, f"{len(lines)} lines: {marker}"
    return lines[0]


def printed_document() -> Path:
    """The document the real plan was taken from, which is not ours to publish; skips where it is absent."""
    given = os.environ.get("AUDIT_SOURCE")
    if given:
        return Path(given)
    found = sorted((_ROOT.parent / "shared" / "source").glob("*.txt"))
    if not found:
        pytest.skip("the printed document is not here: set AUDIT_SOURCE to its path, or put it in ../shared/source/")
    return found[0]
