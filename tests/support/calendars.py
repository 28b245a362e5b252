"""A calendar of the present, for bridges by the machine's clock: the shipped one ends with the last year that is known."""

import atexit
import json
import shutil
import tempfile
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from bridge.core.clock import IST
from bridge.market.schedule import Segment


@cache
def present_calendar() -> Path:
    """A file in which this year and the next have no holiday, and every segment the same hours."""
    year = datetime.now(UTC).astimezone(IST).year
    hours = {
        "segments": [segment.value for segment in Segment], "from": f"{year}-01-01", "to": f"{year + 1}-12-31",
        "windows": [["continuous", "09:15", "15:30"]], "source": "made up",
    }  # fmt: skip
    usual = {"date": f"{year}-01-01", "boards": ["capital"], "name": "New Year", "hours": "usual", "source": "made up"}
    phase = {"title": "continuous trading", "ord_types": ["MARKET", "LIMIT", "SL", "SL-M"], "times_in_force": ["DAY", "IOC"]}
    told = {
        "title": "Made up", "as_of": f"{year}-01-01", "years": [year, year + 1], "index_names": ["NIFTY"],
        "phases": {"continuous": phase}, "hours": [hours], "days": [usual],
    }  # fmt: skip
    folder = Path(tempfile.mkdtemp(prefix="bridge-calendar-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    file = folder / "calendar.json"
    file.write_text(json.dumps(told))
    return file
