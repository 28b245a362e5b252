"""The demo's day: ten deliveries with TradingView's habits, and what has to become of each."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

STRATEGY, SYMBOL, FOREIGN_SYMBOL = "demo", "NSE:SBIN", "NSE:TCS"
NO_AGE = timedelta()


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """One delivery. `fields` are laid over token, strategy, symbol and time; a None takes one of those out.

    `raw` is sent instead, with the token in the URL. `resend` sends the body before once more. The rest is what is expected:
    the answer, for what was stored its disposition and code, and the position afterwards.
    """

    title: str
    fields: Mapping[str, object] = field(default_factory=dict)
    raw: str = ""
    resend: bool = False
    age: timedelta = NO_AGE
    http_status: int = 200
    answer: str = "accepted"
    disposition: str = ""
    code: str = ""
    position: str = "0"


SCENES = (
    Scene(
        title="buy 10 SBIN",
        fields={"action": "buy", "quantity": "10", "price": "812.5"},
        disposition="done",
        code="FILLED",
        position="10",
    ),
    Scene(title="the same, sent again", resend=True, answer="duplicate", disposition="done", code="FILLED", position="10"),
    Scene(
        title="reversal: target -5",
        fields={"target": "-5", "state": "short", "prev": "long", "price": "818.2"},
        disposition="done",
        code="FILLED",
        position="-5",
    ),
    Scene(title="exit", fields={"action": "exit", "price": "815.05"}, disposition="done", code="FILLED"),
    Scene(title="exit while flat", fields={"action": "exit", "price": "815.3"}, disposition="noop", code="FLAT"),
    Scene(
        title="broken JSON",
        raw='{"strategy": "demo", "symbol": "NSE:SBIN", "action": buy, "quantity": "10"}',
        http_status=400,
        answer="E_JSON",
        disposition="refused",
    ),
    Scene(
        title="unfilled placeholder",
        fields={"action": "buy", "quantity": "{{strategy.order.contract}}"},
        http_status=422,
        answer="E_UNRESOLVED",
        disposition="refused",
    ),
    Scene(
        title="ten minutes old",
        fields={"action": "buy", "quantity": "10", "price": "812.5"},
        age=timedelta(minutes=10),
        http_status=422,
        answer="E_STALE",
        disposition="refused",
    ),
    Scene(
        title="no token",
        fields={"token": None, "action": "buy", "quantity": "10", "price": "812.5"},
        http_status=401,
        answer="E_AUTH",
    ),
    Scene(
        title="TCS, token is for SBIN",
        fields={"symbol": FOREIGN_SYMBOL, "action": "buy", "quantity": "10", "price": "3150"},
        http_status=403,
        answer="E_SCOPE",
        disposition="refused",
    ),
)
# Orders that may come of it all, whatever was sent twice or wrong.
ORDERS_SENT = 3


def body_of(scene: Scene, token: str, now: datetime, body_before: bytes) -> bytes:
    """What TradingView would send: the message with its placeholders filled in, `{{timenow}}` in whole seconds."""
    if scene.resend:
        return body_before
    if scene.raw:
        return scene.raw.encode()
    time = (now - scene.age).strftime("%Y-%m-%dT%H:%M:%SZ")
    told = {"token": token, "strategy": STRATEGY, "symbol": SYMBOL} | dict(scene.fields) | {"time": time}
    return json.dumps({name: value for name, value in told.items() if value is not None}).encode()


def headers_of(scene: Scene) -> dict[str, str]:
    """TradingView's: the content type says whether the message happened to be JSON."""
    kind = "text/plain" if scene.raw else "application/json"
    return {"user-agent": "Go-http-client/1.1", "content-type": f"{kind}; charset=utf-8", "accept-encoding": "gzip"}
