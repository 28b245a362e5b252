"""What a seed stands for: which alerts come, which faults are on, when the bridge is killed. A plan can be made smaller."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

# What a request, an order or an update may meet; bridge/sandbox/kite/faults.py says what each is.
ANSWERS = (
    *("drop_before", "drop_after", "400_timed_out_before", "400_timed_out_after", "502_before", "502_after", "503_before"),
    *("503_after", "504_before", "504_after", "429", "429_retry_after", "no_content_type", "empty_error_type", "json_list"),
    *("gzip", "slow_body", "stalled_body", "token_dead", "ip_refused", "400_margin", "delay"),
)
ROWS = ("stuck", "reject", "partial_cancel")
UPDATES = ("duplicate", "reorder", "lose")
PRICES = ("812.5", "812.5", "806", "819", "831", "789")

ALERT, FAULTS, PRICE, PAUSE, JUMP, KILL, CUT = "alert", "faults", "price", "pause", "jump", "kill", "cut"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing that happens; `s` is how long it takes, or after how long it comes."""

    kind: str
    s: float = 0.0
    values: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        told = " ".join(f"{name}={value}" for name, value in self.values.items())
        return f"{self.kind} {told} {f'{self.s:.3f} s' if self.s else ''}".strip()


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A story before it is told. `updates` is how the bridge hears of its orders, `knobs` are the loopback Kite's."""

    seed: int
    updates: str
    knobs: Mapping[str, Any]
    steps: tuple[Step, ...]


def make_plan(seed: int) -> Plan:
    """The story of a seed. Which kinds of faults there are is drawn for the whole story: one of all kinds hides most."""
    mix = Random(seed)
    kinds = {
        "orders": mix.sample(ANSWERS, mix.randint(1, 6)),
        "reads": mix.sample(ANSWERS, mix.randint(0, 6)),
        "book": mix.sample(ROWS, mix.randint(0, 2)),
        "updates": mix.sample(UPDATES, mix.randint(0, 3)),
    }
    kills = mix.choice((0, 0, 1, 1, 2, 3))
    steps: list[Step] = []
    for _ in range(mix.randint(3, 7)):
        steps += _round(mix, kinds)
    for _ in range(kills):
        where = mix.randint(1, len(steps))
        steps[where:where] = _kill(mix)
    knobs = {
        "book_lag_ms": mix.choice((0, 0, 300, 2_000)), "step_ms": mix.choice((0, 0, 20)), "slow_ms": 40,
        "delay_ms": mix.choice((40, 300)),
        "retry_after_s": mix.choice((0, 1)), "fill_max": mix.choice((0, 6)),
    }  # fmt: skip
    return Plan(seed=seed, updates=mix.choice(("poll", "postback")), knobs=knobs, steps=tuple(steps))


def _round(mix: Random, kinds: Mapping[str, list[str]]) -> list[Step]:
    """Some faults, an alert or a burst of them, and a while in which something may move."""
    steps = []
    faults = {scope: dict.fromkeys(mix.sample(names, mix.randint(0, min(2, len(names)))), 1) for scope, names in kinds.items()}
    if found := {scope: counts for scope, counts in faults.items() if counts}:
        steps.append(Step(kind=FAULTS, values=found))
    steps += [Step(kind=ALERT, values=_wish(mix)) for _ in range(mix.choice((1, 1, 1, 2, 4)))]
    if mix.random() < 0.5:
        steps.append(Step(kind=PAUSE, s=mix.random() * 0.08))
    if mix.random() < 0.5:
        steps.append(Step(kind=PRICE, values={"price": mix.choice(PRICES)}))
    if mix.random() < 0.2:
        steps.append(Step(kind=JUMP, s=mix.uniform(0.5, 15)))
    if mix.random() < 0.1:
        steps.append(Step(kind=CUT, s=mix.random() * 0.1))
    return steps


def _kill(mix: Random) -> list[Step]:
    """SIGKILL, often in the midst of a placement whose answer is late; the bridge is away for a while of the clock."""
    kill = Step(kind=KILL, s=mix.random() ** 2 * 0.06, values={"down_s": mix.choice((0, 0, 1, 20))})
    if mix.random() < 0.4:
        return [kill]
    return [Step(kind=FAULTS, values={"orders": {"delay": 1}}), Step(kind=ALERT, values=_wish(mix)), kill]


def _wish(mix: Random) -> dict[str, str]:
    kind = mix.choice(("market", "market", "cross", "rest", "stop", "exit", "cancel"))
    side, quantity = mix.choice(("buy", "sell")), str(mix.randint(1, 12))
    if kind in ("exit", "cancel"):
        return {"action": kind}
    if kind == "stop":
        return {"action": side, "quantity": quantity, "order_type": "SL-M", "trigger_price": "830" if side == "buy" else "790"}
    prices = {"cross": ("820", "805"), "rest": ("740", "880")}
    if kind in prices:
        price = prices[kind][side == "sell"]
        return {"action": side, "quantity": quantity, "order_type": "LIMIT", "price": price}
    return {"action": side, "quantity": quantity}
