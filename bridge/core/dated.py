"""DatedData: data that hold for some days only, of which day they are, and what an order meets while they are old."""

from dataclasses import dataclass
from datetime import date


@dataclass(frozen=True, slots=True, kw_only=True)
class DatedData:
    """One row of the table of dated data.

    `of` is the day they are of and `until` the last day on which they hold, as far as they say so; without both there are none.
    `is_wanted` when an account of the settings depends on them. `effect` and `mend` say what happens while they are old, and
    the command that brings new ones.
    """

    part: str
    of: date | None
    until: date | None
    is_old: bool
    is_wanted: bool
    effect: str
    mend: str

    @property
    def is_trouble(self) -> bool:
        """Whether a person has to do something."""
        return self.is_old and self.is_wanted

    @property
    def told(self) -> str:
        """Of which day they are, and until when they hold."""
        words = [f"of {self.of}"] if self.of is not None else []
        words += [f"good until {self.until}"] if self.until is not None else []
        return ", ".join(words) or "there are none"

    @property
    def sentence(self) -> str:
        """What is wrong, what comes of it, and the mend."""
        return f"{self.part}: {self.told}. While they are old, {self.effect}. Mend: {self.mend}."


@dataclass(frozen=True, slots=True, kw_only=True)
class RatesFacts:
    """Of the table of charges: the days from which rates hold, and when it was last held against what the broker publishes."""

    days: tuple[date, ...]
    as_of: date
