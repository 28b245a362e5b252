"""Which process holds the data folder, and where it listens; light, since the bridge itself looks too."""

from dataclasses import dataclass
from pathlib import Path

from bridge.store.backend import ProcessLock

LOCK_FILE = "bridge.lock"
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - read, not bound


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """Who holds the data folder. `url` is None as long as it has not told where it listens."""

    pid: int
    url: str | None

    def __str__(self) -> str:
        return f"{self.url or 'a bridge that is starting'} (pid {self.pid})"


def find_running(data_dir: Path) -> Running | None:
    """The process that holds the data folder; None when it is free."""
    lock = ProcessLock(data_dir)
    if not (data_dir / LOCK_FILE).exists():
        return None
    if lock.acquire():
        lock.release()
        return None
    told = lock.read()
    host, port = told.get("host"), told.get("port")
    url = url_of(host, port) if isinstance(host, str) and isinstance(port, int) else None
    return Running(pid=int(told.get("pid") or 0), url=url)


def url_of(host: str, port: int) -> str:
    """How a program on this machine reaches what is bound to `host`."""
    host = _EVERYWHERE.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
