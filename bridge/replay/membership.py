"""Membership: who belongs to a universe on which day of a replay, and how far that is what one could have known then."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import groupby
from typing import Any

from bridge.core.universe import Members
from bridge.replay.report import Stamp
from bridge.scanner.programs import Outside

# So many lists that stood in are told one by one.
MAX_TOLD = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Days of trading, `first` to `last`, with the same members."""

    members: Members
    first: date
    last: date
    days: int


def spans_of(found: Sequence[Members], days: Sequence[date]) -> list[Span]:
    """The members on each of these days, of which a list holds until the next one begins; both rise."""
    spans: list[Span] = []
    for members, until in zip(found, [*(one.day for one in found[1:]), date.max], strict=True):
        own = [day for day in days if members.day <= day < until]
        if own:
            spans.append(Span(members=members, first=own[0], last=own[-1], days=len(own)))
    return spans


def everybody(spans: Sequence[Span]) -> tuple[str, ...]:
    """All that belong on any of the days, in the order in which they joined."""
    return tuple(dict.fromkeys(symbol for span in spans for symbol in span.members.symbols))


def outside_of(spans: Sequence[Span]) -> Outside:
    """Who of them does not belong, from each span on; nothing when it never changes."""
    names = frozenset(everybody(spans))
    found = tuple((span.first, names.difference(span.members.symbols)) for span in spans)
    return found if any(out for _day, out in found) else ()


def membership_rows(spans: Sequence[Span]) -> list[dict[str, Any]]:
    """What the report tells of each span: how it is known, and who came and went since the one before."""
    rows, before = [], set[str]()
    for span in spans:
        now = set(span.members.symbols)
        rows.append(
            {
                "begin": span.first.isoformat(), "end": span.last.isoformat(), "days": span.days, "members": len(now),
                "point_in_time": span.members.point_in_time.value, "source": span.members.source,
                "came": sorted(now - before) if before else [], "went": sorted(before - now),
            }
        )  # fmt: skip
        before = now
    return rows


def membership_stamps(universe: str, spans: Sequence[Span]) -> list[Stamp]:
    """What has to be known of a universe before any figure: which list stood in for which days, and what that does."""
    groups = [list(group) for _listed_on, group in groupby(spans, key=lambda span: span.members.listed_on)]
    strange = [group for group in groups if group[0].members.listed_on is not None]
    later = [group for group in strange if _is_hindsight(group[0])]
    older = [group for group in strange if not _is_hindsight(group[0])]
    told = [
        f"{_begin(universe, group)} the list of {group[0].members.listed_on} stood in, which nobody had then: whoever fell out "
        "before is missing, and results look better than they would have been."
        for group in later
    ]
    if len(older) > MAX_TOLD:
        days = sum(span.days for group in older for span in group)
        told.append(
            f"{_begin(universe, [older[0][0], older[-1][-1]])} older lists stood in on {days} days; the table tells which."
        )
    else:
        told += [
            f"{_begin(universe, group)} the list of {group[0].members.listed_on} stood in: who came or went since is not known."
            for group in older
        ]
    return [Stamp(tone="warn", message=message) for message in told] + list(_known(universe, spans))


def _is_hindsight(span: Span) -> bool:
    return span.members.listed_on is not None and span.members.listed_on > span.first


def _begin(universe: str, spans: Sequence[Span]) -> str:
    return f"Universe {universe}, {spans[0].first} to {spans[-1].last}: the members of these days were not written down;"


def _known(universe: str, spans: Sequence[Span]) -> Iterator[Stamp]:
    """The days whose own list there is, and that members change."""
    known, every = sum(span.days for span in spans if not span.members.listed_on), sum(span.days for span in spans)
    rows = membership_rows(spans)
    came, went = (sum(len(row[name]) for row in rows) for name in ("came", "went"))
    moved = f" After the first, {came} joined and {went} left: each day has its own." if came or went else ""
    if known:
        part = "all" if known == every else f"{known} of {every}"
        yield Stamp(
            tone="quiet", message=f"Universe {universe}: the members of {part} days were written down at the time.{moved}"
        )
    elif moved:
        yield Stamp(tone="quiet", message=f"Universe {universe}:{moved}")
