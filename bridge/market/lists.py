"""Lists: the folder of dated instrument lists; a broker's dump becomes one only when it can be trusted.

`python -m bridge.market.lists` does the reading, in a process of its own: that takes seconds of processor and memory that
the bridge has not to spare.
"""

import hashlib
import json
import os
import sqlite3
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

from bridge.core.errors import ConfigError
from bridge.core.instrument import Instrument
from bridge.market.dump_rows import ListError, Reading
from bridge.market.instruments import read_list
from bridge.market.listing import ListFacts, Listing, ListWriter, open_listing

KEEP_LISTS = 3
NEEDED_EXCHANGES = frozenset({"NSE"})
# The real dump has about a hundred thousand rows.
LEAST_ROWS = 20_000
# Beyond this part of its rows being unusable the columns have changed their meaning, or the file is broken.
LEFT_OUT_PART = 1_000
# A broker may keep a few contracts beyond their day; a list of an earlier day has all that ended since: hundreds.
EXPIRED_PART = 200
_PATTERN = "[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9].db"


@dataclass(frozen=True, slots=True, kw_only=True)
class Taking:
    """A dump to be made the list of `day`; `former` is the list in use, a CSV or one of ours."""

    dump: str
    folder: str
    former: str
    source: str
    day: str
    fetched_on: str
    least_rows: int = LEAST_ROWS


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What became of a dump; `left_out` are rows that could not be used, `first` why the first of them was."""

    file: str
    rows: int
    left_out: int
    first: str

    def __str__(self) -> str:
        spared = f"; {self.left_out} rows cannot be used ({self.first})" if self.left_out else ""
        return f"{self.rows - self.left_out} instruments{spared}"


def newest_list(folder: Path) -> Path | None:
    """The newest list that was taken, if any."""
    return max(folder.glob(_PATTERN), default=None)


def open_newest(folder: Path, file: Path) -> Listing:
    """The newest list that can be read, else the one of the settings; ConfigError when that cannot be read either."""
    for path in sorted(folder.glob(_PATTERN), reverse=True):
        try:
            return open_listing(path)
        except ListError:
            continue  # of another version of the bridge, or damaged: the one before it is the next best
    return read_list(file)


def take_dump(taking: Taking) -> Taken:
    """Read and check a dump, and put it in place by one rename; ListError says why not, and nothing has changed then.

    A file of its own and not a table of the store: a hundred thousand rows a day would swell the database, its backups and
    its log, and a reader of the old file keeps reading it until it lets go.
    """
    folder, dump, day = Path(taking.folder), Path(taking.dump), date.fromisoformat(taking.day)
    former = _former(Path(taking.former))
    facts = ListFacts(source=taking.source, day=day, fetched_on=date.fromisoformat(taking.fetched_on), digest=_digest(dump))
    _check_is_new(facts, former.facts)
    fresh, final = folder / f".{os.getpid()}.fresh", folder / f"{taking.day}.db"
    fresh.unlink(missing_ok=True)
    try:
        reading = _write(dump, fresh, facts, former, taking.least_rows)
        _sync(fresh)
        fresh.replace(final)
        _sync(folder)
    finally:
        fresh.unlink(missing_ok=True)
    for old in sorted(folder.glob(_PATTERN))[:-KEEP_LISTS]:
        old.unlink(missing_ok=True)
    return Taken(file=str(final), rows=reading.rows, left_out=reading.left_out, first=reading.first)


def _former(path: Path) -> Listing:
    return open_listing(path) if path.suffix == ".db" else read_list(path)


def _check_is_new(new: ListFacts, former: ListFacts) -> None:
    """The same bytes as a list that was fetched before the trading day began are that list again."""
    if new.day is None or former.fetched_on is None or new.digest != former.digest:
        return
    if former.fetched_on < new.day:
        raise ListError(f"the broker still gives the list that was fetched on {former.fetched_on}; try again later")


def _write(dump: Path, fresh: Path, facts: ListFacts, former: Listing, least_rows: int) -> Reading:
    reading, check = Reading(file="the dump"), _Check()
    if former.facts.day is not None:  # a dump, and whatever is half of it is not the whole of the next one
        least_rows = max(least_rows, len(former) // 2)
    connection = sqlite3.connect(fresh, isolation_level=None)
    try:
        with dump.open(encoding="utf-8", errors="surrogateescape", newline="") as lines:
            ListWriter(connection).write(check.watch(reading.read(lines), facts.day or date.min), facts, former)
    except sqlite3.Error as error:
        raise ListError(f"the list cannot be written ({error})") from None
    finally:
        connection.close()
    check.check(reading, least_rows)
    return reading


class _Check:
    """What must hold of a dump as a whole."""

    def __init__(self) -> None:
        self._exchanges: set[str] = set()
        self._contracts = 0
        self._expired = 0
        self._example = ""

    def watch(self, items: Iterator[Instrument], day: date) -> Iterator[Instrument]:
        """The items, counted as they pass."""
        for item in items:
            self._exchanges.add(item.exchange)
            if item.expiry is not None:
                self._contracts += 1
                if item.expiry < day:
                    self._expired += 1
                    self._example = self._example or f"{item.symbol} ended on {item.expiry}"
            yield item

    def check(self, reading: Reading, least_rows: int) -> None:
        """ListError when the dump is too short, spoilt or old."""
        if reading.rows < least_rows:
            raise ListError(f"the dump has {reading.rows} rows, fewer than the {least_rows} that a whole one has at least")
        if reading.left_out * LEFT_OUT_PART > reading.rows:
            raise ListError(f"{reading.left_out} of {reading.rows} rows of the dump cannot be used; {reading.first}")
        if missing := NEEDED_EXCHANGES - self._exchanges:
            raise ListError(f"the dump has nothing of {' and '.join(sorted(missing))}")
        if self._expired * EXPIRED_PART > self._contracts:
            raise ListError(f"the dump is an old one: {self._expired} contracts have expired ({self._example})")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def encode_taking(taking: Taking) -> str:
    """For the command line of the process that does it."""
    return json.dumps(asdict(taking))


def decode_answer(text: str) -> Taken:
    """What that process said; ListError with its reason, or that it said nothing."""
    try:
        told = json.loads(text)
        if "refused" in told:
            raise ListError(str(told["refused"]))
        return Taken(**told)
    except (ValueError, TypeError):
        raise ListError("the dump could not be read: the process that read it ended early") from None


def main() -> None:
    """Take the dump that the one argument describes, and tell what came of it."""
    os.nice(10)
    try:
        answer: dict[str, object] = asdict(take_dump(Taking(**json.loads(sys.argv[1]))))
    except (ListError, ConfigError, OSError) as error:
        answer = {"refused": str(error)}
    sys.stdout.write(json.dumps(answer))


if __name__ == "__main__":
    main()
