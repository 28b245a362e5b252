"""Bridges as processes of their own, made by forking one that has everything imported: a start costs a tenth of a second.

`python -m tests.kite_sim.life` is that one: a folder a line comes in, the new process's number goes out. A word after it
names the mutant that all of them are; a second one leaves them their pauses as they are.
"""

import asyncio
import json
import mmap
import os
import signal
import struct
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import uvloop

from bridge.bootstrap import Bridge
from bridge.brokers.kite import adapter
from bridge.commands.serve import BridgeServer, listen
from bridge.commands.server import forward_logs, run_until_stopped
from bridge.log import configure
from bridge.settings import load_settings
from tests.kite_sim.mutants import MUTANTS, SHORT_MINUTE
from tests.support.kite_bridge import hurry
from tests.support.rigs import ROOT
from tests.support.server import clean_env

CLOCK, CONFIG, LOG = "clock", "bridge.json", "bridge.log"
# An order is changed so often and then placed anew: the vendor's twenty-five would take a story too long.
CHANGES = 2
# How far the clock is ahead of the machine's, and since when it stands; 0 while it runs.
_STATE = struct.Struct("<dd")


class SharedClock:
    """The machine's clock moved by what a file says, so that two processes and those who move it see the same time."""

    def __init__(self, file: Path) -> None:
        if not file.exists():
            file.write_bytes(_STATE.pack(0.0, 0.0))
        with file.open("r+b") as opened:
            self._memory = mmap.mmap(opened.fileno(), _STATE.size)

    @property
    def ahead_s(self) -> float:
        """How far it is ahead of the machine's."""
        ahead_s, stands_since = self._state()
        return ahead_s - (time.monotonic() - stands_since if stands_since else 0)

    def _state(self) -> tuple[float, float]:
        ahead_s, stands_since = _STATE.unpack_from(self._memory)
        return ahead_s, stands_since

    def now(self) -> datetime:
        """The present, aware, in UTC."""
        return datetime.now(UTC) + timedelta(seconds=self.ahead_s)

    def monotonic(self) -> float:
        """Seconds that never run backwards."""
        return time.monotonic() + self.ahead_s

    def jump(self, seconds: float) -> None:
        """Set it forward, for all processes at once."""
        ahead_s, stands_since = self._state()
        self._put(ahead_s + seconds, stands_since)

    def stand(self) -> None:
        """Time stands still, for all processes at once."""
        self._put(self.ahead_s, time.monotonic())

    def run_on(self) -> None:
        """And goes on from there."""
        self._put(self.ahead_s, 0.0)

    def _put(self, ahead_s: float, stands_since: float) -> None:
        """In one copy: pack_into would clear the place first, and the other process live a moment in another time."""
        self._memory[:] = _STATE.pack(ahead_s, stands_since)


def live(folder: Path) -> None:
    """Be the bridge of a folder: what `bridge serve` does, by the shared clock."""
    os.chdir(folder)
    os.environ["BRIDGE_CONFIG"] = str(folder / CONFIG)
    configure(as_json=True)
    forward_logs()
    settings, listening = listen(load_settings())
    server = BridgeServer(Bridge(settings, SharedClock(folder / CLOCK)), listening)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run_until_stopped(server))


def main(mutant: str = "", is_slow: str = "") -> None:
    """Fork a bridge for every folder that is named, until nobody names any more; the dead are not waited for."""
    patch = pytest.MonkeyPatch()
    if not is_slow:
        hurry(patch)
    patch.setattr(adapter, "MAX_REPLACES", CHANGES)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with ExitStack() as stack:
        if mutant:
            stack.enter_context(next(one for one in (*MUTANTS, SHORT_MINUTE) if one.name == mutant).broken())
        for line in sys.stdin:
            pid = os.fork()
            if pid == 0:
                _begin_life(Path(json.loads(line)))
            print(pid, flush=True)


def _begin_life(folder: Path) -> None:
    """In the child; never returns."""
    code = 1
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        log = os.open(folder / LOG, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        nowhere = os.open(os.devnull, os.O_RDONLY)
        for ours, theirs in ((nowhere, 0), (log, 1), (log, 2)):
            os.dup2(ours, theirs)
        live(folder)
        code = 0
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
    finally:
        os._exit(code)


class Lives:
    """The process that forks bridges, and those it made. `start` may be called in any thread."""

    def __init__(self, mutant: str = "", *, is_slow: bool = False) -> None:
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.kite_sim.life", mutant, "slow" * is_slow], cwd=ROOT, env=clean_env(),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def start(self, folder: Path) -> int:
        """A new bridge on this folder; its process number."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with self._lock:
            self._process.stdin.write(json.dumps(str(folder)) + "\n")
            self._process.stdin.flush()
            return int(self._process.stdout.readline())

    def close(self) -> None:
        """No bridge can be started any more."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(10)
        self._process.stdout.close()

    def __enter__(self) -> "Lives":
        return self

    def __exit__(self, *_error: Any) -> None:
        self.close()


def is_alive(pid: int) -> bool:
    """True while the process is there."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


if __name__ == "__main__":
    main(*sys.argv[1:])
