"""Processes made by forking one that has everything imported: a start costs a tenth of what it does from nothing.

`python -m tests.support.nursery FD MODULE…` is that one. What it makes is what `python -m` would make: an environment, a folder
and standard streams of its own, a module run as `__main__`, an exit code.
"""

import gc
import json
import os
import resource
import runpy
import selectors
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryFile
from types import TracebackType
from typing import IO, Any, Self

_ROOT = Path(__file__).resolve().parents[2]
# What `bridge serve`, `bridge venue` and the short commands import sooner or later; nothing that any of them does without.
BRIDGE = (
    "bridge.app", "bridge.bootstrap", "bridge.commands.audit", "bridge.commands.check", "bridge.commands.serve",
    "bridge.commands.trading", "bridge.commands.venue", "bridge.venue.app", "httptools", "httpx", "uvicorn.logging", "uvloop",
    "yaml",
)  # fmt: skip
LIMIT_S = 60.0
_LONGEST = 1 << 17
_NUMBER = struct.Struct("<q")


class Nursery:
    """Forks processes that have `modules` imported. `start` may be called in any thread."""

    def __init__(self, *modules: str) -> None:
        self._lock = threading.Lock()
        self._ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            words = [sys.executable, "-m", "tests.support.nursery", str(theirs.fileno()), *modules]
            env = {name: value for name, value in os.environ.items() if not name.startswith("BRIDGE_")}
            self._process = subprocess.Popen(words, cwd=_ROOT, env=env, pass_fds=[theirs.fileno()])

    def start(
        self, module: str, words: Sequence[str], *, cwd: Path, env: Mapping[str, str], out: IO[Any], errors: IO[Any],
        given: IO[Any] | None = None,
    ) -> "Forked":  # fmt: skip
        """`python -m MODULE WORDS` with these files as standard output, error and input, which is empty when there is none."""
        ours, theirs = socket.socketpair()
        with theirs, open(os.devnull, "rb") as nothing, self._lock:
            asked = json.dumps([module, *words, str(cwd), dict(env)]).encode()
            streams = [file.fileno() for file in (given or nothing, out, errors)]
            socket.send_fds(self._ours, [asked], [theirs.fileno(), *streams])
        return Forked(ours)


_lock = threading.Lock()
_known: dict[tuple[str, ...], Nursery] = {}


def nursery(*modules: str) -> Nursery:
    """The one of this test process with these modules beside those of the command `bridge`; it ends with the process."""
    with _lock:
        if modules not in _known:
            _known[modules] = Nursery(*BRIDGE, *modules)
        return _known[modules]


class Forked:
    """A process of a nursery, with what tests use of `subprocess.Popen`."""

    def __init__(self, news: socket.socket) -> None:
        self.stdout: IO[str] | None = None
        self.returncode: int | None = None
        self._news = news
        (self.pid,) = _NUMBER.unpack(self._hear())

    def _hear(self) -> bytes:
        told = self._news.recv(_NUMBER.size, socket.MSG_WAITALL)
        if len(told) != _NUMBER.size:
            raise RuntimeError("the nursery has ended")
        return told

    def wait(self, timeout: float | None = None) -> int:
        """The exit code, below 0 for the signal that ended it; subprocess.TimeoutExpired when it goes on for longer."""
        if self.returncode is None:
            self._news.settimeout(timeout)
            try:
                (self.returncode,) = _NUMBER.unpack(self._hear())
            except (TimeoutError, BlockingIOError):
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0) from None
            self._news.close()
        assert self.returncode is not None
        return self.returncode

    def poll(self) -> int | None:
        """The exit code, None while it runs."""
        try:
            return self.wait(0)
        except subprocess.TimeoutExpired:
            return None

    def send_signal(self, number: int) -> None:
        """To the process, if it is still there."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """kill -9."""
        self.send_signal(signal.SIGKILL)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.wait()


def run(words: Sequence[str], *, cwd: Path, env: Mapping[str, str], given: str = "") -> "subprocess.CompletedProcess[str]":
    """The command `bridge` to its end, with `given` on its standard input."""
    with TemporaryFile("w+") as stdin, TemporaryFile("w+") as out, TemporaryFile("w+") as errors:
        stdin.write(given)
        stdin.seek(0)
        process = nursery().start("bridge", words, cwd=cwd, env=env, out=out, errors=errors, given=stdin)
        try:
            code = process.wait(LIMIT_S)
        finally:
            process.kill()
        told = [_from_start(file) for file in (out, errors)]
    return subprocess.CompletedProcess(words, code, *told)


def _from_start(file: IO[str]) -> str:
    file.seek(0)
    return file.read()


def main(number: str, *modules: str) -> None:
    """Be the nursery until nobody can ask any more. In a child this ends as what it was asked to become ends."""
    for module in modules:
        import_module(module)
    gc.collect()
    gc.freeze()
    found = _fork_until_asked_no_more(socket.socket(fileno=int(number)))
    if found is not None:
        _become(*found)


def _fork_until_asked_no_more(asking: socket.socket) -> tuple[list[Any], list[int]] | None:
    """In a child, what it was asked to become, and its streams; None in the nursery, at its end."""
    waiting = selectors.DefaultSelector()
    waiting.register(asking, selectors.EVENT_READ)
    while True:
        for key, _events in waiting.select():
            if key.fileobj is not asking:
                waiting.unregister(key.fileobj)
                _tell_end(key.fd, *key.data)
                continue
            asked, given, _flags, _address = socket.recv_fds(asking, _LONGEST, 4)
            if not asked:
                return None
            told, *streams = given
            pid = os.fork()
            if pid == 0:
                return json.loads(asked), streams
            for stream in streams:
                os.close(stream)
            news = socket.socket(fileno=told)
            _tell(news, pid)
            waiting.register(os.pidfd_open(pid), selectors.EVENT_READ, (pid, news))


def _tell_end(process: int, pid: int, news: socket.socket) -> None:
    os.close(process)
    _tell(news, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    news.close()


def _tell(news: socket.socket, number: int) -> None:
    with suppress(OSError):  # nobody may wait for it any more
        news.send(_NUMBER.pack(number))


def _become(asked: list[Any], streams: list[int]) -> None:
    """Run the module as `__main__`, with nothing left of the nursery but what is imported."""
    module, *words, folder, env = asked
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    os.closerange(3, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w", buffering=1)  # noqa: SIM115
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(env)
    sys.argv[1:] = words
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
