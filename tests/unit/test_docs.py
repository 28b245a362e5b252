"""The documentation is held to the code: generated parts, names, links and every example."""

import json
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from starlette.routing import Route

from bridge import docs
from bridge.bootstrap import Bridge
from bridge.cli import make_parser
from bridge.core.claims import Claims
from bridge.core.enums import Source
from bridge.core.errors import RefusedError
from bridge.core.limits import LIMIT_NAMES
from bridge.core.reasons import AuditAction, Reason, RefusalCode
from bridge.intake.native import read_fields
from bridge.intake.signatures import SignatureChecker
from bridge.intake.unknown import KNOWN_FIELDS
from bridge.intake.validate import read_signal
from bridge.intake.verify import Credential
from bridge.market.instruments import load_catalog
from bridge.minting import CLAIM_NAMES
from bridge.settings import CONFIG_VARIABLE, Settings, load_settings
from bridge.web.api import Api
from bridge.web.pages import Pages

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
SHIPPED = ROOT / "config" / "bridge.yaml"
README_WORDS = 600
DECISION_LINES = 10
NOW = datetime(2026, 11, 20, 4, 15, 3, tzinfo=UTC)
# What TradingView would put in place of the placeholders of the examples.
FILLED_IN = {
    "exchange": "NSE", "ticker": "SBIN", "close": "812.5", "timenow": "2026-11-20T04:15:02Z",
    "strategy.order.action": "sell", "strategy.order.contracts": "15", "strategy.position_size": "-5",
    "strategy.market_position": "short", "strategy.prev_market_position": "long",
}  # fmt: skip
_FENCE = re.compile(r"^```(?P<info>[^\n]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\((?P<target>[^)\s]+)\)")
_PLACEHOLDER = re.compile(r"\{\{([^}]+)\}\}")


class Example(NamedTuple):
    """A fenced block: its page, its words after the fence and what is in it."""

    page: str
    info: str
    text: str


def text_of(name: str) -> str:
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


def examples(language: str, *pages: Path) -> list[Example]:
    return [
        Example(page.name, fence["info"], fence["text"])
        for page in pages or PAGES
        for fence in _FENCE.finditer(page.read_text(encoding="utf-8"))
        if fence["info"].split()[:1] == [language]
    ]


# --- generated parts --------------------------------------------------------------------------------------------------


def test_generated_parts_are_current():
    """`make docs` would change nothing."""
    stale = [
        page.name for page in PAGES if docs.regenerate(page.read_text(encoding="utf-8")) != page.read_text(encoding="utf-8")
    ]
    assert not stale, f"run `make docs`: {stale}"


def test_every_generated_part_has_its_place():
    """A block that no page asks for is written for nobody, and one that nobody writes stays empty."""
    asked = [name for page in PAGES for name in re.findall(r"<!-- generated:([a-z-]+) -->", page.read_text(encoding="utf-8"))]
    assert sorted(asked) == sorted(docs.BLOCKS)


def test_check_fails_on_a_stale_page_and_changes_nothing(tmp_path, monkeypatch, capsys):
    """`--check` is for the build server; without it the page is written."""
    page = tmp_path / "page.md"
    page.write_text("a\n<!-- generated:outcomes -->\nSTALE\n<!-- /generated -->\nb\n")
    monkeypatch.setattr(docs, "DOCS", tmp_path)
    assert docs.main(["--check"]) == 1
    assert "STALE" in page.read_text()
    assert docs.main([]) == 0
    assert docs.main(["--check"]) == 0
    written = page.read_text()
    assert "STALE" not in written
    assert written.startswith("a\n<!-- generated:outcomes -->\n|")
    assert written.endswith("<!-- /generated -->\nb\n")
    assert "stale" in capsys.readouterr().out


def test_python_m_bridge_docs_runs():
    """What `make docs` calls."""
    command = [sys.executable, "-m", "bridge.docs", "--check"]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_names_that_the_code_does_not_know_are_found():
    """A field that goes from the code cannot stay in the docs."""
    with pytest.raises(SystemExit, match="size"):
        docs._same_names("fields", {"size": "…"}, frozenset())


# --- names ------------------------------------------------------------------------------------------------------------


def missing(names: Any, page: str) -> list[str]:
    told = text_of(page)
    return [str(name) for name in names if f"`{name}`" not in told]


@pytest.mark.parametrize(
    ("names", "page"),
    [
        (RefusalCode, "alerts.md"),
        (KNOWN_FIELDS, "alerts.md"),
        (CLAIM_NAMES, "alerts.md"),
        (Reason, "risk.md"),
        (LIMIT_NAMES, "risk.md"),
        (AuditAction, "operations.md"),
        ([key for key, _ in docs.setting_keys()], "operations.md"),
        ([f"bridge {name}" for name, *_ in docs.command_lines(make_parser())], "operations.md"),
    ],
)
def test_every_name_is_documented(names, page):
    """What a user may meet is told."""
    assert missing(names, page) == []


def test_every_branch_of_the_settings_is_walked():
    """The table's keys are the model's."""
    keys = [key for key, _ in docs.setting_keys()]
    assert {key.split(".")[0] for key in keys} == set(Settings.model_fields)
    assert len(keys) == len(set(keys))


def test_every_route_is_documented(tmp_path, monkeypatch):
    """Each address of API and pages is in operations.md; the webhook's is in alerts.md."""
    monkeypatch.setenv(CONFIG_VARIABLE, str(SHIPPED))
    bridge = Bridge(load_settings(data_dir=tmp_path, database={"url": f"sqlite:///{tmp_path}/x.db"}))
    routes = [route.path for route in [*Api(bridge).routes(), *Pages(bridge).routes()] if isinstance(route, Route)]
    bridge.store.backend.engine.dispose()
    told = text_of("operations.md")
    assert [path for path in routes if not re.search(rf"[` ]{re.escape(path)}`", told)] == []
    assert "/webhook/tradingview/<token>" in text_of("alerts.md")


# --- shape ------------------------------------------------------------------------------------------------------------


def test_readme_is_short():
    """Six hundred words at most."""
    assert len((ROOT / "README.md").read_text(encoding="utf-8").split()) <= README_WORDS


def test_decisions_are_dated_and_short():
    """At most ten lines each."""
    entries = re.split(r"^## ", text_of("decisions.md"), flags=re.MULTILINE)[1:]
    assert entries
    for entry in entries:
        title, *lines = [line for line in entry.splitlines() if line.strip()]
        assert re.match(r"\d{4}-\d\d-\d\d ", title), title
        assert len(lines) <= DECISION_LINES, title


def anchors(page: Path) -> set[str]:
    heads = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_relative_links_resolve(page):
    """Files and headings that a page points to are there."""
    for link in _LINK.finditer(_FENCE.sub("", page.read_text(encoding="utf-8"))):
        target, _, anchor = link["target"].partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        there = (page.parent / target).resolve() if target else page
        assert there.exists(), link["target"]
        assert not anchor or anchor in anchors(there), link["target"]


# --- examples ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("example", examples("yaml"), ids=lambda example: example.page)
def test_settings_in_the_docs_load(example, tmp_path, monkeypatch):
    """Each block, laid over the shipped file, is taken."""
    whole = yaml.safe_load(SHIPPED.read_text(encoding="utf-8")) | yaml.safe_load(example.text)
    path = tmp_path / "bridge.yaml"
    path.write_text(yaml.safe_dump(whole))
    monkeypatch.setenv(CONFIG_VARIABLE, str(path))
    if "broker: kite" in path.read_text():
        monkeypatch.setenv("BRIDGE_ACCOUNTS__ZERODHA__API_SECRET", "what an environment holds and no file does")
    assert isinstance(load_settings(), Settings)


def alert_examples() -> list[Example]:
    return [example for example in examples("json", ROOT / "docs" / "alerts.md") if "answer" not in example.info.split()]


def outcome_of(body: str) -> str:
    """`taken`, or the code that intake refuses the alert with."""
    settings = load_settings()
    catalog = load_catalog(ROOT / "config" / "instruments.csv", today=NOW.date)
    claims = Claims(key_id="k1", token_id="T", strategy="demo")
    try:
        fields = read_fields(body.encode())
        received_at = (
            NOW if fields.get("time") == FILLED_IN["timenow"] else datetime.fromtimestamp(int(str(fields["time"])), UTC)
        )
        read_signal(fields, Credential(name="T", source=Source.TRADINGVIEW, claims=claims), received_at, catalog, settings)
    except RefusedError as error:
        return error.code.value
    return "taken"


@pytest.mark.parametrize("example", alert_examples(), ids=lambda example: example.text[:60])
def test_alerts_in_the_docs_are_taken_or_refused_as_they_say(example, monkeypatch):
    """Templates are filled in as TradingView does; `refused=CODE` behind the fence names the refusal."""
    monkeypatch.setenv(CONFIG_VARIABLE, str(SHIPPED))
    words = example.info.split()[1:]
    text = example.text
    if "template" in words:
        text = _PLACEHOLDER.sub(lambda found: FILLED_IN[found[1]], text)
    expected = next((word.removeprefix("refused=") for word in words if word.startswith("refused=")), "taken")
    assert outcome_of(text) == expected


def test_the_signing_example_is_believed():
    """The Python of alerts.md makes signatures that the bridge takes."""
    (example,) = examples("python", ROOT / "docs" / "alerts.md")
    scope: dict[str, Any] = {}
    exec(example.text, scope)
    secret = "whsec_" + "QUFB" * 10 + "QQ=="
    body, at = b'{"a": 1}', int(NOW.timestamp())
    headers = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(at),
        "webhook-signature": scope["sign"](secret, "msg_1", at, body),
    }
    assert SignatureChecker([secret], 300).check(headers, body, NOW).message_id == "msg_1"


def test_json_outside_of_alerts_is_json():
    """Answers and log lines are real JSON too."""
    others = [example for example in examples("json") if example.page != "alerts.md" or "answer" in example.info]
    assert others
    for example in others:
        json.loads(example.text)
