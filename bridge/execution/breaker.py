"""The breaker of one account's broker as one table: who does not answer is left alone, but for one look at a time."""

from collections.abc import Callable
from enum import StrEnum

from bridge.core.enums import OutcomeKind
from bridge.core.errors import IllegalTransitionError
from bridge.execution.retry import Asked, decide_next

# One lost answer is an accident; three in a row, with none between them, are a broker that is away.
OPEN_AFTER = 3
# Closed for so long, it begins anew: short pauses, and an alarm when it opens.
CALM_S = 60.0


class BreakerState(StrEnum):
    """Whether calls go through: all, none, or one look."""

    CLOSED = "CLOSED"
    OPEN = "OPEN"
    HALF_OPEN = "HALF_OPEN"


class BreakerEvent(StrEnum):
    """What can happen to a breaker; TRIPPED is the failure that fills the measure."""

    ANSWERED = "ANSWERED"
    FAILED = "FAILED"
    TRIPPED = "TRIPPED"
    LOOK = "LOOK"
    LOOK_FAILED = "LOOK_FAILED"
    LOOK_LOST = "LOOK_LOST"


_S = BreakerState
_E = BreakerEvent

BREAKER_TABLE: dict[BreakerState, dict[BreakerEvent, BreakerState]] = {
    _S.CLOSED: {_E.ANSWERED: _S.CLOSED, _E.FAILED: _S.CLOSED, _E.TRIPPED: _S.OPEN},
    # Calls that were under way when it opened may still be answered, which closes it, or fail, which says nothing new.
    _S.OPEN: {_E.ANSWERED: _S.CLOSED, _E.FAILED: _S.OPEN, _E.LOOK: _S.HALF_OPEN},
    # LOOK_LOST: who looked was cancelled, which says nothing of the broker; the next look is due at once.
    _S.HALF_OPEN: {_E.ANSWERED: _S.CLOSED, _E.FAILED: _S.HALF_OPEN, _E.LOOK_FAILED: _S.OPEN, _E.LOOK_LOST: _S.OPEN},
}


class Breaker:
    """Counts calls without an answer. `failures` are those since the last answer, `why` is what the last of them said.

    A look that is answered closes it, yet proves little: until a command is answered too, or all has been calm for a while,
    one command without an answer opens it again, and the pauses go on growing where they were.
    """

    def __init__(self, monotonic: Callable[[], float]):
        self.state = BreakerState.CLOSED
        self.failures = 0
        self.why = ""
        self._monotonic = monotonic
        self._look = 0
        self._pauses = 0
        self._due_s = 0.0
        self._closed_at_s = 0.0

    @property
    def is_sound(self) -> bool:
        """True when nothing speaks against the broker."""
        return not self.failures and not self._pauses

    @property
    def is_relapse(self) -> bool:
        """True when it has been open before without having been sound since."""
        return self._pauses > 1

    @property
    def wait_s(self) -> float:
        """Seconds until the next look is due."""
        return max(0, self._due_s - self._monotonic())

    @property
    def is_look_due(self) -> bool:
        """True when the next read may go through, as a look."""
        return self.state is BreakerState.OPEN and not self.wait_s

    def answered(self, *, is_command: bool) -> bool:
        """The broker answered, whatever it said; True when that closes the breaker."""
        if self.is_sound:
            return False
        was = self.state
        self._move(_E.ANSWERED)
        self.failures, self.why = 0, ""
        if is_command:
            self._pauses = 0
        if was is BreakerState.CLOSED:
            return False
        self._closed_at_s = self._monotonic()
        return True

    def failed(self, why: str, *, is_command: bool, look: int = 0) -> bool:
        """A call was not answered; True when that opens the breaker. `look` is its number if it was a look."""
        self.failures += 1
        if self.state is BreakerState.CLOSED:
            self.why = why
            return self._weigh(is_command=is_command)
        if self._is_this(look):
            self._move(_E.LOOK_FAILED)
            self.why = why
            self._pause()
        else:
            self._move(_E.FAILED)
        return False

    def _weigh(self, *, is_command: bool) -> bool:
        if self._monotonic() - self._closed_at_s >= CALM_S:
            self._pauses = 0
        if self.failures < OPEN_AFTER and not (is_command and self._pauses):
            self._move(_E.FAILED)
            return False
        self._move(_E.TRIPPED)
        self._pause()
        return True

    def begin_look(self) -> int:
        """Let one call through; the number to end it by."""
        self._move(_E.LOOK)
        self._look += 1
        return self._look

    def lose_look(self, look: int) -> None:
        """Nobody will know what this look came to."""
        if self._is_this(look):
            self._move(_E.LOOK_LOST)

    def _is_this(self, look: int) -> bool:
        """An earlier look may end after the breaker has closed, and even opened again."""
        return look == self._look and self.state is BreakerState.HALF_OPEN

    def _pause(self) -> None:
        self._pauses += 1
        self._due_s = self._monotonic() + decide_next(Asked.READ, OutcomeKind.UNKNOWN, attempt=self._pauses).wait_s

    def _move(self, event: BreakerEvent) -> None:
        found = BREAKER_TABLE[self.state].get(event)
        if found is None:
            raise IllegalTransitionError(f"{event} cannot happen to a breaker that is {self.state}")
        self.state = found
