"""The pages of scans: what they show of a real evaluation, the buttons, the editor; and nothing of it becomes markup."""

import html
import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from bridge.core.definition import DefinitionRecord, Deployment
from bridge.core.enums import Action, Product, Source
from bridge.core.signal import Signal
from tests.support.pages import EVIL, assert_is_a_page, send, token_of
from tests.support.scans import CLOSED_AT, MOMENTUM, evaluate, show, store_bars
from tests.support.web import WebBox, make_settings

HOSTILE = "NSE:<script>alert(1)</script>"


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebBox]:
    """A definition that has seen bars, two of its symbols held; only looked at."""
    with WebBox(make_settings(tmp_path_factory.mktemp("scans"))) as running:
        show(running, MOMENTUM, {"NSE:SBIN": "60", "NSE:TCS": "14"})
        yield running


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebBox]:
    with WebBox(make_settings(tmp_path_factory.mktemp("shared"))) as running:
        yield running


@pytest.fixture
def box(shared: WebBox) -> Iterator[WebBox]:
    """A bridge without definitions; it is cheaper to forget what a test has made than to start another."""
    yield shared
    shared.bridge.scans.evaluations.clear()
    definitions = shared.bridge.scans.definitions
    for view in definitions.all():
        shared.run(definitions.disable(view.record.name, by="test"))
        shared.run(definitions.delete(view.record.name, by="test"))


def save(box: WebBox, **changes: Any) -> str:
    """The version of a definition that is saved."""
    return box.run(box.bridge.scans.definitions.save({**MOMENTUM, **changes}, by="test")).record.version


def stands(box: WebBox, name: str = "momentum") -> DefinitionRecord:
    view = box.bridge.scans.definitions.get(name)
    assert view is not None
    return view.record


def press(box: WebBox, step: str, version: str, **fields: str) -> int:
    answer = send(box, f"/scans/momentum/{step}", csrf=token_of(box), version=version, **fields)
    return answer.status_code


def text_of(answer: Any) -> str:
    return html.unescape(answer.text)


# --- what is shown ---


def test_the_list_tells_how_each_stands_and_what_can_be_added(seen: WebBox) -> None:
    page = seen.ask("GET", "/scans")
    assert_is_a_page(page)
    for text in ("momentum", "enabled", "paper", "2 entering, 2 leaving of 6", "15m bars", "20 Nov 15:30", "Not approved"):
        assert text in page.text, text
    assert 'href="/scans/new?from=ema-cross"' in page.text
    assert seen.ask("GET", "/parts/scans").text.strip() in page.text


def test_the_table_has_a_row_for_each_symbol_best_rank_first(seen: WebBox) -> None:
    """Each filter with its sign, the word for it, the numbers, and the reason."""
    page = seen.ask("GET", "/scans/momentum")
    assert_is_a_page(page)
    found = seen.bridge.scans.evaluations["momentum"]
    rows = re.findall(r'<tr id="symbol-([^"]+)">(.*?)</tr>', page.text, re.DOTALL)
    assert [html.unescape(symbol) for symbol, _row in rows] == [line.symbol for line in found.lines()]
    for (_symbol, row), line in zip(rows, found.lines(), strict=True):
        assert line.verdict.value in row
        assert html.escape(line.why) in row
        words = re.findall(r'<span class="unseen">(yes|no|unknown)</span>', row)
        assert words == [{True: "yes", False: "no", None: "unknown"}[check.passed] for check in line.checks]
    assert "turnover(20) > 10000000" in text_of(page)  # as it was written
    assert seen.ask("GET", "/parts/scans/momentum").text.strip() in page.text


def test_the_table_can_be_narrowed_down(seen: WebBox) -> None:
    """By links and a search that need no script."""
    inside = seen.ask("GET", "/scans/momentum?show=in").text
    assert set(re.findall(r'id="symbol-([^"]+)"', inside)) == {"NSE:RELIANCE", "NSE:M&amp;M", "NSE:SBIN", "NSE:TCS"}
    assert re.findall(r'id="symbol-([^"]+)"', seen.ask("GET", "/scans/momentum?find=baj").text) == ["NSE:BAJAJ-AUTO"]
    assert "No symbol is asked for" in seen.ask("GET", "/scans/momentum?find=nothing").text


@pytest.mark.parametrize("query", ["page=0", "page=99999999999", "page=x", "show=<b>", f"find={'A' * 5000}", "page=²"])
def test_an_address_that_asks_for_nonsense_is_answered(seen: WebBox, query: str) -> None:
    assert_is_a_page(seen.ask("GET", f"/scans/momentum?{query}"))


def test_many_symbols_come_in_pages(box: WebBox) -> None:
    """Five hundred on a phone: fifty at a time, each on exactly one page."""
    symbols = [f"NSE:S{number}" for number in range(120)]
    source = {**MOMENTUM, "universe": symbols}
    version = save(box, universe=symbols)
    bars = store_bars(box.bridge.settings.bars_file(), symbols[:1])
    assert version
    wide = type(bars)(bars.fields.repeat(120, axis=2), bars.days)
    box.bridge.scans.evaluations["momentum"] = evaluate(source, wide)
    pages = [re.findall(r'id="symbol-([^"]+)"', box.ask("GET", f"/scans/momentum?page={n}").text) for n in (1, 2, 3)]
    assert [len(page) for page in pages] == [50, 50, 20]
    assert sorted(symbol for page in pages for symbol in page) == sorted(symbols)


def test_a_symbol_is_explained_rule_by_rule_with_a_drawing(seen: WebBox) -> None:
    page = seen.ask("GET", "/scans/momentum/NSE:TCS")
    assert_is_a_page(page)
    found = seen.bridge.scans.evaluations["momentum"]
    line = found.line(found.symbols.index("NSE:TCS"))
    assert line.why in text_of(page)
    for check in line.checks:
        assert check.name in page.text
        for name, _value in check.values:
            assert name in text_of(page)
    assert page.text.count("<svg class=") == 2
    assert "ema(close, 50)" in re.findall(r'class="legend".*?</ul>', page.text, re.DOTALL)[0]
    assert seen.ask("GET", "/parts/scans/momentum/NSE:TCS").text.strip() in page.text


def test_a_symbol_links_to_the_signals_that_were_raised_for_it(box: WebBox) -> None:
    show(box, MOMENTUM)
    signal = Signal(
        strategy="demo", symbol="NSE:SBIN", action=Action.BUY, signal_at=box.clock.now(), accounts=("paper",),
        product=Product.MIS, quantity=Decimal(1),
        notes={"why": "rank 1 of 2", "definition": "momentum", EVIL: EVIL},
    )  # fmt: skip

    async def raise_it() -> str:
        return await box.bridge.pipeline.accept_own(signal, Source.SCAN, "scan momentum")

    answer = box.run(raise_it())
    assert f'href="/alerts/{answer}"' in box.ask("GET", "/scans/momentum/NSE:SBIN").text
    way = box.ask("GET", f"/alerts/{answer}")
    assert_is_a_page(way)
    for text in ("Why it was raised", "rank 1 of 2", 'href="/scans/momentum/NSE:SBIN"'):
        assert text in way.text
    assert "/alerts/0" not in box.ask("GET", "/scans/momentum/NSE:TCS").text


@pytest.mark.parametrize(
    "path", ["/scans/nobody", "/scans/momentum/NSE:NOPE", "/scans/momentum/versions?version=x", "/scans/new?from=../bridge"]
)
def test_what_is_not_there_is_a_page_that_says_so(seen: WebBox, path: str) -> None:
    assert_is_a_page(seen.ask("GET", path), 404)


def test_one_that_has_seen_no_bar_says_so(box: WebBox) -> None:
    save(box)
    assert "has looked at no bar" in box.ask("GET", "/scans/momentum").text
    assert_is_a_page(box.ask("GET", "/scans/momentum/NSE:SBIN"), 404)


# --- nothing of it becomes markup ---


def test_an_attack_in_a_definition_is_shown_and_does_nothing(box: WebBox) -> None:
    """In its note, the name of a filter, a symbol; on every page."""
    source = {**MOMENTUM, "note": EVIL, "universe": ["NSE:SBIN", HOSTILE], "filters": {EVIL: "close > sma(close, 5)"}}
    found = show(box, source, {HOSTILE: "5"})
    assert found.symbols[1] == HOSTILE
    pages = ("", "/momentum", "/momentum/edit", "/momentum/versions", "/momentum/NSE:%3Cscript%3Ealert(1)%3C%2Fscript%3E")
    for path in pages:
        tags = assert_is_a_page(box.ask("GET", f"/scans{path}"))
        assert not any(attributes.get("src") == "x" for _tag, attributes in tags.found), path
    assert EVIL in text_of(box.ask("GET", "/scans/momentum"))


def test_an_attack_in_the_editor_comes_back_as_text(box: WebBox) -> None:
    for text in (f"name: {EVIL}", f"</textarea>{EVIL}", "a: [" + EVIL, "{{ 7*7 }}"):
        answer = send(box, "/scans/new", csrf=token_of(box), text=text)
        tags = assert_is_a_page(answer, 422)
        assert not any(attributes.get("src") == "x" for _tag, attributes in tags.found)
        assert text in text_of(answer)


# --- the buttons ---


def test_the_buttons_lead_from_saved_to_deleted(box: WebBox) -> None:
    version = save(box)
    assert press(box, "enable", version) == 303
    assert stands(box).enabled
    assert press(box, "disable", version) == 303
    assert press(box, "approve", version) == 303
    assert stands(box).approved_by == "operator"
    assert "Approved by operator" in box.ask("GET", "/scans").text
    assert press(box, "delete", version) == 303
    assert box.bridge.scans.definitions.get("momentum") is None


def test_a_button_changes_only_the_version_that_was_shown(box: WebBox) -> None:
    old = save(box)
    new = save(box, size={"quantity": 5})
    for step in ("enable", "approve", "deploy", "delete"):
        assert press(box, step, old, deployment="live") == 409
    record = stands(box)
    assert (record.version, record.enabled, record.is_approved) == (new, False, False)


def test_live_is_refused_before_the_version_is_approved(box: WebBox) -> None:
    """The page offers no such button, and a form that is sent all the same changes nothing."""
    version = save(box)
    assert "Go live" not in box.ask("GET", "/scans").text
    assert press(box, "deploy", version, deployment="live") == 400
    assert press(box, "deploy", version, deployment="elsewhere") == 404
    assert stands(box).deployment is Deployment.PAPER


@pytest.mark.parametrize("path", ["/scans/new", "/scans/momentum/edit", "/scans/momentum/enable", "/scans/momentum/delete"])
def test_a_form_of_another_site_does_nothing(box: WebBox, path: str) -> None:
    version = save(box)
    for headers, csrf in (({"origin": "http://evil.example"}, token_of(box)), ({"origin": "http://127.0.0.1:8000"}, "x" * 43)):
        answer = send(box, path, headers=headers, csrf=csrf, version=version, text="name: a")
        assert_is_a_page(answer, 403)
    assert stands(box).version == version


# --- the editor ---


def shown_text(box: WebBox, path: str) -> str:
    found = re.search(r"<textarea[^>]*>\n(.*?)</textarea>", box.ask("GET", path).text, re.DOTALL)
    assert found
    return html.unescape(found[1])


def test_what_ships_is_looked_at_and_added(box: WebBox) -> None:
    text = shown_text(box, "/scans/new?from=ema-cross")
    assert text.startswith("# Long while")
    answer = send(box, "/scans/new", csrf=token_of(box), text=text.replace("\n", "\r\n"))
    assert (answer.status_code, answer.headers["location"]) == (303, "/scans/ema-cross/versions")
    assert not stands(box, "ema-cross").enabled
    again = send(box, "/scans/new", csrf=token_of(box), text=text)
    assert_is_a_page(again, 422)
    assert "already" in again.text


def test_an_edit_makes_a_version_that_differs_in_what_was_edited(box: WebBox) -> None:
    old = save(box)
    text = shown_text(box, "/scans/momentum/edit")
    send(box, "/scans/momentum/edit", csrf=token_of(box), text=text)
    assert stands(box).version == old  # nothing changed, nothing is saved
    send(box, "/scans/momentum/edit", csrf=token_of(box), text=text.replace("top: 2", "top: 1"))
    new = stands(box).version
    page = box.ask("GET", "/scans/momentum/versions")
    assert_is_a_page(page)
    assert re.findall(r'<p class="(?:up|down)"><span class="diff-sign">([+-])</span>(.*?)</p>', page.text) == [
        ("-", "top: 2"),
        ("+", "top: 1"),
    ]
    assert f"Approve {new}" in page.text
    assert "Approve" not in box.ask("GET", f"/scans/momentum/versions?version={old}").text
    back = box.ask("GET", f"/scans/momentum/versions?version={old}&against={new}")
    assert '<span class="diff-sign">+</span>top: 2' in back.text


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("ema(close, 50)", "emma(close, 50)", ("filters.trend", "emma is not a function", "line 7, column 18")),
        ("percent: 1", "percent: 500", ("exits.stop.percent", "500 is not below 100", "line 14, column 19")),
        ("score: roc(close, 25)", "score: [", ("no YAML", "line 12, column 5")),
        ("strategy: demo", "strategy: nobody", ("strategy", "no strategy nobody", "line 3, column 11")),
        ("interval: 15m", "interval: 15m\nmore: 1", ("more", "no such key", "line 6, column 7")),
        ("name: momentum", "name: other", ("name", "cannot be changed", "line 1, column 7")),
    ],
)
def test_what_is_wrong_is_shown_where_it_is(box: WebBox, old: str, new: str, told: tuple[str, ...]) -> None:
    save(box)
    text = shown_text(box, "/scans/momentum/edit")
    assert old in text
    answer = send(box, "/scans/momentum/edit", csrf=token_of(box), text=text.replace(old, new, 1))
    assert_is_a_page(answer, 422)
    for words in told:
        assert words in text_of(answer), (words, re.findall(r'role="alert">(.*?)</div>', answer.text, re.DOTALL))


def test_a_bomb_of_aliases_is_refused(box: WebBox) -> None:
    """A few lines that mean a billion values would fill the memory."""
    lines = ["a0: &a0 [x]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)), "note: *a11"]
    answer = send(box, "/scans/new", csrf=token_of(box), text="\n".join(lines))
    assert_is_a_page(answer, 422)
    assert "aliases" in answer.text


def test_the_closing_time_is_that_of_the_bar(seen: WebBox) -> None:
    assert CLOSED_AT.hour == 10
    assert "20 Nov 2026, 15:30 IST" in seen.ask("GET", "/scans/momentum").text
