"""Doubts: what the data doctor finds in the bars of a replay, and which of them no entry may be made by."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from bridge.core.bar import Interval
from bridge.market.bars.doctor import Doctor
from bridge.market.bars.findings import Complaint, Verdict
from bridge.replay.history import History
from bridge.replay.report import Stamp
from bridge.replay.run import Plan
from bridge.scanner.programs import warm_begin

# No fault of a series in the past: without a bar nothing is entered anyhow, and to leave out who will be gone one day, as a
# share that is delisted, would be to know the future: survivors look better than what one could have bought.
HARMLESS = frozenset({Complaint.NO_BARS, Complaint.STALE})
NAMED = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """What was found in the bars that definitions of `interval` look at, stored as bars of `kind`."""

    interval: Interval
    kind: Interval
    begin: date
    end: date
    verdicts: Mapping[str, Verdict]

    @property
    def doubted(self) -> dict[str, str]:
        """The symbols whose bars no scan may trust, with the reasons."""
        return {
            symbol: one.reason
            for symbol, one in self.verdicts.items()
            if any(_is_grave(each.complaint) for each in one.findings)
        }


def examine(plan: Plan, history: History, doctor: Doctor) -> list[Examined]:
    """Have every series of a replay examined as a whole, from the bars that warm up to its last day."""
    found = []
    wanted: dict[tuple[Interval, Interval], dict[str, None]] = {}
    for one in plan.definitions:
        symbols = plan.symbols[one.name]
        wanted.setdefault((one.interval, history.kind(one.interval, symbols)), {}).update(dict.fromkeys(symbols))
    for (interval, kind), names in wanted.items():
        begin = warm_begin(interval, plan.begin)
        verdicts = doctor.examine(kind, list(names), begin, plan.end)
        found.append(Examined(interval=interval, kind=kind, begin=begin, end=plan.end, verdicts=verdicts))
    return found


def untrusted_of(examined: Sequence[Examined]) -> dict[Interval, dict[str, str]]:
    """By interval, the symbols that no definition of such bars may enter."""
    found: dict[Interval, dict[str, str]] = {}
    for one in examined:
        found.setdefault(one.interval, {}).update(one.doubted)
    return found


def doubt_stamps(examined: Sequence[Examined], *, is_ignored: bool) -> list[Stamp]:
    """What has to be known of the bars before any figure."""
    doubted = sorted({symbol for one in examined for symbol in one.doubted})
    every = sum(len(one.verdicts) for one in examined)
    if not doubted:
        return [Stamp(tone="quiet", message=f"The data doctor examined {every} series of bars and doubts none.")]
    names = ", ".join(doubted[:NAMED]) + (f" and {len(doubted) - NAMED} more" if len(doubted) > NAMED else "")
    told = "they were traded all the same, as it was asked for" if is_ignored else "they were neither ranked nor entered"
    return [Stamp(tone="warn", message=f"The data doctor doubts these bars; {told}: {names}.")]


def doubt_rows(examined: Sequence[Examined], *, is_ignored: bool) -> dict[str, Any]:
    """What the report tells of it."""
    return {
        "ignored": is_ignored,
        "examined": [
            {"interval": one.kind.value, "symbols": len(one.verdicts), "begin": f"{one.begin}", "end": f"{one.end}"}
            for one in examined
        ],
        "findings": [
            {"interval": one.kind.value, "symbol": symbol, "complaint": finding.complaint.value, "message": finding.message,
             "is_grave": _is_grave(finding.complaint)}
            for one in examined for symbol, verdict in one.verdicts.items() for finding in verdict.findings
        ],
    }  # fmt: skip


def _is_grave(complaint: Complaint) -> bool:
    return complaint.is_grave and complaint not in HARMLESS
