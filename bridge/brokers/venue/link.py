"""HTTP to one account of a venue: requests with an end to them, and whether the last contact worked."""

import asyncio
from collections.abc import Mapping
from typing import Any

import httpx

from bridge.brokers.base import BookUnreadableError
from bridge.brokers.http_outcomes import Failure, HttpAnswer, find_failure, find_message, find_wait
from bridge.core.clock import Clock

# A venue on this machine or in this country connects in milliseconds; who takes longer is away.
CONNECT_S = 2.0
# An answer that takes longer is not worth waiting for: the book tells what became of the order.
COMMAND_S = 5.0
# Those limits are for each step; this one is for the whole, against an answer that trickles.
WHOLE_S = 10.0
# Shorter than what servers allow an idle connection, lest an order leave on one that is being closed.
IDLE_S = 30.0
# One order, the long poll, a price, a few reads, and the cancels of a day's orders at once.
MAX_CONNECTIONS = 64


class LinkError(Exception):
    """There was no answer; `failure` says whether the request can have arrived."""

    def __init__(self, failure: Failure, message: str) -> None:
        super().__init__(message)
        self.failure = failure


class Link:
    """`problem` says what was wrong with the last contact; it is empty while contact works.

    `session_lost` is true when the problem is that a person has to sign in.
    """

    def __init__(self, account: str, root: str, token: str | None, clock: Clock) -> None:
        self._root = root
        self._base = f"{root}/v1/{account}"
        self._headers = {} if token is None else {"authorization": f"Bearer {token}"}
        self._clock = clock
        self._http: httpx.AsyncClient | None = None
        self.problem = "The venue has not been contacted yet."
        self.session_lost = False

    @property
    def is_open(self) -> bool:
        """True between `open` and `close`."""
        return self._http is not None

    def open(self) -> None:
        """Be ready for requests; nothing is sent yet."""
        self._http = httpx.AsyncClient(
            headers=self._headers,
            timeout=httpx.Timeout(COMMAND_S, connect=CONNECT_S, pool=CONNECT_S),
            limits=httpx.Limits(max_connections=MAX_CONNECTIONS, keepalive_expiry=IDLE_S),
            follow_redirects=False,
            trust_env=False,
        )

    async def close(self) -> None:
        """Let go of every connection."""
        http, self._http = self._http, None
        self._tell("The link to the venue is closed.")
        if http is not None:
            await http.aclose()

    async def send(
        self, method: str, path: str, content: Any = None, *, query: Mapping[str, str] | None = None, wait_s: int = 0
    ) -> HttpAnswer:
        """One request and its answer; LinkError when there is none. `wait_s` is how long the venue may think about it."""
        if self._http is None:
            raise LinkError(Failure.NOT_CONNECTED, self.problem)
        timeout = httpx.Timeout(COMMAND_S + wait_s, connect=CONNECT_S, pool=CONNECT_S)
        try:
            async with asyncio.timeout(WHOLE_S + wait_s):
                answer = await self._http.request(method, self._base + path, json=content, params=query, timeout=timeout)
        except (httpx.HTTPError, TimeoutError) as error:
            self._tell(f"The venue at {self._root} does not answer ({type(error).__name__}).")
            raise LinkError(find_failure(error), self.problem) from error
        return self._note(HttpAnswer(status=answer.status_code, headers=answer.headers, body=answer.content))

    def _note(self, answer: HttpAnswer) -> HttpAnswer:
        """A success shows that contact works, a lost session that it does not; a refusal of one order shows neither.

        Too many requests are contact, but no sign that somebody has signed in.
        """
        if answer.is_session_lost:
            self._tell(find_message(answer), session_lost=True)
        elif 200 <= answer.status < 300 or (answer.is_too_many and not self.session_lost):
            self._tell("")
        return answer

    def _tell(self, problem: str, *, session_lost: bool = False) -> None:
        self.problem, self.session_lost = problem, session_lost

    async def read(self, path: str, *, query: Mapping[str, str] | None = None, wait_s: int = 0) -> Any:
        """The JSON of a successful GET; BookUnreadableError for everything else."""
        try:
            answer = await self.send("GET", path, query=query, wait_s=wait_s)
        except LinkError as error:
            raise BookUnreadableError(str(error)) from error
        if answer.is_too_many:
            raise BookUnreadableError(find_message(answer), retry_after_s=find_wait(answer, self._clock.now()))
        if answer.status != 200:
            self._tell(find_message(answer), session_lost=answer.is_session_lost)
            raise BookUnreadableError(self.problem)
        try:
            return answer.read_json()
        except ValueError:
            raise self.misread("no JSON") from None

    def misread(self, what: str) -> BookUnreadableError:
        """The error for an answer that came and does not say what it should."""
        self._tell(f"The venue at {self._root} gave an answer that cannot be read: {what}."[:300])
        return BookUnreadableError(self.problem)
