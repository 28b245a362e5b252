"""BrokerSession: what the bridge keeps of a login at a broker that wants a person every day; and how pages see it."""

from dataclasses import dataclass
from datetime import datetime

# How every message about a missing session begins, and the code of its alarms.
NOT_LOGGED_IN = "not logged in"


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerSession:
    """The latest login of an account. `sealed` is the access token as the vault encrypts it, empty once the session has ended;
    who it was is remembered, since the next login has to be the same person's."""

    account: str
    sealed: str
    user_id: str
    logged_in_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginView:
    """How a login stands; without one `user_id` is empty, `ends_at` None, and `message` says what a person must do."""

    broker: str
    is_live: bool
    user_id: str
    ends_at: datetime | None
    message: str
