"""TokenRecord: what the bridge keeps of a capability token it minted, never its text."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRecord:
    """`claims` is the JSON of the claims, to show; revocation is by `token_id`."""

    token_id: str
    claims: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None = None
