"""`bridge venue --kite` as a process of its own; what it prints is enough to connect."""

import re
import signal
from pathlib import Path

from kiteconnect import KiteConnect

from tests.support.rigs import instruments_csv
from tests.support.server import clean_env, launch, read_lock
from tests.support.waiting import wait_for


class KiteVenue:
    """The process; `told` is what it printed."""

    def __init__(self, folder: Path, *options: str, module: str = "bridge", instruments: str = "", **env: str) -> None:
        self.folder = folder
        self.log = folder / "venue.log"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "instruments.csv").write_text(instruments or instruments_csv())
        self.log.write_bytes(b"")
        words = ["venue", "--kite", "--data", str(folder / "data"), *options]
        self.process = launch(
            module, words, folder, clean_env(BRIDGE_INSTRUMENTS=str(folder / "instruments.csv"), **env), self.log
        )

    def wait(self) -> "KiteVenue":
        """Until it answers."""
        wait_for(lambda: read_lock(self.process, self.folder / "data" / "venue.lock", self.log), "the venue", limit_s=30)
        return self

    def told(self, name: str) -> str:
        """What it printed under this name."""
        found = re.search(rf"^  {name} +(\S+)$", self.log.read_text(), re.MULTILINE)
        assert found, self.log.read_text()
        return found[1]

    def client(self, access_token: str | None = None) -> KiteConnect:
        """The vendor's client, connected to it."""
        return KiteConnect(self.told("api_key"), access_token, root=self.told("root"))

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal; the exit code."""
        self.process.send_signal(number)
        return self.process.wait(20)
