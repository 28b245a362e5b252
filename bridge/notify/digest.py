"""A digest: what is new for a channel as one message, the most pressing first; what was told lately is only counted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from bridge.core.clock import IST
from bridge.core.news import News, NewsKind

MAX_LINES = 10
# Discord's messages end at 2,000 characters, Telegram's at 4,096; the time, the end and the page need some.
MAX_CHARS = 1_600
MAX_REMEMBERED = 1_000
_ORDER = {kind: place for place, kind in enumerate(NewsKind)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A text that was told: when last, how often it came again since, and the latest of those."""

    at: datetime
    again: int
    latest: News


Memory = Mapping[str, Told]


@dataclass(frozen=True, slots=True, kw_only=True)
class Digest:
    """A message, empty when there is nothing to say; `memory` holds once it was sent."""

    title: str
    lines: tuple[str, ...]
    pressing: bool
    memory: Memory

    def body(self, page: str) -> str:
        """The message with the address of the status page."""
        return "\n".join((*self.lines, page))


def make_digest(news: Sequence[News], memory: Memory, now: datetime, window: timedelta) -> Digest:
    """What to tell of `news`, and of repetitions whose window is over."""
    told = dict(memory)
    fresh: list[tuple[News, str]] = []
    for text, before in memory.items():
        if now - before.at >= window:
            del told[text]
            if before.again:
                fresh.append((before.latest, _again(before)))
                told[text] = Told(at=now, again=0, latest=before.latest)
    for one in news:
        known = told.get(one.text)
        if not one.may_storm:
            fresh.append((one, ""))
        elif known is None:
            fresh.append((one, ""))
            told[one.text] = Told(at=now, again=0, latest=one)
        else:
            told[one.text] = Told(at=known.at, again=known.again + 1, latest=one)
    fresh.sort(key=lambda item: (_ORDER[item[0].kind], item[0].seq))
    return Digest(
        title=_title([one for one, _note in fresh]),
        lines=_lines(fresh),
        pressing=any(one.is_pressing for one, _note in fresh),
        memory=dict(list(told.items())[-MAX_REMEMBERED:]),
    )


def _again(told: Told) -> str:
    often = "once" if told.again == 1 else f"{told.again} times"
    return f" (again {often} since {told.at.astimezone(IST):%H:%M})"


def _title(news: Sequence[News]) -> str:
    counts = {kind: sum(one.kind is kind for one in news) for kind in NewsKind}
    return "Bridge: " + ", ".join(f"{count} × {kind}" if count > 1 else kind.value for kind, count in counts.items() if count)


def _lines(fresh: Sequence[tuple[News, str]]) -> tuple[str, ...]:
    room = MAX_CHARS // min(max(len(fresh), 4), MAX_LINES)
    lines = [_line(one, note, room) for one, note in fresh[:MAX_LINES]]
    if len(fresh) > MAX_LINES:
        lines.append(f"… and {len(fresh) - MAX_LINES} more; the status page has them all.")
    return tuple(lines)


def _line(one: News, note: str, room: int) -> str:
    room -= len(note)
    text = one.text if len(one.text) <= room else one.text[: room - 1] + "…"
    return f"{one.at.astimezone(IST):%d %b %H:%M:%S} {text}{note}"
