"""Bulletins as files: what stands on their pages, for people to read, in Markdown and as a Word document."""

import asyncio
from collections.abc import Iterator, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Final
from uuid import UUID

from app.clock import SHANGHAI, day_of
from app.domain.bulletins import BulletinKind, BulletinState, instant_text, period_text
from app.domain.deadlines import deadline_text
from app.domain.periods import parse_period
from app.domain.progress import Light, Stage
from app.files.bulletin_document import write_document
from app.files.bulletin_markdown import write_markdown
from app.files.bulletin_sheet import Block, Heading, Paragraph, Sheet, Table, printed
from app.rendering import Known, Rendered, exact, tag_of
from app.schemas.bulletin import BulletinDocumentQuery, BulletinRead
from app.schemas.bulletin_content import BulletinContent, BulletinLaggard
from app.services.bulletin_reads import read_bulletin
from app.services.caller import Caller
from app.services.reader import Reader

__all__ = ["get_document", "get_markdown"]

DOCX: Final = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
_NUMERALS: Final = "一二三四五六七八九十"
# More names than these say no more than their number does.
_MOST_NAMED: Final = 8
_NONE: Final = "—"
_STOPS: Final = "。;\uff1b"


async def get_markdown(reader: Reader, identity: UUID, known: Known, *, caller: Caller) -> tuple[Rendered, str]:
    """A bulletin in Markdown, and the name of the file.

    Raises:
        NotFoundError: there is none of this id, or none for this caller.
    """
    bulletin = await read_bulletin(reader.pool, identity, caller)
    body = write_markdown(_sheet(bulletin))
    etag = tag_of(body)
    return Rendered(etag, None if etag in known else body, "text/markdown; charset=utf-8"), f"{_name(bulletin)}.md"


async def get_document(
    reader: Reader, identity: UUID, query: BulletinDocumentQuery, known: Known, *, caller: Caller
) -> tuple[Rendered, str]:
    """A bulletin as a Word document, and the name of the file.

    Raises:
        NotFoundError: there is none of this id, or none for this caller.
    """
    bulletin = await read_bulletin(reader.pool, identity, caller)
    body = await asyncio.to_thread(write_document, _sheet(bulletin), red_head=query.red_head)
    etag = tag_of(body)
    return Rendered(etag, None if etag in known else body, DOCX), f"{_name(bulletin)}.docx"


def _name(bulletin: BulletinRead) -> str:
    number = "草稿" if bulletin.number is None else bulletin.number_text
    return f"{bulletin.title}{number}"


def _sheet(bulletin: BulletinRead) -> Sheet:
    issued = bulletin.issued_at if bulletin.state is BulletinState.ISSUED else None
    state = "" if bulletin.state is BulletinState.ISSUED else f"({bulletin.state.label})"
    parts = bulletin.parts
    sheet = Sheet(
        issuer=parts.signer,
        number=f"{bulletin.kind.label}{bulletin.number_text}{state}",
        title=bulletin.title,
        blocks=list(_blocks(bulletin)),
        signer=parts.signer,
        dated=None if issued is None else _day(issued),
        contact=f"({parts.contact})" if parts.contact else None,
        copy_to=f"抄送:{','.join(parts.copy_to)}。" if parts.copy_to else None,
        printed_by=bulletin.unit.name,
        at=issued or bulletin.updated_at,
    )
    return printed(sheet)


def _day(instant: datetime) -> str:
    return _date(day_of(instant))


def _date(day: date) -> str:
    return f"{day.year}年{day.month}月{day.day}日"


def _blocks(bulletin: BulletinRead) -> Iterator[Block]:
    content, parts = bulletin.content, bulletin.parts
    yield Paragraph(parts.lead or content.explanation)
    sections = [
        ("总体进度", list(_progress(content))),
        ("目标完成情况", list(_targets(content))),
        ("报送情况", list(_timeliness(content))),
        ("滞后任务", list(_laggards(content, parts.remarks))),
        ("督办情况", list(_orders(content))),
        (f"{_next(content)}到期事项", list(_due_next(content))),
    ]
    for numeral, (title, blocks) in zip(_NUMERALS, sections, strict=False):
        yield Heading(1, f"{numeral}、{title}")
        yield from blocks
    if parts.closing:
        yield Paragraph(parts.closing)


def _next(content: BulletinContent) -> str:
    return {
        BulletinKind.DEKAD_BRIEF: "下旬期",
        BulletinKind.MONTHLY_CIRCULAR: "下月",
        BulletinKind.QUARTERLY_SUMMARY: "下季度",
    }[content.kind]


def _figure(value: Decimal | None) -> str:
    return _NONE if value is None else str(exact(value))


def _progress(content: BulletinContent) -> Iterator[Block]:
    progress = content.progress
    rows = [[light.label, str(progress.lights[light]), _figure(content.light_shares[light])] for light in Light] + [
        ["尚无认定进度", str(progress.tasks - progress.reported), _NONE]
    ]
    stages = "、".join(
        f"{stage.label}{progress.stages[stage]}项({_figure(content.stage_shares[stage])}%)" for stage in Stage
    )
    yield Paragraph(f"按阶段分,{stages}。按亮灯分,见下表。")
    yield Table("任务亮灯情况", ("档次", "任务数", "占比(%)"), rows, (2, 1, 1))
    if content.battles:
        yield Table(
            "各仗进度",
            ("仗", "任务", *(light.label for light in Light), "平均偏差"),
            [
                [
                    one.name,
                    str(one.progress.tasks),
                    *(str(one.progress.lights[light]) for light in Light),
                    _figure(one.progress.mean_deviation),
                ]
                for one in content.battles
            ],
            (34, 9, 11, 11, 11, 9, 14, 14),
            frozenset({0}),
        )


def _targets(content: BulletinContent) -> Iterator[Block]:
    progress = content.progress
    yield Paragraph(
        f"有数值的目标共{progress.targets}个,已达到{progress.targets_reached}个;序时进度为{_figure(progress.scheduled)}%。"
    )
    if content.targets:
        yield Table(
            "目标完成情况",
            ("指标", "目标值", "单位", "认定数值", "为目标(%)", "达到"),
            [
                [
                    one.indicator,
                    one.aim,
                    one.unit_of_measure or _NONE,
                    _figure(one.figure),
                    _figure(one.attained),
                    "是" if one.reached else "否",
                ]
                for one in content.targets
            ],
            (36, 20, 11, 14, 15, 9),
            frozenset({0}),
        )


def _timeliness(content: BulletinContent) -> Iterator[Block]:
    if not content.timeliness:
        yield Paragraph("本期没有到期的报送。")
    for numeral, one in zip(_NUMERALS, content.timeliness, strict=False):
        yield Heading(2, f"({numeral}){one.name}")
        yield Paragraph(f"{one.compliance.explanation}。")
        rows = [
            [
                row.name,
                *(str(count) for count in (row.expected, row.on_time, row.late, row.overdue, row.missed, row.waived)),
                _figure(row.timeliness.percent),
            ]
            for row in (*one.compliance.items, one.compliance.total)
        ]
        header = ("单位", "应报", "按时", "迟报", "逾期", "漏报", "免报", "按时率(%)")
        yield Table(f"{one.name}报送情况", header, rows, (40, 10, 10, 10, 10, 10, 10, 18), frozenset({0}))


def _laggards(content: BulletinContent, remarks: dict[str, str]) -> Iterator[Block]:
    if not content.laggards:
        yield Paragraph("没有滞后的任务。")
        return
    yield Paragraph(f"滞后和严重滞后的任务共{len(content.laggards)}项,偏差大的在前。")
    yield Table(
        "滞后任务一览",
        ("序号", "任务", "报送单位", "完成(%)", "序时(%)", "偏差", "亮灯"),
        [
            [
                str(number),
                one.title,
                _named([report.unit.name for report in one.reports]),
                *(_figure(value) for value in (one.percent_complete, one.scheduled, one.deviation)),
                one.light.label,
            ]
            for number, one in enumerate(content.laggards, 1)
        ],
        (9, 36, 28, 15, 15, 14, 17),
        frozenset({1, 2}),
    )
    for number, one in enumerate(content.laggards, 1):
        yield Paragraph(_reasons(one, remarks.get(one.task)), f"{number}.{one.title}。")


def _reasons(laggard: BulletinLaggard, remark: str | None) -> str:
    told: list[str] = []
    for report in laggard.reports:
        period = period_text(parse_period(report.period))
        who = f"{report.unit.name}({period},完成{_figure(report.percent_complete)}%):"
        problems = _sentence("存在问题", report.problems) or "未报存在问题;"
        told.append(f"{who}{problems}{_sentence('下一步', report.next_steps) or '未报下一步打算;'}")
    if remark:
        told.append(_sentence("专班意见", remark))
    return "".join(told).removesuffix(";") + "。"


def _sentence(what: str, said: str | None) -> str:
    return f"{what}:{' '.join(said.split()).rstrip(_STOPS)};" if said and said.strip() else ""


def _orders(content: BulletinContent) -> Iterator[Block]:
    if not content.orders:
        yield Paragraph("没有未销号的督办单。")
        return
    yield Paragraph(f"未销号的督办单共{len(content.orders)}件。")
    yield Table(
        "督办单一览",
        ("序号", "事项", "责任单位", "级别", "状态", "办理期限"),
        [
            [
                *(str(number), one.title, one.unit.name, one.level_name or _NONE, one.state.label),
                (_NONE if one.due_on is None else _date(one.due_on)) + ("(逾期)" if one.overdue else ""),
            ]
            for number, one in enumerate(content.orders, 1)
        ],
        (9, 40, 28, 10, 16, 26),
        frozenset({1, 2}),
    )


def _due_next(content: BulletinContent) -> Iterator[Block]:
    period = period_text(parse_period(content.period).next())
    if not content.due_next:
        yield Paragraph(f"{period}没有到期的报送。")
        return
    yield Paragraph(f"{period}到期而截至{instant_text(content.as_of, SHANGHAI)}尚未报出的,见下表。")
    yield Table(
        "到期事项",
        ("事项", "报送期", "期限", "份数", "应报单位"),
        [
            [
                one.name,
                period_text(parse_period(one.period)),
                deadline_text(one.due_at, SHANGHAI),
                str(one.reports),
                _named(one.units),
            ]
            for one in content.due_next
        ],
        (26, 18, 27, 9, 46),
        frozenset({0, 4}),
    )


def _named(names: Sequence[str]) -> str:
    shown = "、".join(names[:_MOST_NAMED])
    return shown if len(names) <= _MOST_NAMED else f"{shown}等{len(names)}个单位"
