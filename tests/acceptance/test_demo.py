"""The first five minutes of a newcomer: `bridge demo`."""

import re
import signal
from pathlib import Path

import httpx
import pytest

from tests.support.terminal import Terminal

LIMIT_S = 60.0
ROWS = {
    "buy 10 SBIN": ("200", "accepted", "done FILLED"),
    "the same, sent again": ("200", "duplicate", "done FILLED"),
    "reversal: target -5": ("200", "accepted", "done FILLED"),
    "exit": ("200", "accepted", "done FILLED"),
    "exit while flat": ("200", "accepted", "noop FLAT"),
    "broken JSON": ("400", "E_JSON", "refused"),
    "unfilled placeholder": ("422", "E_UNRESOLVED", "refused"),
    "ten minutes old": ("422", "E_STALE", "refused"),
    "no token": ("401", "E_AUTH", "not stored"),
    "TCS, token is for SBIN": ("403", "E_SCOPE", "refused"),
}
TIMED = ("buy 10 SBIN", "reversal: target -5", "exit")


@pytest.fixture
def terminal(tmp_path):
    return Terminal(folder=tmp_path, env={"TMPDIR": str(tmp_path)})


def test_demo_once_shows_what_became_of_every_alert_and_succeeds(terminal):
    """Each row of the table is as the contract has it, orders have their times, and the books are told."""
    done = terminal.run("demo", "--once", "--port", "0")
    assert done.code == 0, done.out + done.err
    rows = {line[:23].strip(): line[23:] for line in done.out.splitlines()}
    for title, cells in ROWS.items():
        assert re.match(r"\s+".join(map(re.escape, cells)) + r"\b", rows[title].strip()), rows[title]
    for title in TIMED:
        assert len(re.findall(r" \d+\.\d ", rows[title])) == 3, rows[title]
    assert re.search(r"^Position: flat\. Trades: 2, -?[\d.]+ rupees", done.out, re.MULTILINE)
    assert "WRONG" not in done.out
    assert done.err == ""
    assert list(terminal.folder.glob("bridge-demo-*")) == [], "the demo's own folder is removed"


def test_demo_keeps_serving_its_page_until_it_is_interrupted(terminal):
    """The address of the status page is the last thing it says; Ctrl-C is the normal end."""
    with terminal.start("demo", "--port", "0") as process:
        assert process.stdout is not None
        url = next(line.split()[-1] for line in process.stdout if line.startswith("The status page:"))
        page = httpx.get(url, trust_env=False, timeout=LIMIT_S)
        assert (page.status_code, "NSE:SBIN" in page.text) == (200, True)
        process.send_signal(signal.SIGINT)
        assert process.wait(LIMIT_S) == 0
    assert "Traceback" not in terminal.errors()


def test_demo_touches_nothing_but_its_own_folder(terminal):
    """The settings of this machine name a real store; the demo leaves it alone, and can be told again on its own."""
    real = terminal.folder / "real.db"
    env = {
        "BRIDGE_DATABASE__URL": f"sqlite:///{real}",
        "BRIDGE_API__TOKEN": "x" * 20,
        "BRIDGE_DATA_DIR": str(real.parent / "real"),
    }
    for _ in range(2):
        done = terminal.run("demo", "--once", "--port", "0", "--data", "kept", **env)
        assert done.code == 0, done.out + done.err
    assert {path.name for path in (terminal.folder / "kept").iterdir()} >= {"demo.db", "secret.key", "api.token"}
    assert not real.exists()
    assert not Path(env["BRIDGE_DATA_DIR"]).exists()


def test_demo_on_a_folder_in_use_says_so(terminal):
    """Two bridges on one folder: refused, in one line."""
    with terminal.serve():
        done = terminal.run("demo", "--once", "--port", "0", "--data", "data")
    assert (done.code, "another bridge is running" in done.err) == (2, True)
