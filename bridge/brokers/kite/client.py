"""KiteClient: the vendor's own client in a thread of its own, and the true answer, which that client would hide."""

import asyncio
import json
import ssl
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import Any, Protocol

import requests
from kiteconnect import KiteConnect
from kiteconnect.exceptions import KiteException
from urllib3.exceptions import HTTPError, NewConnectionError

from bridge.brokers.http_outcomes import Failure, HttpAnswer, find_message

CONNECT_S, READ_S = 3.0, 6.0
# Those are for each step; this one is for the whole answer, against one that trickles. Shorter than the guard's patience.
WHOLE_S = 10.0
MAX_BODY_BYTES = 128 * 1024 * 1024
CHUNK_BYTES = 1 << 16
# What the vendor's client raises over an answer that is not as it expects; the answer itself has been kept by then.
_PUZZLED = (KiteException, LookupError, TypeError, AttributeError, ValueError, ArithmeticError)
_UNANSWERED = (requests.RequestException, HTTPError, OSError)


class TokenSource(Protocol):
    """Where the day's access token comes from; every call is safe from any thread."""

    def token(self) -> str | None:
        """The live token; None when a person has to log in first."""
        ...

    def why(self) -> str:
        """What a person must do when there is none."""
        ...

    def drop(self, reason: str, *, token: str | None = None) -> None:
        """The broker does not take `token` any more (None: the one there is): forget it until the next login."""
        ...


class HeldToken:
    """A token in memory, of which nothing survives the process."""

    def __init__(self, token: str | None = None) -> None:
        self._token = token
        self._reason = "Nobody has logged in."

    def token(self) -> str | None:
        """The token as it was given, until it is dropped."""
        return self._token

    def give(self, token: str) -> None:
        """A person has logged in."""
        self._token = token

    def why(self) -> str:
        """Why there is no token, and the mend."""
        return "" if self._token else f"{self._reason} Log in to Kite."

    def drop(self, reason: str, *, token: str | None = None) -> None:
        """Forget it, unless another has replaced it."""
        if token in (None, self._token):
            self._token, self._reason = None, f"Kite has ended the session ({reason})."


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a call came to: `http` is the answer as it came, or `failure` says why there is none.

    `data` is what the vendor means by success, numbers with a point as Decimal and times as the text they are; None for any
    error, whose type and sentence are in `error_type` and `message`.
    """

    http: HttpAnswer | None = None
    failure: Failure | None = None
    data: Any = None
    error_type: str = ""
    message: str = ""

    @property
    def status(self) -> int:
        """The true HTTP status; 0 when nothing came."""
        return self.http.status if self.http is not None else 0


class KiteClient:
    """One `kiteconnect.KiteConnect` and the one thread in which it may be used, so calls go out in the order they are made.

    Without `tokens` it calls as nobody, which is enough for a login and for nothing else.
    """

    def __init__(self, *, api_key: str, root: str, tokens: TokenSource | None = None, whole_s: float = WHOLE_S) -> None:
        self.root = root
        self._tokens = tokens
        self._session = _Session(whole_s)
        self._kite = _PlainKite(api_key=api_key, root=root, timeout=(CONNECT_S, min(READ_S, whole_s)))
        self._kite.reqsession = self._session
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="kite")
        self._is_closed = False

    async def call(self, name: str, *words: Any, **named: Any) -> Answer:
        """Call a method of the vendor's client by its name. Raises for nothing that a broker or a network may do."""
        if self._is_closed:
            return Answer(failure=Failure.NOT_CONNECTED, message="The client is closed.")
        work = partial(self._do, name, words, named)
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def close(self) -> None:
        """Begin nothing more. What is under way ends by its own time limits; nobody waits for it."""
        self._is_closed = True
        self._thread.shutdown(wait=False, cancel_futures=True)
        self._session.close()

    # -- in the thread --------------------------------------------------------------------------------------------------

    def _do(self, name: str, words: tuple[Any, ...], named: dict[str, Any]) -> Answer:
        token = self._tokens.token() if self._tokens is not None else None
        if self._tokens is not None and token is None:
            return Answer(failure=Failure.NOT_CONNECTED, message=self._tokens.why())
        self._kite.set_access_token(token)
        returned, error = self._ask(name, words, named)
        http = self._session.take_last()
        if http is None:
            if not isinstance(error, _UNANSWERED):  # nothing was asked: the call itself is wrong, and that is ours
                raise error or TypeError(f"{name} asks nothing")
            message = f"Kite at {self.root} does not answer ({type(error).__name__})."
            return Answer(failure=find_failure(error), message=message)
        answer = read_answer(http, returned)
        if token is not None and answer.status == 403 and answer.error_type == "TokenException":
            assert self._tokens is not None
            self._tokens.drop(answer.message, token=token)  # not one that has replaced it meanwhile
        return answer

    def _ask(self, name: str, words: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, BaseException | None]:
        """What the vendor's client returned, or what it raised."""
        try:
            return getattr(self._kite, name)(*words, **named), None
        except (*_UNANSWERED, *_PUZZLED) as error:
            return None, error
        finally:
            self._kite.set_access_token(None)


def read_answer(http: HttpAnswer, returned: Any = None) -> Answer:
    """The answer in the vendor's envelope; `returned` is what its client made of one that is not JSON: instruments are CSV."""
    try:
        told = json.loads(http.body, parse_float=Decimal, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        told = None
    is_success = 200 <= http.status < 300
    if not isinstance(told, dict):
        data = returned if is_success and isinstance(returned, bytes | list) and returned else None
        return Answer(http=http, data=data, message="" if data is not None else find_message(http))
    error_type = told.get("error_type")
    if is_success and told.get("status") != "error" and not error_type:
        return Answer(http=http, data=told.get("data"))
    return Answer(http=http, error_type=error_type if isinstance(error_type, str) else "", message=find_message(http))


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a number")


def find_failure(error: BaseException) -> Failure:
    """Whether any byte of the request can have arrived; what is not known to come before the first counts as LOST."""
    before = (requests.ConnectTimeout, requests.exceptions.ProxyError, NewConnectionError, ssl.SSLCertVerificationError)
    is_before = any(isinstance(one, before) for one in _causes(error))
    return Failure.NOT_CONNECTED if is_before else Failure.LOST


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and what is behind it: requests wraps urllib3, which keeps its reason in a field or among its words."""
    pending: list[object] = [error]
    for _ in range(20):
        if not pending:
            return
        one = pending.pop()
        if isinstance(one, BaseException):
            yield one
            pending += [getattr(one, "reason", None), *one.args]


class _PlainKite(KiteConnect):  # type: ignore[misc]
    """The vendor's client, but times stay the texts they are: it would guess at each, slowly, and drop the zone."""

    def _format_response(self, data: Any) -> Any:
        return data

    def _format_historical(self, data: Any) -> Any:
        return data


class _Session(requests.Session):
    """Keeps the last answer whole. Follows no redirect and obeys nothing in the environment, neither proxies nor .netrc."""

    def __init__(self, whole_s: float) -> None:
        super().__init__()
        self.trust_env = False
        self._last: HttpAnswer | None = None
        self._whole_s = whole_s

    def take_last(self) -> HttpAnswer | None:
        """The answer to the last request, once."""
        last, self._last = self._last, None
        return last

    def get_redirect_target(self, resp: requests.Response) -> None:
        """A redirect is an answer like any other: an order must not be sent elsewhere."""

    def send(self, request: requests.PreparedRequest, **named: Any) -> requests.Response:
        """Send, and have the body here before the vendor's client looks at it."""
        ends = time.monotonic() + self._whole_s
        response = super().send(request, **{**named, "stream": True})
        try:
            body = _read_body(response, ends)
        finally:
            response.close()
        response._content, response._content_consumed = body, True
        headers = {name.lower(): value for name, value in response.headers.items()}
        self._last = HttpAnswer(status=response.status_code, headers=headers, body=body)
        return response


def _read_body(response: requests.Response, ends: float) -> bytes:
    body = bytearray()
    while part := response.raw.read1(CHUNK_BYTES, decode_content=True):
        body += part
        if time.monotonic() > ends or len(body) > MAX_BODY_BYTES:
            raise requests.ReadTimeout("the answer is too long in coming")
    return bytes(body)
