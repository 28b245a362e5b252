"""A definition as it is kept: a scan or strategy of our own, its versions, and what it is allowed to do."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Deployment(StrEnum):
    """Whose accounts a definition's signals go to."""

    PAPER = "paper"
    LIVE = "live"


@dataclass(frozen=True, slots=True, kw_only=True)
class DefinitionVersion:
    """One version as it was saved; `body` is canonical JSON, `version` twelve hex digits of its hash."""

    name: str
    version: str
    body: str
    saved_at: datetime
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DefinitionRecord:
    """Where a definition stands. `version` is the one that runs when it is `enabled`; for live accounts it has to be the one
    that a person approved.
    """

    name: str
    version: str
    strategy: str
    enabled: bool = False
    deployment: Deployment = Deployment.PAPER
    approved_version: str = ""
    approved_by: str = ""
    approved_at: datetime | None = None
    updated_at: datetime

    @property
    def is_approved(self) -> bool:
        """True when a person has approved exactly this version for live accounts."""
        return self.approved_version == self.version
