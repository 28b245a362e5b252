"""What may be done after each outcome of a broker command, and after how long: the one table of the retry policy."""

from dataclasses import dataclass
from enum import StrEnum

from tenacity import wait_exponential, wait_random
from tenacity.wait import wait_base

from bridge.core.enums import OutcomeKind
from bridge.core.report import Outcome


class NextStep(StrEnum):
    """What the lane does next."""

    FOLLOW = "follow"
    END = "end"
    SEND_AGAIN = "send again"
    LOOK_UP = "look up"


# UNKNOWN is never sent again blindly: only the broker's own book may say whether the order is there.
POLICY: dict[OutcomeKind, NextStep] = {
    OutcomeKind.ACCEPTED: NextStep.FOLLOW,
    OutcomeKind.REFUSED: NextStep.END,
    OutcomeKind.NOT_SENT: NextStep.SEND_AGAIN,
    OutcomeKind.UNKNOWN: NextStep.LOOK_UP,
}

FIRST_WAIT_S = 0.2
LONGEST_WAIT_S = 5.0
_BACK_OFF: wait_base = wait_exponential(multiplier=FIRST_WAIT_S, max=LONGEST_WAIT_S) + wait_random(0, FIRST_WAIT_S)


@dataclass(slots=True)
class _Attempt:
    """The one thing tenacity's waits look at."""

    attempt_number: int


def wait_before(attempt: int, outcome: Outcome | None = None) -> float:
    """Seconds before try number `attempt + 1`: exponential with jitter, or what the broker asked for if that is longer."""
    waited: float = _BACK_OFF(_Attempt(max(1, attempt)))  # type: ignore[arg-type]
    if outcome is not None and outcome.retry_after_s is not None:
        return max(waited, outcome.retry_after_s)
    return waited
