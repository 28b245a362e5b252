"""What may be done after each outcome, and after how long: the whole retry policy in one table and one function."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from tenacity import wait_exponential, wait_random
from tenacity.wait import wait_base

from bridge.core.enums import OutcomeKind


class Asked(StrEnum):
    """What was tried: an order, a cancel or a change at the broker, a read there, or to write a fact into the store."""

    PLACE = "place"
    CANCEL = "cancel"
    REPLACE = "modify"
    READ = "read"
    NOTE = "note"


class NextStep(StrEnum):
    """What may be done next; SEND_AGAIN is of an order alone, whose repetition could double it."""

    FOLLOW = "follow"
    END = "end"
    SEND_AGAIN = "send again"
    LOOK_UP = "look up"
    ASK_AGAIN = "ask again"
    HOLD = "hold"
    EXPIRE = "expire"
    TELL = "tell a person"


@dataclass(frozen=True, slots=True, kw_only=True)
class Next:
    """The next step, and the seconds to wait before it; of HOLD, the seconds for which the whole account waits."""

    step: NextStep
    wait_s: float = 0


_O, _N = OutcomeKind, NextStep

# UNKNOWN of an order is never sent again blindly: only the broker's own book may say whether the order is there. Asking
# twice for a cancel, a change, a read or a record does no harm. A read is ACCEPTED when it could be read; a note when it is
# on disk.
POLICY: Mapping[Asked, Mapping[OutcomeKind, NextStep]] = {
    Asked.PLACE: {_O.ACCEPTED: _N.FOLLOW, _O.REFUSED: _N.END, _O.NOT_SENT: _N.SEND_AGAIN, _O.UNKNOWN: _N.LOOK_UP},
    Asked.CANCEL: {_O.ACCEPTED: _N.FOLLOW, _O.REFUSED: _N.END, _O.NOT_SENT: _N.ASK_AGAIN, _O.UNKNOWN: _N.ASK_AGAIN},
    Asked.REPLACE: {_O.ACCEPTED: _N.FOLLOW, _O.REFUSED: _N.END, _O.NOT_SENT: _N.ASK_AGAIN, _O.UNKNOWN: _N.ASK_AGAIN},
    Asked.READ: {_O.ACCEPTED: _N.FOLLOW, _O.REFUSED: _N.ASK_AGAIN, _O.NOT_SENT: _N.ASK_AGAIN, _O.UNKNOWN: _N.ASK_AGAIN},
    Asked.NOTE: {_O.ACCEPTED: _N.FOLLOW, _O.REFUSED: _N.ASK_AGAIN, _O.NOT_SENT: _N.ASK_AGAIN, _O.UNKNOWN: _N.ASK_AGAIN},
}

# A hiccup is over in a fraction of a second, and an entry is worth little after a minute: begin short, never be long.
FIRST_WAIT_S = 0.2
LONGEST_WAIT_S = 5.0
# Looks at a broker that does not answer: the longest is what an exit may lose after the broker is back.
FIRST_LOOK_S = 1.0
LONGEST_LOOK_S = 15.0
# With the waits above, a cancel or a change is asked for over a minute before a person is told.
CANCEL_ATTEMPTS = 20

_JITTER: wait_base = wait_random(0, FIRST_WAIT_S)
_BACK_OFF: wait_base = wait_exponential(multiplier=FIRST_WAIT_S, max=LONGEST_WAIT_S) + _JITTER
_LOOKS: wait_base = wait_exponential(multiplier=FIRST_LOOK_S, max=LONGEST_LOOK_S) + wait_random(0, FIRST_LOOK_S)
_AT_ONCE: dict[NextStep, Next] = {step: Next(step=step) for step in NextStep}
_TOLD = frozenset({Asked.CANCEL, Asked.REPLACE})
_REPEATS = frozenset({NextStep.SEND_AGAIN, NextStep.ASK_AGAIN})


def decide_next(
    asked: Asked,
    kind: OutcomeKind,
    *,
    attempt: int = 1,
    named_s: float | None = None,
    left_s: float | None = None,
    held: bool = False,
) -> Next:
    """What may follow try number `attempt`.

    `named_s` is the wait that the broker named, never undercut and for the whole account; `left_s` the seconds in which an
    entry may still leave (None for exits, which are tried on); `held` says that the account was held and the broker not
    asked at all.
    """
    step = POLICY[asked][kind]
    named_s = named_s if named_s is not None and math.isfinite(named_s) else None
    if step not in _REPEATS:
        return _AT_ONCE[step] if named_s is None else Next(step=step, wait_s=_wait_before(asked, attempt, named_s))
    if held:
        after = _AT_ONCE[NextStep.HOLD]  # how long, knows who holds it
    else:
        wait_s = _wait_before(asked, attempt, named_s)
        after = Next(step=step if named_s is None else NextStep.HOLD, wait_s=wait_s)
    if asked in _TOLD and not held and attempt >= CANCEL_ATTEMPTS:
        return Next(step=NextStep.TELL, wait_s=after.wait_s)
    if asked is Asked.PLACE and left_s is not None and after.wait_s > left_s:
        return _AT_ONCE[NextStep.EXPIRE]
    return after


@dataclass(slots=True)
class _Attempt:
    """The one thing tenacity's waits look at."""

    attempt_number: int


def _wait_before(asked: Asked, attempt: int, named_s: float | None) -> float:
    """Seconds before try number `attempt + 1`: exponential with jitter, or what the broker named if that is longer."""
    tried = _Attempt(max(1, attempt))
    back_off = _LOOKS if asked is Asked.READ else _BACK_OFF
    waited: float = back_off(tried)  # type: ignore[arg-type]
    if named_s is None:
        return waited
    jitter: float = _JITTER(tried)  # type: ignore[arg-type]
    return max(waited, named_s + jitter)
