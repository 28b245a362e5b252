"""`bridge replay`: from a file of bars and a definition to a report, and what is wrong is named."""

import json

import pytest

from bridge.cli import main
from bridge.market.bars.series import COLUMNS
from tests.support.replays import YEAR, daily_times, walk

DEFINITION = """
name: cross
strategy: swing
universe: [NSE:AAA, NSE:BBB]
interval: 1d
long: {enter: "cross_over(close, sma(close, 5))", leave: "cross_under(close, sma(close, 5))"}
exits: {stop: {percent: 3}}
size: {rupees: 50000}
"""
CONFIG = """
data_dir: DATA
database: {url: "sqlite:///DATA/bridge.db"}
accounts: {paper: {broker: paper, session: always}}
strategies: {swing: {accounts: [paper], product: CNC}}
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Settings, a definition, and a year of daily bars of three symbols as CSV."""
    (tmp_path / "bridge.yaml").write_text(CONFIG.replace("DATA", str(tmp_path / "data")))
    (tmp_path / "cross.yaml").write_text(DEFINITION)
    lines = ["symbol,time,open,high,low,close,volume"]
    for seed, symbol in enumerate(("NSE:AAA", "NSE:BBB", "NSE:NIFTY 50")):
        series = walk(seed, daily_times())
        for row, day in enumerate(YEAR):
            numbers = ",".join(f"{float(getattr(series, name)[row]):.2f}" for name in COLUMNS[:4])
            lines.append(f"{symbol},{day},{numbers},1000")
    (tmp_path / "bars.csv").write_text("\n".join(lines))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def replay(folder, *more):
    given = ["replay", "--config", "bridge.yaml", "--csv", "bars.csv", "--out", "out", *more]
    return main(given)


def test_a_definition_over_a_file_of_bars_ends_in_a_report(folder, capsys):
    """Journal, JSON and page are there, and say the same; both benchmarks are among them."""
    assert replay(folder, "--definition", "cross.yaml") == 0
    report = json.loads((folder / "out" / "report.json").read_text())
    assert report["trades"]["count"] > 20
    assert [one["symbols"] for one in report["benchmarks"]] == [1, 2]
    assert (report["begin"], report["end"]) == ("2025-01-01", "2025-12-31")
    assert report["tried"] == 1
    steps = [json.loads(line)["step"] for line in (folder / "out" / "journal.jsonl").read_text().splitlines()]
    assert steps.count("alert_accepted") == sum(row["count"] for row in report["signals"])
    assert "NIFTY 50, held" in (folder / "out" / "report.html").read_text()
    told = capsys.readouterr()
    assert f"{report['trades']['count']} trades" in told.out
    assert "100%" in told.err


def test_every_version_that_was_tried_is_counted(folder):
    """The same again is no other; an edited definition is one more."""
    assert replay(folder, "--definition", "cross.yaml", "--to", "2025-03-31") == 0
    assert replay(folder, "--definition", "cross.yaml", "--to", "2025-03-31") == 0
    (folder / "cross.yaml").write_text(DEFINITION.replace("percent: 3", "percent: 4"))
    assert replay(folder, "--definition", "cross.yaml", "--to", "2025-03-31") == 0
    assert json.loads((folder / "out" / "report.json").read_text())["tried"] == 2


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "--definition"),
        (["--definition", "missing"], "no definition's file"),
        (["--definition", "cross.yaml", "--from", "2024-01-01", "--to", "2024-02-01"], "there are no 1d bars"),
        (["--definition", "cross.yaml", "--definition", "cross.yaml"], "one strategy"),
        (["--definition", "cross.yaml", "--cash", "much"], "--cash"),
        (["--definition", "cross.yaml", "--sweep", "exits.target.percent=1"], "no exits.target.percent"),
        (["--alerts", "nowhere"], "bridge.db is not there"),
    ],
)
def test_what_is_wrong_is_named(folder, capsys, arguments, told):
    """A sentence and an exit code, never a traceback."""
    assert replay(folder, *arguments) != 0
    assert told in capsys.readouterr().err
