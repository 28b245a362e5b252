"""Checks of what lies on this machine: folder, secrets, store, clock, calendar, instruments, dated data."""

import ctypes
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bridge.brokers.charges import rates_facts
from bridge.commands.client import database_file
from bridge.commands.findings import Facts, Finding, fail, ok, warn
from bridge.core.clock import IST, iso
from bridge.core.enums import InstrumentKind, OrdType, TimeInForce
from bridge.core.errors import BridgeError, StoreError
from bridge.core.market import SessionQuestion
from bridge.core.reasons import Reason
from bridge.market.calendar import load_calendar
from bridge.market.dated import look_at_data
from bridge.market.freeze import load_freezes
from bridge.market.lists import open_newest
from bridge.store.backend import Backend
from bridge.store.migrate import HEAD, current_revision
from bridge.store.reads import Reads
from bridge.vault import API_TOKEN_FILE, KEY_FILE, Vault
from bridge.web.auth import HASH_FILE

_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_MIB = 1024 * 1024
# A day of a busy bridge is some ten megabytes; SQLite's log and a backup want room as well.
DISK_FAIL_MIB, DISK_WARN_MIB = 100, 1024
# Clocks are set by a few seconds at times; alerts are refused when they are older than a minute.
CLOCK_SLACK = timedelta(seconds=5)
_TIME_ERROR = 5  # adjtimex(2): the clock is not synchronised


def check_folder(facts: Facts) -> Iterator[Finding]:
    """The data folder is there, ours alone, writable, and has room."""
    folder = facts.settings.data_dir
    there = folder if folder.exists() else _nearest(folder)
    if not (folder.is_dir() or (not folder.exists() and there.is_dir())) or not os.access(there, os.W_OK | os.X_OK):
        yield fail("data folder", f"{folder} cannot be written", f"make it a folder of the user that runs the bridge: {_me()}")
        return
    free = shutil.disk_usage(there).free // _MIB
    if free < DISK_WARN_MIB:
        tell = fail if free < DISK_FAIL_MIB else warn
        yield tell("data folder", f"{free} MiB are free at {there}", "make room: without it no alert can be stored")
    if not folder.exists():
        yield ok("data folder", f"{folder} is made at the first start; {free} MiB are free")
    elif folder.stat().st_mode & _OTHERS:
        yield warn("data folder", f"{folder} is open to others on this machine", f"chmod 700 {folder}")
    else:
        yield ok("data folder", f"{folder} is ours alone; {free} MiB are free")


def _nearest(folder: Path) -> Path:
    return next((parent for parent in folder.absolute().parents if parent.exists()), Path("/"))


def _me() -> str:
    return os.environ.get("USER") or f"uid {os.getuid()}"


def check_secrets(facts: Facts) -> Iterator[Finding]:
    """Files with secrets can be read by nobody else."""
    found = [facts.settings.data_dir / name for name in (KEY_FILE, API_TOKEN_FILE, HASH_FILE)]
    found = [path for path in found if path.exists()]
    for path in found:
        if path.stat().st_mode & _OTHERS:
            yield fail("secrets", f"{path} can be read by others on this machine", f"chmod 600 {path}")
        elif not os.access(path, os.R_OK):
            yield fail("secrets", f"{path} cannot be read by this user", f"chown {_me()} {path}")
    yield from _try_key(facts)
    names = ", ".join(path.name for path in found) or "none yet: they are made at the first start"
    yield ok("secrets", f"in {facts.settings.data_dir}: {names}")


def _try_key(facts: Facts) -> Iterator[Finding]:
    path = facts.settings.data_dir / KEY_FILE
    if facts.settings.secret_key is None and (not path.exists() or path.stat().st_mode & _OTHERS):
        return  # a look would make one, or say again who can read it
    try:
        Vault(facts.settings)
    except BridgeError as error:
        yield fail("secrets", str(error), "what opens nothing now opens nothing later: mend it before you trade")


def check_store(facts: Facts) -> Iterator[Finding]:
    """The database answers, has the shape that this version wants, and takes writes."""
    try:
        yield _look_at_store(facts)
    except BridgeError as error:
        yield fail("store", str(error), "look at database.url, and whether the server runs")


def _look_at_store(facts: Facts) -> Finding:
    file = database_file(facts.settings)
    if file is not None and not file.is_file():
        if not os.access(_nearest(file), os.W_OK | os.X_OK):
            return fail("store", f"{file} cannot be made", "name another place in database.url, or mend the folder's rights")
        return ok("store", f"{file} is made at the first start")
    backend = Backend(facts.settings.database.url)
    where = backend.url.render_as_string(hide_password=True)
    revision = current_revision(backend)
    if revision is not None and revision > HEAD:
        return fail("store", f"{where} is of a newer bridge (revision {revision})", "upgrade the bridge")
    if revision != HEAD:
        return ok("store", f"{where} answers; brought to revision {HEAD} at the next start")
    if facts.running is None:
        try_to_write(backend)
    latest = Reads(backend.engine).alerts(limit=1)
    if latest and latest[0].received_at > facts.now + CLOCK_SLACK:
        message = f"the latest alert came at {iso(latest[0].received_at)}, and now it is {iso(facts.now)}"
        return fail("store", f"{message}: the clock was set back", "set the clock right before you trade")
    return ok("store", f"{where} answers" + (" and takes writes" if facts.running is None else ", a bridge works on it"))


def try_to_write(backend: Backend) -> None:
    """Write without leaving a trace; StoreError tells why it cannot be done."""
    try:
        with closing(backend.raw()) as raw:
            if not backend.begin(raw):
                raise StoreError("the database takes no writes: another program has it locked")
            raw.execute("UPDATE alembic_version SET version_num = version_num")
            raw.execute("ROLLBACK")
    except backend.errors as error:
        raise StoreError(f"the database takes no writes: {str(error).splitlines()[0]}") from None


def check_clock(facts: Facts) -> Iterator[Finding]:
    """The clock has not run back behind our own files, and the kernel says that something keeps it right."""
    folder = facts.settings.data_dir
    written = [path.stat().st_mtime for path in folder.iterdir() if path.is_file()] if folder.is_dir() else []
    latest = datetime.fromtimestamp(max(written), UTC) if written else facts.now
    now = f"it is {facts.now.astimezone(IST):%Y-%m-%d %H:%M:%S} in India"
    if latest > facts.now + CLOCK_SLACK:
        yield fail("clock", f"{now}, but {folder} was written at {iso(latest)}", "the clock was set back: set it right")
    elif is_synchronised():
        yield ok("clock", f"{now}; the kernel says that the clock is kept right")
    else:
        yield warn(
            "clock",
            f"{now}; the kernel does not know of anything that keeps the clock right",
            "run a time service: timedatectl set-ntp true (in a container: on its host)",
        )


def is_synchronised() -> bool:
    """What adjtimex(2) says of the clock; it asks the kernel, no network. True where there is no such call."""
    try:
        adjtimex = ctypes.CDLL(None).adjtimex
    except (OSError, AttributeError):
        return True
    return int(adjtimex(ctypes.create_string_buffer(512))) != _TIME_ERROR  # all zero: change nothing, only tell


def check_calendar(facts: Facts) -> Iterator[Finding]:
    """The calendar knows today."""
    try:
        calendar = load_calendar(facts.settings.calendar)
        listing = open_newest(facts.settings.instruments_dir(), facts.settings.instruments_file())
    except BridgeError as error:
        yield fail("calendar", str(error), "correct the file, or take the setting out")
        return
    share = next((one for one in listing if one.kind is InstrumentKind.EQ and one.exchange == "NSE"), None)
    if share is None:
        yield warn("calendar", "no NSE share is listed, so the calendar was not tried", "check the list of instruments")
        return
    question = SessionQuestion(instrument=share, ord_type=OrdType.LIMIT, time_in_force=TimeInForce.DAY, at=facts.now)
    today = calendar.session(question)
    if today.reason is Reason.CALENDAR_UNKNOWN:
        yield fail("calendar", today.message, "name a newer file in the setting `calendar`, or upgrade the bridge")
    else:
        yield ok("calendar", "NSE is open." if today.is_open else today.message)


def check_instruments(facts: Facts) -> Iterator[Finding]:
    """The list loads, and has contracts that still trade."""
    settings, today = facts.settings, facts.now.astimezone(IST).date()
    path = settings.instruments_file()
    try:
        listing = open_newest(settings.instruments_dir(), path)
        load_freezes(settings.freeze_quantities)
    except BridgeError as error:
        yield fail("instruments", str(error), "name a CSV in the columns of Kite's instrument dump")
        return
    count, alive = listing.count_contracts(today)
    day = listing.facts.day
    whose = str(path) if day is None else f"the list of {day} from {listing.facts.source}"
    told = f"{len(listing)} in {whose}, {alive} contracts alive"
    if count and not alive:
        mend = "run `bridge instruments sync ACCOUNT`, or fetch the broker's list of today"
        yield warn("instruments", f"{told}: all {count} have expired", mend)
    else:
        yield ok("instruments", told)


def check_data(facts: Facts) -> Iterator[Finding]:
    """What holds for some days only is of the right day, where an account depends on it."""
    settings = facts.settings
    try:
        listing = open_newest(settings.instruments_dir(), settings.instruments_file())
        calendar = load_calendar(settings.calendar)
        rows = look_at_data(settings, calendar=calendar, facts=listing.facts, rates=rates_facts(), now=facts.now)
    except BridgeError:
        return  # told by the checks before
    for row in rows:
        if row.is_trouble:
            yield warn(row.part, f"{row.told}: {row.effect}", row.mend)
        else:
            yield ok(row.part, row.told + (", and no account needs newer" if row.is_old else ""))
