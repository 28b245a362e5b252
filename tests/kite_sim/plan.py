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
# What is on its way comes to where it rests, however slow the machine is; no story draws it.
SETTLE = "settle"
# A person cancels or changes one order, stops entries and cancels those that rest, and lets them go on.
HAND, HALT, RESUME = "hand", "halt", "resume"

# What a story may have besides plain alerts.
CHANGES, PROTECTIONS, HALTS = "changes", "protections", "halts"
_WISHES = ("market", "market", "cross", "rest", "stop", "exit", "cancel")
_CHANGE_WISHES = ("rest", "rest", "rest", "cross", "stop", "modify", "modify", "modify", "modify", "market", "cancel")
REST_PRICES = {"buy": ("740", "741.5", "752"), "sell": ("880", "871", "879.5")}


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
    ways = frozenset(way for way, share in ((CHANGES, 0.5), (PROTECTIONS, 0.5), (HALTS, 0.2)) if mix.random() < share)
    kinds = {
        "orders": mix.sample(ANSWERS, mix.randint(1, 6)),
        "triggers": mix.sample(ANSWERS, mix.randint(0, 6) if PROTECTIONS in ways else 0),
        "reads": mix.sample(ANSWERS, mix.randint(0, 6)),
        "book": mix.sample(ROWS, mix.randint(0, 2)),
        "updates": mix.sample(UPDATES, mix.randint(0, 3)),
    }
    kills = mix.choice((0, 0, 1, 1, 2, 3))
    steps: list[Step] = []
    for _ in range(mix.randint(3, 7)):
        steps += _round(mix, kinds, ways)
    for _ in range(kills):
        where = mix.randint(1, len(steps))
        steps[where:where] = _kill(mix, ways)
    knobs = {
        "book_lag_ms": mix.choice((0, 0, 300, 2_000)), "step_ms": mix.choice((0, 0, 20)), "slow_ms": 40,
        "delay_ms": mix.choice((40, 300)),
        "retry_after_s": mix.choice((0, 1)), "fill_max": mix.choice((0, 6)),
    }  # fmt: skip
    return Plan(seed=seed, updates=mix.choice(("poll", "postback")), knobs=knobs, steps=tuple(steps))


def _round(mix: Random, kinds: Mapping[str, list[str]], ways: frozenset[str]) -> list[Step]:
    """Some faults, an alert or a burst of them, and a while in which something may move."""
    steps = []
    faults = {scope: dict.fromkeys(mix.sample(names, mix.randint(0, min(2, len(names)))), 1) for scope, names in kinds.items()}
    if found := {scope: counts for scope, counts in faults.items() if counts}:
        steps.append(Step(kind=FAULTS, values=found))
    way = mix.choice(("", *sorted(ways)))
    if way == CHANGES:
        steps += _some_changes(mix)
    elif way == PROTECTIONS:
        steps += _a_protected_entry(mix)
    else:
        steps += [Step(kind=ALERT, values=_wish(mix, ways)) for _ in range(mix.choice((1, 1, 1, 2, 4)))]
    if mix.random() < 0.5:
        steps.append(Step(kind=PAUSE, s=mix.random() * 0.08))
    if CHANGES in ways and mix.random() < 0.5:
        steps.append(_hand(mix))
    if mix.random() < 0.5:
        steps.append(Step(kind=PRICE, values={"price": mix.choice(PRICES)}))
    if mix.random() < 0.2:
        steps.append(Step(kind=JUMP, s=mix.uniform(0.5, 15)))
    if mix.random() < 0.1:
        steps.append(Step(kind=CUT, s=mix.random() * 0.1))
    if HALTS in ways and mix.random() < 0.4:
        steps.append(Step(kind=mix.choice((HALT, RESUME))))
    return steps


def _some_changes(mix: Random) -> list[Step]:
    """One order alone, changed several times: on its way, while it rests, and while a change of before is on its way."""
    steps = [Step(kind=ALERT, values={"action": "cancel"})] if mix.random() < 0.7 else []
    steps += [Step(kind=PAUSE, s=0.1), Step(kind=ALERT, values=_rest(mix))]
    for _ in range(mix.randint(1, 4)):
        if mix.random() < 0.6:
            steps.append(Step(kind=PAUSE, s=mix.random() * 0.3))
        steps.append(mix.choice((Step(kind=ALERT, values=_modify(mix)), _hand(mix))))
    return steps


def _a_protected_entry(mix: Random) -> list[Step]:
    """An entry, time enough for its protection to rest mostly, and a price that may be one that it waits for."""
    entry = _levels(mix) | {"action": mix.choice(("buy", "sell")), "quantity": str(mix.randint(1, 12))}
    price = Step(kind=PRICE, values={"price": mix.choice(("789", "796", "806", "819", "829", "831"))})
    return [Step(kind=ALERT, values=entry), Step(kind=PAUSE, s=mix.random() * 0.6), price]


def _kill(mix: Random, ways: frozenset[str]) -> list[Step]:
    """SIGKILL, often in the midst of a request whose answer is late; the bridge is away for a while of the clock."""
    kill = Step(kind=KILL, s=mix.random() ** 2 * 0.06, values={"down_s": mix.choice((0, 0, 1, 20))})
    if mix.random() < 0.4:
        return [kill]
    what = mix.choice(("place", *sorted(ways)))
    if what == CHANGES:
        change = mix.choice((Step(kind=ALERT, values=_modify(mix)), _hand(mix)))
        before = [Step(kind=ALERT, values=_rest(mix)), Step(kind=PAUSE, s=0.1)]
        return [*before, Step(kind=FAULTS, values={"orders": {"delay": 1}}), change, kill]
    if what == PROTECTIONS:  # the trigger is placed once the entry's fill is known, and killed then
        entry = Step(kind=ALERT, values=_levels(mix) | {"action": mix.choice(("buy", "sell")), "quantity": "9"})
        late = Step(kind=KILL, s=mix.random() * 0.3, values=kill.values)
        return [Step(kind=FAULTS, values={"triggers": {"delay": 1}}), entry, late]
    if what == HALTS:
        return [Step(kind=ALERT, values=_rest(mix)), Step(kind=FAULTS, values={"orders": {"delay": 1}}), Step(kind=HALT), kill]
    return [Step(kind=FAULTS, values={"orders": {"delay": 1}}), Step(kind=ALERT, values=_wish(mix, ways)), kill]


def _wish(mix: Random, ways: frozenset[str]) -> dict[str, Any]:
    kind = mix.choice(_CHANGE_WISHES if CHANGES in ways and mix.random() < 0.7 else _WISHES)
    side, quantity = mix.choice(("buy", "sell")), str(mix.randint(1, 12))
    if kind in ("exit", "cancel"):
        return {"action": kind}
    if kind == "modify":
        return _modify(mix)
    levels = _levels(mix) if PROTECTIONS in ways and mix.random() < 0.6 else {}
    if kind == "stop":
        trigger = "830" if side == "buy" else "790"
        return {"action": side, "quantity": quantity, "order_type": "SL-M", "trigger_price": trigger, **levels}
    if kind == "rest":
        return {**_rest(mix), **levels}
    if kind == "cross":
        price = "820" if side == "buy" else "805"
        return {"action": side, "quantity": quantity, "order_type": "LIMIT", "price": price, **levels}
    return {"action": side, "quantity": quantity, **levels}


def _rest(mix: Random) -> dict[str, Any]:
    """An order that no price of the story fills."""
    side = mix.choice(("buy", "sell"))
    price = REST_PRICES[side][0]
    return {"action": side, "quantity": str(mix.randint(1, 12)), "order_type": "LIMIT", "price": price}


def _modify(mix: Random) -> dict[str, Any]:
    """An alert that changes what rests: where it still rests, where it fills, how much of it."""
    if mix.random() < 0.2:
        return {"action": "modify", "order_type": "SL-M", "trigger_price": mix.choice(("828", "835", "785", "792"))}
    return {"action": "modify", "order_type": "LIMIT", **_terms(mix)}


def _terms(mix: Random) -> dict[str, str]:
    """New terms of a limit order; a price that is far off rests on one side and fills on the other."""
    price = {"price": mix.choice((*REST_PRICES["buy"], *REST_PRICES["sell"], "812.5", "806"))}
    quantity = {"quantity": str(mix.randint(1, 15))}
    return mix.choice((price, price, quantity, price | quantity))


def _hand(mix: Random) -> Step:
    """A person takes the newest order that rests."""
    if mix.random() < 0.4:
        return Step(kind=HAND, values={"do": "cancel"})
    return Step(kind=HAND, values={"do": "modify", **_terms(mix)})


def _levels(mix: Random) -> dict[str, Any]:
    """A stop, a target or both, some of them so far off that they rest to the end."""
    stop, target = ({name: {"percent": mix.choice(("1", "2", "5"))}} for name in ("stop_loss", "take_profit"))
    return mix.choice((stop, target, stop | target))
