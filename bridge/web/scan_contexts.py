"""What the pages of scans show: frozen values made from definitions, and from what each saw at the latest bar."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

from bridge.core.definition import Deployment
from bridge.core.views import AlertView
from bridge.definitions import DefinitionView
from bridge.web.contexts import AlertLine, Chip, make_alert
from bridge.web.text import MINUS, NOTHING, day_minute, quantity, short_time

if TYPE_CHECKING:
    from bridge.scanner.decide import Check, Evaluation, Line
    from bridge.scanner.definition import Definition

PER_PAGE = 50
VERDICTS: dict[str, Chip] = {
    "enter": Chip(text="enter", tone="good"),
    "hold": Chip(text="hold", tone="busy"),
    "leave": Chip(text="leave", tone="warn"),
    "out": Chip(text="out", tone="quiet"),
}
SHOWS = ("all", "in", "out")
_IN = ("enter", "hold", "leave")
# A sign, and its word for who hears the page. Colours only repeat it: a filter that fails is a pity, a rule that has nothing
# to say is the usual, and one that says to leave is not.
_SIGNS: dict[bool | None, tuple[str, str]] = {True: ("✓", "yes"), False: ("✗", "no"), None: ("?", "unknown")}
_TONES: dict[str, dict[bool | None, str]] = {
    "filter": {True: "up", False: "down"},
    "enter": {True: "up"},
    "leave": {True: "down"},
}
_RULES = {f"{side} {step}": (side, step) for side in ("long", "short") for step in ("enter", "leave")}
_CRORE, _LAKH = 1e7, 1e5
NOT_ASKED = "It has not been asked yet: no bar has closed since it was enabled."
NOT_ENABLED = "It is disabled, and has looked at no bar since the bridge started."


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """A button that asks before it acts. `fields` go with its form; `action` is where that is sent."""

    ident: str
    label: str
    tone: str
    action: str
    question: str
    confirm: str
    fields: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanCard:
    """A definition, how it stands and what it saw."""

    name: str
    version: str
    strategy: str
    note: str
    bars: str
    state: Chip
    place: Chip
    accounts: str
    approval: str
    is_approved: bool
    seen_at: str
    tally: str
    message: str
    trouble: str
    asks: tuple[Ask, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckCell:
    """A rule's answer in the table: the sign, and the first of the numbers that it compared."""

    sign: str
    word: str
    tone: str
    values: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SymbolLine:
    """One symbol in the table."""

    symbol: str
    href: str
    verdict: Chip
    rank: str
    score: str
    close: str
    held: str
    checks: tuple[CheckCell, ...]
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleHead:
    """A column of the table: the name of a filter or rule, and what it says."""

    name: str
    rule: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A link that narrows the table down."""

    text: str
    href: str
    is_here: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanTable:
    """What a definition saw at the latest bar, a page of it; `message` says why there is nothing."""

    seen_at: str
    message: str
    is_ranked: bool
    rules: tuple[RuleHead, ...]
    lines: tuple[SymbolLine, ...]
    choices: tuple[Choice, ...]
    pages: tuple[Choice, ...]
    shown: str
    find: str
    src: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleLine:
    """A rule on the page of one symbol, with every number that it compared."""

    name: str
    rule: str
    sign: str
    word: str
    tone: str
    values: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SymbolPage:
    """One symbol, explained."""

    symbol: str
    verdict: Chip
    why: str
    seen_at: str
    rank: str
    score: str
    close: str
    held: str
    age: str
    version: str
    rules: tuple[RuleLine, ...]
    alerts: tuple[AlertLine, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Narrowing:
    """Which symbols are asked for: `show` one of SHOWS, `find` a part of the symbol, `page` from 1."""

    show: str = "all"
    find: str = ""
    page: int = 1

    def query(self) -> str:
        """As the address tells it; empty for the usual."""
        told = {"show": self.show if self.show != "all" else "", "find": self.find, "page": self.page if self.page > 1 else ""}
        text = urlencode({name: value for name, value in told.items() if value})
        return f"?{text}" if text else ""


def read_narrowing(query: Mapping[str, str]) -> Narrowing:
    """What an address asks for; what it does not say, or says wrongly, is the usual."""
    page = query.get("page", "")
    return Narrowing(
        show=show if (show := query.get("show", "")) in SHOWS else "all",
        find=query.get("find", "").upper()[:40].strip(),
        page=max(1, int(page)) if page.isascii() and page.isdecimal() and len(page) < 4 else 1,
    )


# --- the list ---------------------------------------------------------------------------------------------------------


def make_card(view: DefinitionView, evaluation: "Evaluation | None", now: datetime, waits_for: str = "") -> ScanCard:
    """The card of a definition; `waits_for` is what keeps it from its next bar."""
    record, source = view.record, view.source
    is_live = record.deployment is Deployment.LIVE
    return ScanCard(
        name=record.name,
        version=record.version,
        strategy=record.strategy,
        note=view.note,
        bars=f"{source.get('interval', '1d')} bars, {_cadence(str(source.get('cadence', 'bar')))}",
        state=Chip(text="enabled", tone="good") if record.enabled else Chip(text="disabled", tone="quiet"),
        place=Chip(text="live", tone="bad") if is_live else Chip(text="paper", tone="quiet"),
        accounts=", ".join(view.accounts) or "no account",
        approval=approval_of(view, now),
        is_approved=record.is_approved,
        seen_at=_bar_of(evaluation, now) if evaluation else NOTHING,
        tally=tally(evaluation),
        message="" if evaluation else (NOT_ASKED if record.enabled else NOT_ENABLED),
        trouble=f"{waits_for[:1].upper()}{waits_for[1:]}" if record.enabled else "",
        asks=make_asks(view),
    )


def approval_of(view: DefinitionView, now: datetime) -> str:
    """Who let the version that stands trade live accounts, and when."""
    record = view.record
    if record.is_approved and record.approved_at is not None:
        return f"Approved by {record.approved_by}, {short_time(record.approved_at, now)}"
    if record.approved_version:
        return f"Not approved: what was approved is {record.approved_version}"
    return "Not approved for live accounts"


def _bar_of(evaluation: "Evaluation", now: datetime | None = None) -> str:
    """The latest bar: a day's by its date, another by its close, which is told in short where `now` is given."""
    if evaluation.day is not None:
        return f"{evaluation.day:%-d %b %Y}"
    return day_minute(evaluation.at) if now is None else short_time(evaluation.at, now)


def tally(evaluation: "Evaluation | None") -> str:
    """How many are held, enter and leave."""
    if evaluation is None:
        return NOTHING
    found = Counter(evaluation.verdict(place).value for place in range(len(evaluation.symbols)))
    words = ((found["hold"], "held"), (found["enter"], "entering"), (found["leave"], "leaving"))
    told = ", ".join(f"{count} {word}" for count, word in words if count)
    return f"{told or 'none in'} of {len(evaluation.symbols)}"


def _cadence(text: str) -> str:
    return "at every bar" if text == "bar" else text


def make_asks(view: DefinitionView) -> tuple[Ask, ...]:
    """The buttons that its state allows; for live ones the question names the accounts."""
    record = view.record
    is_live = record.deployment is Deployment.LIVE
    where = f"live accounts ({', '.join(view.accounts) or 'none'}): real money" if is_live else "paper accounts"
    asks = []
    if record.enabled:
        question = f"From the next bar on {record.name} raises nothing, exits neither. What it holds stays as it is."
        asks.append(_ask(view, "disable", "Disable", "warn", question, "Disable now"))
    elif record.is_approved or not is_live:
        question = f"From the next closed bar on {record.name} {record.version} sends its signals to {where}."
        asks.append(_ask(view, "enable", "Enable", "bad" if is_live else "good", question, "Enable now"))
    if is_live:
        asks.append(_deploy(view, "paper", "To paper", "accent", "From now on its signals go to paper accounts."))
    elif record.is_approved:
        question = f"From now on the signals of {record.name} {record.version} go to live accounts: real money."
        asks.append(_deploy(view, "live", "Go live", "bad", question))
    if not record.enabled:
        question = f"{record.name} is forgotten. Its versions and what it did are kept; what it holds stays as it is."
        asks.append(_ask(view, "delete", "Delete", "bad", question, "Delete now"))
    return tuple(asks)


def _ask(view: DefinitionView, step: str, label: str, tone: str, question: str, confirm: str) -> Ask:
    name = view.record.name
    # What was shown is what is changed: another version that was saved meanwhile is not.
    fields = (("version", view.record.version),)
    return Ask(
        ident=f"{step}-{name}", label=label, tone=tone, action=f"/scans/{name}/{step}", question=question, confirm=confirm,
        fields=fields,
    )  # fmt: skip


def _deploy(view: DefinitionView, where: str, label: str, tone: str, question: str) -> Ask:
    name, fields = view.record.name, (("version", view.record.version), ("deployment", where))
    return Ask(
        ident=f"deploy-{name}", label=label, tone=tone, action=f"/scans/{name}/deploy", question=question,
        confirm=f"{label} now", fields=fields,
    )  # fmt: skip


# --- the table --------------------------------------------------------------------------------------------------------


def make_table(view: DefinitionView, evaluation: "Evaluation | None", narrowing: Narrowing) -> ScanTable:
    """A page of the symbols that are asked for: the best first where there is a rank, else in the order of the universe."""
    name = view.record.name
    if evaluation is None:
        message = NOT_ASKED if view.record.enabled else NOT_ENABLED
        return ScanTable(
            seen_at=NOTHING, message=message, is_ranked=False, rules=(), lines=(), choices=(), pages=(), shown="",
            find=narrowing.find, src=f"/parts/scans/{name}{narrowing.query()}",
        )  # fmt: skip
    by_show = {show: _places(evaluation, show) for show in SHOWS}
    found = [place for place in by_show[narrowing.show] if narrowing.find in evaluation.symbols[place].upper()]
    pages = max(1, -(-len(found) // PER_PAGE))
    page = min(narrowing.page, pages)
    lines = [evaluation.line(place) for place in found[(page - 1) * PER_PAGE : page * PER_PAGE]]
    checks = lines[0].checks if lines else ()
    first = (page - 1) * PER_PAGE + 1
    return ScanTable(
        seen_at=_bar_of(evaluation),
        message="" if lines else "No symbol is asked for.",
        is_ranked=evaluation.definition.is_ranked,
        rules=tuple(RuleHead(name=check.name, rule=as_written(evaluation.definition, check)) for check in checks),
        lines=tuple(make_line(name, line) for line in lines),
        choices=tuple(_choice(name, show, len(by_show[show]), narrowing) for show in SHOWS),
        pages=tuple(_pages(name, narrowing, page, pages)),
        shown=f"{first} to {first + len(lines) - 1} of {len(found)}" if lines else "",
        find=narrowing.find,
        src=f"/parts/scans/{name}{narrowing.query()}",
    )


def _places(evaluation: "Evaluation", show: str) -> list[int]:
    wanted = {"all": tuple(VERDICTS), "in": _IN, "out": ("out",)}[show]
    return [place for place in evaluation.order() if evaluation.verdict(place).value in wanted]


def _choice(name: str, show: str, count: int, narrowing: Narrowing) -> Choice:
    words = {"all": "All", "in": "In", "out": "Out"}
    query = Narrowing(show=show, find=narrowing.find).query()
    return Choice(text=f"{words[show]} {count}", href=f"/scans/{name}{query}", is_here=show == narrowing.show)


def _pages(name: str, narrowing: Narrowing, page: int, pages: int) -> Iterable[Choice]:
    for number in range(1, pages + 1) if pages > 1 else ():
        query = Narrowing(show=narrowing.show, find=narrowing.find, page=number).query()
        yield Choice(text=str(number), href=f"/scans/{name}{query}", is_here=number == page)


def make_line(name: str, line: "Line") -> SymbolLine:
    """A symbol in the table."""
    return SymbolLine(
        symbol=line.symbol,
        href=f"/scans/{name}/{quote(line.symbol, safe=':')}",
        verdict=VERDICTS[line.verdict.value],
        rank=NOTHING if line.rank is None else str(line.rank),
        score=number(line.score),
        close=price_text(line.close),
        held=units(line.held),
        checks=tuple(_cell(check) for check in line.checks),
        why=line.why,
    )


def _cell(check: "Check") -> CheckCell:
    sign, word = _SIGNS[check.passed]
    return CheckCell(
        sign=sign, word=word, tone=_tone(check), values=" · ".join(number(value) for _name, value in check.values[:2])
    )


# --- one symbol -------------------------------------------------------------------------------------------------------


def make_symbol(evaluation: "Evaluation", line: "Line", alerts: Sequence[AlertView], now: datetime) -> SymbolPage:
    """Everything there is to say of one symbol."""
    return SymbolPage(
        symbol=line.symbol,
        verdict=VERDICTS[line.verdict.value],
        why=line.why,
        seen_at=_bar_of(evaluation),
        rank=NOTHING if line.rank is None else str(line.rank),
        score=exact(line.score),
        close=price_text(line.close),
        held=units(line.held) or "nothing",
        age="at this bar" if line.age == 0 else NOTHING if line.age >= 1 << 30 else f"{line.age} bars ago",
        version=evaluation.definition.version,
        rules=tuple(_rule(evaluation.definition, check) for check in line.checks),
        alerts=tuple(make_alert(view, (), now) for view in alerts),
    )


def _rule(definition: "Definition", check: "Check") -> RuleLine:
    sign, word = _SIGNS[check.passed]
    values = tuple((name, exact(value)) for name, value in check.values)
    rule = as_written(definition, check)
    return RuleLine(name=check.name, rule=rule, sign=sign, word=word, tone=_tone(check), values=values)


def as_written(definition: "Definition", check: "Check") -> str:
    """A rule in its author's own words: what it was read as spells every shorthand out."""
    side, step = _RULES.get(check.name, ("filters", check.name))
    part = definition.source.get(side)
    written = part.get(step) if isinstance(part, Mapping) else None
    return written if isinstance(written, str) else check.rule


def _tone(check: "Check") -> str:
    kind = _RULES.get(check.name, ("", "filter"))[1]
    return _TONES[kind].get(check.passed, "flat")


# --- numbers ----------------------------------------------------------------------------------------------------------


def number(value: float | None) -> str:
    """A number at a glance: crores and lakhs where it is large, two decimals, more where it is small."""
    if value is None or not math.isfinite(value):
        return NOTHING
    size = abs(value)
    if size >= _CRORE:
        text = f"{size / _CRORE:,.2f} cr"
    elif size >= _LAKH:
        text = f"{size / _LAKH:.2f} lakh"
    else:
        text = f"{size:,.2f}" if size >= 1 or not size else f"{size:.4g}"
    return f"{MINUS}{text}" if value < 0 else text


def exact(value: float | None) -> str:
    """The same to six decimals, none of them a zero at the end."""
    if value is None or not math.isfinite(value):
        return NOTHING
    text = f"{abs(value):,.6f}".rstrip("0").rstrip(".")
    return f"{MINUS}{text}" if value < 0 else text


def price_text(value: float) -> str:
    """A price."""
    return f"{value:,.2f}" if math.isfinite(value) else NOTHING


def units(value: Decimal) -> str:
    """What is held, empty for nothing."""
    return quantity(value) if value else ""
