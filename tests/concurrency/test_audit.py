"""The audit trail under much at once: nobody waits for each other for ever, and every act is there exactly once."""

from collections import Counter
from typing import Any

from app.services.audit_check import TrailCheck, check_trail
from tests.api.test_submissions import BODIES, CERTIFIER, SAID, SUBMISSIONS
from tests.concurrency.test_submissions import FORM, Crowd, crowd

__all__ = ["crowd"]


async def acts(crowd: Crowd) -> Counter[tuple[str, str]]:
    """How often what was done to which submission, by the trail, which is whole."""
    assert [found async for found in check_trail(crowd.url, {}, TrailCheck())] == []
    rows = await crowd.rows("SELECT action, subject FROM audit_entries WHERE action LIKE 'submission.%'")
    return Counter((row["action"].removeprefix("submission."), row["subject"]) for row in rows)


async def steps(crowd: Crowd) -> Counter[tuple[str, str]]:
    """The same by the steps that are kept with the submissions; the first of each is how it came in."""
    rows = await crowd.rows(
        "SELECT CASE WHEN t.id = min(t.id) OVER (PARTITION BY t.submission_id) THEN 'create' ELSE t.action END "
        "AS what, t.submission_id::text AS subject FROM submission_transitions t"
    )
    return Counter((row["what"], row["subject"]) for row in rows)


async def test_all_ways_of_writing_at_once_leave_each_act_once(crowd: Crowd) -> None:
    reports = [*await crowd.reports("2023-05"), *await crowd.reports("2023-06")]
    drafted = [
        await crowd.create(**{name: report[name] for name in ("task", "unit", "period")}, submit=False)
        for report in reports[:6]
    ]
    lines = [
        {"task": report["task"], "stage": "in_progress", "percent_complete": 40}
        for report in reports
        if (report["unit"], report["period"]) == ("431228-jyj", "2023-05")
    ]
    half = len(reports) // 2
    requests: list[tuple[str, str, Any]] = []
    for turn in (1, -1, 1):
        requests += [("POST", SUBMISSIONS, report) for report in reports[::turn]]
        requests += [("POST", f"{SUBMISSIONS}/batch", {"items": reports[:half][::turn]})]
        requests += [("POST", f"{SUBMISSIONS}/batch?atomic=true", {"items": reports[half:][::turn]})]
        requests += [("PUT", FORM, {"items": lines[::turn]})]
        requests += [("PATCH", f"{SUBMISSIONS}/{identity}", SAID) for identity in drafted]
        requests += [
            ("POST", f"{SUBMISSIONS}/{identity}/{name}", BODIES[name])
            for identity in drafted[::turn]
            for name in ("submit", "certify", "return", "correct")
        ]
        requests += [("POST", "/api/v1/certifications", {"by": CERTIFIER, "ids": drafted[::turn]})]
    answers = await crowd.at_once(*requests)
    assert {answer.status_code for answer in answers} <= {200, 201, 409, 422}
    done = await acts(crowd)
    assert done == await steps(crowd)
    assert max(count for (what, _), count in done.items() if what == "create") == 1
    assert {what for what, _ in done} >= {"create", "edit", "submit", "certify"}
    await crowd.assert_sound()


async def test_what_fails_at_commit_leaves_no_act(crowd: Crowd) -> None:
    identity = await crowd.create(submit=False)
    before = await acts(crowd)
    await crowd.rows(
        "CREATE FUNCTION refuse_it() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "RAISE unique_violation USING MESSAGE = 'forced at commit'; END $$"
    )
    await crowd.rows(
        "CREATE CONSTRAINT TRIGGER refuse_it AFTER INSERT ON submission_transitions DEFERRABLE INITIALLY DEFERRED "
        "FOR EACH ROW EXECUTE FUNCTION refuse_it()"
    )
    report = (await crowd.reports("2023-06"))[0]
    for path, body in (
        (SUBMISSIONS, report),
        (f"{SUBMISSIONS}/batch", {"items": [report]}),
        (f"{SUBMISSIONS}/{identity}/submit", {}),
    ):
        assert (await crowd.ask(0, "POST", path, body)).status_code == 409
    assert await acts(crowd) == before
