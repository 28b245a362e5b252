"""The reports of replays on a page: listed with their figures, served as they are and bound, and nothing else is reached."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge import cli
from bridge.scanner.files import write_text
from bridge.settings import load_settings
from bridge.web.replays import POLICY, find_reports, make_replay
from bridge.web.text import NOTHING
from tests.support.pages import EVIL, assert_is_a_page
from tests.support.scans import DAYS, MOMENTUM, store_bars
from tests.support.web import WebBox, make_settings

FIGURES: dict[str, Any] = {
    "definitions": [{"name": "ema-cross"}, {"name": "sma-cross"}], "begin": "2025-11-20", "end": "2026-11-20",
    "curve": {"total_return": 0.1234, "max_drawdown": -0.0567, "sharpe": -1.234}, "trades": {"count": 1234}, "tried": 24,
    "stamps": [{"tone": "warn", "message": "The universe is that of today."}],
}  # fmt: skip


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebBox]:
    with WebBox(make_settings(tmp_path_factory.mktemp("replays"))) as running:
        yield running


def write(box: WebBox, name: str, figures: object = None, page: str = "<h1>report</h1>") -> Path:
    folder = box.bridge.settings.replays_dir() / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.html").write_text(page)
    if figures is not None:
        (folder / "report.json").write_text(figures if isinstance(figures, str) else json.dumps(figures))
    return folder


def test_a_report_is_listed_with_its_figures_and_its_reservations(box: WebBox) -> None:
    write(box, "year", FIGURES)
    page = box.ask("GET", "/replays")
    assert_is_a_page(page)
    told = (
        "ema-cross and sma-cross",
        "+12.3%",
        "−5.7%",
        "−1.23",
        "1,234",
        "best of 24",
        "that of today",
        "2025-11-20 to 2026-11-20",
    )
    for text in told:
        assert text in page.text, text


def test_a_report_is_served_as_it_is_and_may_do_nothing(box: WebBox) -> None:
    """Its policy lets it bring a style, and no script, form, frame or address; the usual headers stay."""
    write(box, "bare", page="<style>b { color: red }</style><script>alert(1)</script>")
    answer = box.ask("GET", "/replays/bare")
    assert answer.status_code == 200
    assert answer.text.startswith("<style>")
    assert answer.headers.get_list("content-security-policy") == [POLICY]
    assert "sandbox" in POLICY
    assert "script-src" not in POLICY
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["x-frame-options"] == "DENY"


@settings(max_examples=40)
@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner) | st.dictionaries(st.sampled_from([*FIGURES, "count", "sharpe", "name", "message"]), inner)
        ),
    )
)
def test_figures_of_whatever_shape_make_a_page(box: WebBox, figures: object) -> None:
    """A file in a folder is no promise."""
    write(box, "odd", figures)
    assert_is_a_page(box.ask("GET", "/replays"))


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "\x00", '{"tried": 1e999}'])
def test_figures_that_cannot_be_read_are_dashes(box: WebBox, text: str) -> None:
    write(box, "broken", text)
    page = box.ask("GET", "/replays")
    assert_is_a_page(page)
    assert "broken" in page.text


def test_an_attack_in_the_figures_is_text(box: WebBox) -> None:
    write(box, "evil", {"definitions": [{"name": EVIL}], "begin": EVIL, "end": EVIL, "stamps": [{"message": EVIL}]})
    tags = assert_is_a_page(box.ask("GET", "/replays"))
    assert not any(attributes.get("src") == "x" for _tag, attributes in tags.found)


@pytest.mark.parametrize(
    "name",
    [
        "%2e%2e",
        "..%2fsecret",
        "%2e%2e%2fsecret",
        "linked",
        "secret",
        ".hidden",
        "linkedpage",
        "%00",
        "a%2f..%2fyear",
        "x" * 300,
    ],
)
def test_nothing_outside_of_the_folder_is_reached(box: WebBox, name: str) -> None:
    """Neither by dots nor by a link that lies in it."""
    root = box.bridge.settings.data_dir
    (root / "secret").mkdir(exist_ok=True)
    (root / "secret" / "report.html").write_text("the secret")
    folder = write(box, "year").parent
    write(box, ".hidden", page="the secret")
    (folder / "linkedpage").mkdir(exist_ok=True)
    for link, target in (
        (folder / "linked", root / "secret"),
        (folder / "linkedpage" / "report.html", root / "secret" / "report.html"),
    ):
        if not link.is_symlink():
            link.symlink_to(target)
    answer = box.ask("GET", f"/replays/{name}")
    assert answer.status_code == 404
    assert "the secret" not in answer.text
    assert "linked" not in box.ask("GET", "/replays").text


def test_without_a_report_the_page_says_so(tmp_path: Path) -> None:
    with WebBox(make_settings(tmp_path)) as fresh:
        page = fresh.ask("GET", "/replays")
        assert_is_a_page(page)
        assert "There is no report yet" in page.text


def test_what_the_command_writes_is_found_by_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a folder named, in one of its own in the data folder."""
    monkeypatch.setenv("BRIDGE_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("BRIDGE_DATABASE__URL", f"sqlite:///{tmp_path / 'bridge.db'}")
    store_bars(tmp_path / "bars.db", ["NSE:SBIN", "NSE:INFY"])
    file = tmp_path / "momentum.yaml"
    file.write_text(write_text({**MOMENTUM, "universe": ["NSE:SBIN", "NSE:INFY"]}))
    assert cli.main(["replay", "--definition", str(file), "--from", str(DAYS[-2]), "--to", str(DAYS[-1])]) == 0
    (found,) = find_reports(load_settings().replays_dir())
    assert found.name.endswith("-momentum")
    line = make_replay(found, datetime(2026, 11, 21, tzinfo=UTC))
    assert line.title == "momentum"
    assert line.span == f"{DAYS[-2]} to {DAYS[-1]}"
    assert line.total.text != NOTHING
