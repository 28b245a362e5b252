"""What is measured, and how a round goes: every row once, side by side, the order turned round from one to the next."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.bench.bodies import Recipe
from tests.bench.setting import (
    Mark,
    Place,
    WrongError,
    check,
    make_place,
    make_token,
    mark_of,
    times_to_end,
    tradable,
    wait_until_ended,
)
from tests.bench.stats import rate, spread_of

WEBHOOK = "/webhook/tradingview"
MARGIN_S = 90.0
# Two halves of the list of shares: those of the acknowledgements stay flat, so that their exits find nothing to close.
FLAT, TRADED = slice(0, 25), slice(25, 50)


@dataclass(frozen=True, kw_only=True)
class Size:
    """How much is sent."""

    rounds: int
    noop: int
    ack: int
    full: int
    warm: int
    open_loop_s: int
    history: int


NORMAL = Size(rounds=3, noop=25_000, ack=12_000, full=6_000, warm=600, open_loop_s=10, history=1_000_000)
QUICK = Size(rounds=1, noop=15_000, ack=6_000, full=3_000, warm=600, open_loop_s=4, history=100_000)
OPEN_RATE = 1_000


Kind = tuple[str, list[str], list[list[str]]]  # token, actions, symbols with prices


@dataclass(frozen=True, kw_only=True)
class Burst:
    """A closed-loop run: seconds until the last answer and until the last alert had ended, and of processor time."""

    answered_s: float
    ended_s: float
    cpu_s: float


@dataclass
class Results:
    """By row and round: requests or alerts per second, and the server's microseconds of processor time for each.

    Processor time tells the rows apart where other work on the machine blurs the rates.
    """

    rates: dict[str, list[float]] = field(default_factory=dict)
    cpu_us: dict[str, list[float]] = field(default_factory=dict)
    spreads: dict[str, dict[str, float]] = field(default_factory=dict)
    checks: dict[str, dict[str, int]] = field(default_factory=dict)
    facts: dict[str, float] = field(default_factory=dict)

    def add(self, row: str, count: int, seconds: float, cpu_s: float) -> None:
        """One more round of a row: so many in so long, for so much of the server's processor time."""
        self.rates.setdefault(row, []).append(rate(count, seconds))
        self.cpu_us.setdefault(row, []).append(cpu_s / count * 1e6)


class Served:
    """A server process that takes requests."""

    def __init__(self, process: "subprocess.Popen[str]", out: Path | None):
        self._process = process
        self._out = out
        line = process.stdout.readline() if process.stdout else ""
        if not line:
            raise WrongError("the server under test did not start; its own words are above")
        self.port = int(json.loads(line)["port"])

    def cpu_s(self) -> float:
        """Processor seconds that the server has used so far, all threads together."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self) -> list[float]:
        """End it in good order; the seconds from alert to broker call that it saw."""
        self._process.terminate()
        self._process.wait(MARGIN_S)
        return json.loads(self._out.read_text()) if self._out is not None and self._out.exists() else []

    def kill(self) -> None:
        """End it in any case."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()


@contextmanager
def serving(app: str, place: Place | None = None) -> Iterator[Served]:
    """A server under test for as long as the block runs."""
    out = place.folder / "calls.json" if place is not None else None
    command = [sys.executable, "-m", "tests.bench.serving", app, *(["--out", str(out)] if out else [])]
    environment = place.environment() if place is not None else None
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        served = Served(process, out)
        try:
            yield served
        finally:
            served.kill()


def send(
    port: int, recipe: Recipe, count: int, *, per_second: float | None = None, skipped: int = 0, path: str = WEBHOOK
) -> dict[str, Any]:
    """Have a load generator send so many; every answer must be a 200."""
    job = {
        "port": port, "path": path, "count": count, "recipe": asdict(recipe), "per_second": per_second, "skipped": skipped,
    }  # fmt: skip
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(job, file)
        file.flush()
        command = [sys.executable, "-m", "tests.bench.load", file.name]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=MARGIN_S)
    told: dict[str, Any] = json.loads(done.stdout)
    if told["statuses"] != {"200": count}:
        raise WrongError(f"not every answer was a 200: {told['statuses']}")
    return told


class Bench:
    """The rows of the table, over folders in `root`."""

    def __init__(self, root: Path, size: Size, writer: str, history: Place | None):
        self.size = size
        self.results = Results()
        self._root = root
        self._writer = writer
        self._history = history
        self._sent = 0
        self._number = 0

    def run(self) -> Results:
        """Every round, then what is measured once."""
        for number in range(self.size.rounds):
            steps = [self.empty, self.noop, self.careful, *([self.past] if self._history else [])]
            self.noop()
            for step in steps if number % 2 == 0 else reversed(steps):
                step()
            self.noop()
        self.bare()
        self.open_loop()
        return self.results

    # -- rows ---------------------------------------------------------------------------------------------------------

    def noop(self) -> None:
        """The measure of all others."""
        with serving("noop") as served:
            send(served.port, Recipe(), self.size.warm)
            cpu_s = served.cpu_s()
            told = send(served.port, Recipe(), self.size.noop)
            self.results.add("noop", self.size.noop, told["seconds"], served.cpu_s() - cpu_s)

    def bare(self) -> None:
        """How fast the load generator itself is."""
        with serving("bare") as served:
            told = send(served.port, Recipe(), self.size.noop)
            self.results.add("bare", self.size.noop, told["seconds"], served.cpu_s())

    def empty(self) -> None:
        """Acknowledgements and the full way on a new database."""
        place = self._new_place()
        self._rows(place, ack="ack", full="full")

    def careful(self) -> None:
        """The full way with every rule of the careful profile evaluated, and passing."""
        self._rows(self._new_place(careful=True), ack=None, full="full_careful")

    def past(self) -> None:
        """The same as `empty` on a database with a long past."""
        assert self._history is not None
        self._rows(self._history, ack="ack_past", full="full_past")

    def _rows(self, place: Place, *, ack: str | None, full: str) -> None:
        token, shares = make_token(place), tradable(place)
        exits, entries = (token, ["exit"], shares[FLAT]), (token, ["buy"], shares[TRADED])
        since = mark_of(place) if place.database.exists() else Mark(seq=0, head=bytes(32), at=0)
        noops = fills = self.size.warm
        with serving("bridge", place) as served:
            self._burst(served, place, exits, self.size.warm)
            self._burst(served, place, entries, self.size.warm)
            if ack is not None:
                noops += self.size.ack
                acked = self._burst(served, place, exits, self.size.ack)
                self.results.add(ack, self.size.ack, acked.answered_s, acked.cpu_s)
            fills += self.size.full
            filled = self._burst(served, place, entries, self.size.full)
            self.results.add(full, self.size.full, filled.ended_s, filled.cpu_s)
            served.stop()
        self.results.checks[full] = check(place, since, noops=noops, fills=fills)

    def _burst(self, served: Served, place: Place, kind: Kind, count: int) -> Burst:
        """So many alerts as fast as they are taken."""
        cpu_s = served.cpu_s()
        told = send(served.port, self._recipe(kind, count), count)
        ended = wait_until_ended(place)
        return Burst(answered_s=told["seconds"], ended_s=ended - told["started"], cpu_s=served.cpu_s() - cpu_s)

    def _recipe(self, kind: Kind, count: int) -> Recipe:
        token, actions, symbols = kind
        self._sent += count
        return Recipe(token=token, actions=actions, symbols=symbols, first=self._sent - count)

    def open_loop(self) -> None:
        """Entries by the clock: how long the acknowledgement, the broker call and the fill take."""
        place = self._new_place()
        kind = (make_token(place), ["buy"], tradable(place)[TRADED])
        count, skipped = OPEN_RATE * (self.size.open_loop_s + 1), OPEN_RATE
        with serving("bridge", place) as served:
            self._burst(served, place, kind, self.size.warm)
            since = Mark(seq=0, head=bytes(32), at=time.time_ns() // 1000)
            told = send(served.port, self._recipe(kind, count), count, per_second=OPEN_RATE, skipped=skipped)
            wait_until_ended(place)
            calls = served.stop()[self.size.warm :]
        if len(calls) != count:
            raise WrongError(f"{count} alerts made {len(calls)} broker calls")
        self.results.checks["open_loop"] = check(place, since, noops=0, fills=count)
        self.results.spreads |= {
            "ack": told["ack"],
            "to_broker": spread_of(calls[skipped:]).as_dict(),
            "to_filled": spread_of(times_to_end(place, since, skipped)).as_dict(),
            "generator_late": told["generator_late"],
        }

    def _new_place(self, *, careful: bool = False) -> Place:
        self._number += 1
        return make_place(self._root / f"bridge-{self._number}", writer=self._writer, careful=careful)
