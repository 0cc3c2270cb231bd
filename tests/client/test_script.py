"""The script of docs/cli.md as it stands there: it gets a form, fills it in, posts it and prints its receipt."""

import re
import shutil
import subprocess
from collections.abc import Callable

from tests.client.conftest import COMMAND, PERIOD, Caller, Ended, Offered, failing
from tests.test_docs import ROOT, blocks

SCRIPT = ROOT / "docs" / "examples" / "monthly-form.sh"
BASH = shutil.which("bash") or "bash"


def run(someone: Caller) -> Ended:
    variables = someone.variables({"TMPDIR": str(someone.home)})
    variables["PATH"] = f"{COMMAND.parent}:{variables['PATH']}"
    done = subprocess.run(
        [BASH, SCRIPT, "县教育局", PERIOD],
        capture_output=True,
        text=True,
        cwd=someone.home,
        env=variables,
        timeout=90,
        check=False,
    )
    return Ended(done.returncode, done.stdout, done.stderr)


def test_the_documentation_shows_the_very_script_and_it_is_short() -> None:
    text = SCRIPT.read_text(encoding="utf-8")
    assert text in blocks("docs/cli.md", "bash")
    assert len([line for line in text.splitlines() if line]) <= 10


def test_the_script_posts_once_whatever_fails_and_prints_its_receipt(
    caller: Callable[..., Caller], offered: Offered
) -> None:
    # The first request fails; then, of the third command, the posting itself is done but its answer is lost.
    before = ["drop", "pass", "pass", "pass", (503, {"Retry-After": "0"}), "pass"]
    with failing(offered.server, *before, "pass", "lose") as fails:
        first = run(caller(server=fails.address))
        assert first.code == 0, first.err
        assert fails.acts == []
        assert "连接中断" in first.err
        again = run(caller(server=fails.address))
    assert again.code == 0, again.err
    assert "没有改动" in again.out
    # One report, though it was posted three times.
    identities = [re.findall(r"^回执:(\S+)$", ended.out, re.MULTILINE) for ended in (first, again)]
    assert len(identities[0]) == 1
    assert identities[0] == identities[1]
    assert re.search(r"^内容 SHA-256:[0-9a-f]{64}$", first.out, re.MULTILINE)
    assert len(fails.keys("PUT")) == 2
