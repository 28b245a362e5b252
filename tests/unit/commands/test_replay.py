"""`bridge replay`: from a file of bars and a definition to a report, and what is wrong is named."""

import json

import pytest

from bridge.cli import main
from bridge.market.bars.series import COLUMNS
from bridge.market.universe_log import UniverseLog
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


NAMES = ("NSE:AAA", "NSE:BBB", "NSE:CCC", "NSE:DDD")
RANK = """
name: rank
strategy: swing
universe: mine
interval: 1d
score: roc(close, 5)
top: 2
keep: 2
long: {}
size: {rupees: 50000}
"""


def write_bars(folder, **changed):
    """The year of four symbols; a function by name changes the price of a day."""
    lines = ["symbol,time,open,high,low,close,volume"]
    for seed, symbol in enumerate(NAMES):
        series = walk(seed, daily_times())
        for row, day in enumerate(YEAR):
            part = changed.get(symbol[4:], lambda _row: 1.0)(row)
            if part is None:
                continue
            numbers = ",".join(f"{float(getattr(series, name)[row]) * part:.2f}" for name in COLUMNS[:4])
            lines.append(f"{symbol},{day},{numbers},1000")
    (folder / "bars.csv").write_text("\n".join(lines))


def write_universe(folder, *lists):
    """A universe of the settings with these lists, each of a span of days."""
    config = CONFIG.replace("DATA", str(folder / "data"))
    (folder / "bridge.yaml").write_text(config + "universes: {mine: {file: mine.csv}}\n")
    (folder / "mine.csv").write_text("Symbol\n" + "\n".join(NAMES))
    (folder / "rank.yaml").write_text(RANK)
    for first, last, symbols in lists:
        for day in (first, last):
            UniverseLog(folder / "data" / "universes").write("mine", day, symbols, {})


def report_of(folder):
    return json.loads((folder / "out" / "report.json").read_text())


def test_the_members_are_those_of_each_day_and_the_report_says_so(folder, capsys):
    """One that joins in the middle is entered only from then on; of days before the first list, a later one stood in."""
    write_bars(folder)
    write_universe(folder, (YEAR[40], YEAR[99], NAMES[:3]), (YEAR[100], YEAR[-1], NAMES[1:]))
    assert replay(folder, "--definition", "rank.yaml") == 0
    report, told = report_of(folder), capsys.readouterr().out
    assert {row["ending"] for row in report["signals"]} == {"done · FILLED"}  # also of the first, which is days after the start
    (universe,) = report["universes"]
    assert [(span["members"], span["point_in_time"], span["days"]) for span in universe["spans"]] == [
        (3, "biased", 40), (3, "yes", 60), (3, "yes", len(YEAR) - 100)
    ]  # fmt: skip
    assert (universe["spans"][2]["came"], universe["spans"][2]["went"]) == ([NAMES[3]], [NAMES[0]])
    stamps = [stamp["message"] for stamp in report["stamps"] if stamp["tone"] == "warn"]
    assert len(stamps) == 1
    assert f"the list of {YEAR[40]} stood in, which nobody had then" in stamps[0]
    assert f"! {stamps[0]}" in told
    entered = {symbol: [t["entered_at"][:10] for t in report["trade_list"] if t["symbol"] == symbol] for symbol in NAMES}
    assert min(entered[NAMES[3]]) >= YEAR[100].isoformat() > max(entered[NAMES[0]]) > YEAR[40].isoformat()
    assert report["benchmarks"][0]["name"] == "all 3, held in equal parts"
    page = (folder / "out" / "report.html").read_text()
    assert "Members of mine" in page
    assert "not of its day" in page


def test_what_the_data_doctor_doubts_is_found_told_and_not_entered(folder, capsys):
    """A split that nobody adjusted for, and two symbols that are swapped; one that ends early is told and traded."""
    swap = {"CCC": lambda row: 1.0 if row < 120 else 5.0, "BBB": lambda row: 5.0 if row < 120 else 1.0}
    write_bars(folder, AAA=lambda row: 1.0 if row < 90 else 0.2, DDD=lambda row: 1.0 if row < 200 else None, **swap)
    write_universe(folder, (YEAR[0], YEAR[-1], NAMES))
    assert replay(folder, "--definition", "rank.yaml") == 0
    report, told = report_of(folder), capsys.readouterr().out
    grave = {(one["symbol"], one["complaint"]) for one in report["doctor"]["findings"] if one["is_grave"]}
    assert ("NSE:AAA", "split") in grave
    assert {symbol for symbol, _ in grave} == set(NAMES[:3])
    assert ("NSE:DDD", "stale") in {(one["symbol"], one["complaint"]) for one in report["doctor"]["findings"]}
    assert {trade["symbol"] for trade in report["trade_list"]} == {"NSE:DDD"}
    (stamp,) = [stamp["message"] for stamp in report["stamps"] if stamp["tone"] == "warn"]
    assert stamp == "The data doctor doubts these bars; they were neither ranked nor entered: NSE:AAA, NSE:BBB, NSE:CCC."
    assert "✗ NSE:AAA 1d: split: opens on" in told
    assert "What the data doctor found" in (folder / "out" / "report.html").read_text()
    assert replay(folder, "--definition", "rank.yaml", "--ignore-doctor") == 0
    report = report_of(folder)
    assert {trade["symbol"] for trade in report["trade_list"]} > {"NSE:AAA", "NSE:DDD"}
    assert any("they were traded all the same" in stamp["message"] for stamp in report["stamps"])
    assert report["doctor"]["ignored"]


def test_one_companys_prices_in_anothers_file_are_found(folder):
    """Nobody can say whose they are: neither is traded, in a sweep as little as by itself."""
    write_bars(folder)
    text = (folder / "bars.csv").read_text().splitlines()
    twin = [line.replace("NSE:AAA", "NSE:DDD") for line in text if line.startswith("NSE:AAA")]
    (folder / "bars.csv").write_text("\n".join([line for line in text if not line.startswith("NSE:DDD")] + twin))
    write_universe(folder, (YEAR[0], YEAR[-1], NAMES))
    assert replay(folder, "--definition", "rank.yaml", "--sweep", "size.rupees=50000") == 0
    report = report_of(folder)
    assert {trade["symbol"] for trade in report["trade_list"]} == {"NSE:BBB", "NSE:CCC"}
    assert report["sweep"]["rows"][0]["trades"] == len(report["trade_list"])
    assert any("NSE:AAA, NSE:DDD" in stamp["message"] for stamp in report["stamps"])
