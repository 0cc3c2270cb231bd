"""The score of a unit: worked out by hand, bounded, never raised by a fault, and never excellent where it is barred."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.assessment import (
    COSTLY,
    DEFAULT_SCHEME,
    MARKABLE,
    Aspect,
    CapReason,
    Facts,
    FaultKind,
    Given,
    Grade,
    Scheme,
    score,
)

GOOD = Facts(
    due=9,
    on_time=9,
    tasks=4,
    completed=4,
    mean_percent=Decimal(100),
    certified=30,
    clean=30,
    texts_due=11,
    texts_sent=11,
)


def mark(value: int | str) -> Given:
    return Given(Decimal(value), "甲", "现场查看")


def points(facts: Facts, scheme: Scheme = DEFAULT_SCHEME) -> dict[str, Decimal | None]:
    return {line.item.value: line.points for line in score(scheme, facts).lines}


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        # 80 of 90 points are counted: each weight is taken as 100/90 of it.
        ({}, {"dispatch": "22.22", "completion": "44.44", "quality": "22.22", "upkeep": None, "experience": "11.11"}),
        ({"marks": {Aspect.UPKEEP: mark(80)}}, {"dispatch": "20", "completion": "40", "upkeep": "8"}),
        # 3 ÷ 4 × 50% + 87.5% × 50% = 81.25%; of 40.
        (
            {"completed": 3, "mean_percent": Decimal("87.5"), "marks": {Aspect.UPKEEP: mark(100)}},
            {"completion": "32.5"},
        ),
        ({"on_time": 7, "marks": {Aspect.UPKEEP: mark(100)}}, {"dispatch": "15.56"}),
        ({"clean": 20, "marks": {Aspect.UPKEEP: mark(100)}}, {"quality": "13.33"}),
        ({"marks": {Aspect.UPKEEP: mark(100), Aspect.QUALITY: mark("62.5")}}, {"quality": "12.5"}),
        # A mark for what is counted changes nothing.
        ({"marks": {Aspect.UPKEEP: mark(100), Aspect.DISPATCH: mark(0)}}, {"dispatch": "20"}),
        ({"due": 0, "on_time": 0, "texts_due": 0, "texts_sent": 0}, {"dispatch": None, "completion": "66.67"}),
        ({"texts_sent": 20, "marks": {Aspect.UPKEEP: mark(100)}}, {"experience": "10"}),
        ({"faults": {FaultKind.LATE: 3}}, {"late": "-3"}),
        ({"faults": {FaultKind.LATE: 30}}, {"late": "-10"}),
        ({"faults": {FaultKind.CONCEALED: 30}}, {"concealed": "-100"}),
        ({}, {"missed": "0"}),
    ],
)
def test_a_line_is_what_is_worked_out_by_hand(changed: dict[str, Any], expected: dict[str, str | None]) -> None:
    found = points(replace(GOOD, **changed))
    for item, value in expected.items():
        assert found[item] == (None if value is None else Decimal(value)), item


@pytest.mark.parametrize(
    ("changed", "grade", "capped"),
    [
        ({}, Grade.EXCELLENT, []),
        ({"unfinished": ["431228-2023-6-3-4"]}, Grade.QUALIFIED, [CapReason.UNFINISHED_TASKS]),
        ({"faults": {FaultKind.GRAVE_EFFECT: 1}}, Grade.QUALIFIED, [CapReason.GRAVE_EFFECT]),
        ({"faults": {FaultKind.LATE: 10}}, Grade.EXCELLENT, []),
        ({"faults": {FaultKind.LATE: 10, FaultKind.MISSED: 1}}, Grade.QUALIFIED, []),
        ({"faults": {FaultKind.LATE: 10, FaultKind.MISSED: 16}}, Grade.UNDETERMINED, []),
        ({"faults": {FaultKind.CONCEALED: 21}}, Grade.UNDETERMINED, []),
    ],
)
def test_a_grade_follows_from_the_total_and_what_bars_it(
    changed: dict[str, Any], grade: Grade, capped: list[CapReason]
) -> None:
    facts = replace(GOOD, marks={Aspect.UPKEEP: mark(100)}, **changed)
    scheme = replace(DEFAULT_SCHEME, caps=dict.fromkeys(COSTLY, Decimal(100)), qualified_from=Decimal(60))
    found = score(scheme, facts)
    assert (found.grade, [cap.reason for cap in found.capped_by]) == (grade, capped)
    assert grade.label in found.explanation
    assert all("良好" in cap.explanation and "优秀" in cap.explanation for cap in found.capped_by)


def test_what_is_left_out_and_what_is_pending_is_said() -> None:
    found = score(DEFAULT_SCHEME, replace(GOOD, pending=2))
    assert "后续管理没有依据,不计入" in found.explanation
    assert "2 起登记的过错尚未认定" in found.explanation
    nothing = score(replace(DEFAULT_SCHEME, weights=only(Aspect.UPKEEP)), GOOD)
    assert (nothing.total, nothing.grade) == (None, Grade.UNDETERMINED)


def only(counted: Aspect) -> dict[Aspect, Decimal]:
    return {aspect: Decimal(100 if aspect is counted else 0) for aspect in Aspect}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"weights": {**DEFAULT_SCHEME.weights, Aspect.UPKEEP: Decimal(11)}}, "合计须为 100"),
        ({"weights": {Aspect.UPKEEP: Decimal(100)}}, "逐一给出"),
        ({"points": {}}, "四种过错"),
        ({"points": {**DEFAULT_SCHEME.points, FaultKind.LATE: Decimal(101)}}, "0 至 100"),
        ({"excellent_from": Decimal(50)}, "合格线不得高于优秀线"),
        ({"decimals": 5}, "小数位数"),
    ],
)
def test_a_scheme_that_does_not_hold_together_is_refused(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(DEFAULT_SCHEME, **changed)


@st.composite
def schemes(draw: st.DrawFn) -> Scheme:
    cuts = sorted(draw(st.lists(st.integers(0, 100), min_size=4, max_size=4)))
    weights = [b - a for a, b in zip([0, *cuts], [*cuts, 100], strict=True)]
    hundred = st.decimals(0, 100, places=2)
    low, high = sorted((draw(hundred), draw(hundred)))
    return Scheme(
        weights={aspect: Decimal(weight) for aspect, weight in zip(Aspect, weights, strict=True)},
        points={kind: draw(hundred) for kind in COSTLY},
        caps={kind: draw(hundred) for kind in COSTLY},
        completed_share=draw(hundred),
        excellent_from=high,
        qualified_from=low,
        decimals=draw(st.integers(0, 4)),
    )


@st.composite
def facts(draw: st.DrawFn) -> Facts:
    def part() -> tuple[int, int]:
        whole = draw(st.integers(0, 30))
        return whole, draw(st.integers(0, whole))

    (due, on_time), (tasks, completed), (certified, clean), (texts_due, texts_sent) = part(), part(), part(), part()
    return Facts(
        due=due,
        on_time=on_time,
        tasks=tasks,
        completed=completed,
        mean_percent=draw(st.decimals(0, 100, places=2)),
        unfinished=["431228-2023-6-3-4"] * (tasks - completed),
        certified=certified,
        clean=clean,
        texts_due=texts_due,
        texts_sent=texts_sent,
        faults={kind: draw(st.integers(0, 40)) for kind in FaultKind},
        marks={aspect: mark(str(draw(st.decimals(0, 100, places=2)))) for aspect in MARKABLE if draw(st.booleans())},
        pending=draw(st.integers(0, 3)),
    )


@given(schemes(), facts())
def test_a_total_is_the_sum_of_its_lines_within_bounds(scheme: Scheme, known: Facts) -> None:
    found = score(scheme, known)
    counted = [line for line in found.lines if line.weight and line.points is not None]
    if found.total is None:
        assert not counted
        return
    assert found.total == min(100, max(0, sum(line.points or 0 for line in found.lines)))
    # Rounded once a line, what is counted shares a hundred points.
    assert abs(sum(line.counted_weight or 0 for line in counted) - 100) < Decimal("0.001")


@given(schemes(), facts(), st.sampled_from(COSTLY))
def test_another_fault_never_raises_a_total(scheme: Scheme, known: Facts, kind: FaultKind) -> None:
    worse = replace(known, faults={**known.faults, kind: known.faults[kind] + 1})
    before, after = score(scheme, known).total, score(scheme, worse).total
    assert (before is None) == (after is None)
    assert before is None or after is None or after <= before


@given(schemes(), facts())
def test_whoever_is_barred_is_never_excellent(scheme: Scheme, known: Facts) -> None:
    found = score(scheme, known)
    barred = bool(known.unfinished or known.faults[FaultKind.GRAVE_EFFECT])
    assert bool(found.capped_by) == barred
    assert not (barred and found.grade is Grade.EXCELLENT)


@given(facts(), st.sampled_from(Aspect))
def test_an_aspect_that_alone_is_counted_has_all_the_weight(known: Facts, aspect: Aspect) -> None:
    found = score(replace(DEFAULT_SCHEME, weights=only(aspect), decimals=4), replace(known, faults={}))
    line = next(line for line in found.lines if line.item is aspect)
    assert found.total == line.points
    if line.ratio is not None:
        assert line.points is not None
        assert abs(line.points - line.ratio * 100) <= Decimal("0.01")
