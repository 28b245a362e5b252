"""The tree of errors, sorted by what the caller must do.

BridgeError
├── RefusedError       the sender's fault: answered with a code, a field and a mend; never retried by us
├── ConfigError        the operator's fault: the bridge does not start; names the setting and the mend
├── StoreError         nobody's fault, passing: nothing was written; the sender is told 503 and sends again
├── DuplicateError     the store already holds this fact; the caller treats it as seen
└── InvariantError     our fault: a promise would be broken; nothing is changed and an alarm is raised
    └── IllegalTransitionError
"""

from bridge.core.reasons import RefusalCode


class BridgeError(Exception):
    """Any error the bridge raises on purpose."""


class RefusedError(BridgeError):
    """A delivery that is not accepted: `code`, what is wrong, and where the sender mends it."""

    def __init__(self, code: RefusalCode, message: str = "", *, field: str | None = None, hint: str | None = None):
        super().__init__(message or code.sentence)
        self.code = code
        self.message = message or code.sentence
        self.field = field
        self.hint = hint


class ConfigError(BridgeError):
    """A setting that cannot be worked with; the message names it and the mend."""


class StoreError(BridgeError):
    """The store could not commit; nothing of the command was written."""


class DuplicateError(BridgeError):
    """A unique constraint says that this fact is stored already."""


class InvariantError(BridgeError):
    """Continuing would break a promise; a bug of ours."""


class IllegalTransitionError(InvariantError):
    """An event that the state table does not allow in this state; nothing was changed."""
