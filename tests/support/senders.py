"""Threads that send alerts to a served bridge, each body once, and remember what each was answered."""

import itertools
import json
import threading
from types import TracebackType

import httpx

from tests.support.server import WEBHOOK, Served

THREADS = 4
SYMBOLS = ("NSE:SBIN", "NSE:INFY", "NSE:TCS")
# A sender that was told 503 leaves the others some room, as TradingView's five seconds would.
AFTER_503_S = 0.01


class Senders:
    """They end with the bridge, after `most` alerts, or when told to; anything but 200 and 503 is wrong."""

    def __init__(self, server: Served, token: str, most: int = 1_000_000, *, quantity: str = "1") -> None:
        self.accepted: dict[str, str] = {}
        self.unavailable: list[str] = []
        self.unanswered: list[str] = []
        self.wrong: list[str] = []
        self._bodies = (
            server.body(token, symbol=SYMBOLS[number % 3], action="buy", quantity=quantity, price="500")
            for number in itertools.islice(itertools.count(), most)
        )
        self._lock = threading.Lock()
        self._enough = threading.Event()
        self._url = server.url
        self.threads = [threading.Thread(target=self._send) for _ in range(THREADS)]
        for thread in self.threads:
            thread.start()

    def __enter__(self) -> "Senders":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def has_accepted(self, goal: int) -> bool:
        return len(self.accepted) >= goal

    def has_refused(self, goal: int) -> bool:
        return len(self.unavailable) >= goal

    def stop(self) -> "Senders":
        """Send no more."""
        self._enough.set()
        return self.join()

    def join(self) -> "Senders":
        """Wait for their end."""
        for thread in self.threads:
            thread.join(30)
        assert self.wrong == []
        return self

    def _next(self) -> str | None:
        with self._lock:
            body = None if self._enough.is_set() else next(self._bodies, None)
        return None if body is None else json.dumps(body)

    def _send(self) -> None:
        with httpx.Client(base_url=self._url, timeout=20) as http:
            while (body := self._next()) is not None:
                try:
                    answer = http.post(WEBHOOK, content=body)
                except httpx.HTTPError:
                    self.unanswered.append(body)
                    return
                if answer.status_code == 200:
                    self.accepted[answer.json()["alert_id"]] = body
                elif answer.status_code == 503 and answer.json()["status"] == "unavailable":
                    self.unavailable.append(body)
                    self._enough.wait(AFTER_503_S)
                else:
                    self.wrong.append(answer.text)
