"""Times of bars as whole numbers: seconds since 1970 UTC, and the days of India that they fall on."""

from datetime import date, timedelta
from typing import overload

import numpy as np
from numpy.typing import NDArray

from bridge.core.clock import EPOCH

# India's offset has not changed since 1945.
IST_S = 19_800
DAY_S = 86_400
# Bars within a day count from 09:15.
OPENING_S = 33_300
_EPOCH_ORDINAL = EPOCH.toordinal()


@overload
def day_numbers(seconds: NDArray[np.int64]) -> NDArray[np.int64]: ...
@overload
def day_numbers(seconds: int) -> int: ...
def day_numbers(seconds: NDArray[np.int64] | int) -> NDArray[np.int64] | int:
    """Days since 1970-01-01 in India."""
    return (seconds + IST_S) // DAY_S


def number_of_day(day: date) -> int:
    """The day as `day_numbers` counts it."""
    return day.toordinal() - _EPOCH_ORDINAL


def day_of_number(number: int) -> date:
    """The day of such a number."""
    return date.fromordinal(number + _EPOCH_ORDINAL)


def first_second(day: date) -> int:
    """When the day begins in India."""
    return number_of_day(day) * DAY_S - IST_S


def days_between(begin: date, end: date) -> list[date]:
    """Every day from `begin` to `end`, both counted."""
    return [begin + timedelta(days=number) for number in range((end - begin).days + 1)]
