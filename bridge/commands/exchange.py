"""`bridge instruments ban · freeze`: the exchange's own lists, read, checked and kept with their date."""

import argparse
import os
import re
import sys
from calendar import monthrange
from datetime import date
from pathlib import Path

from bridge.commands.client import CommandError
from bridge.core.clock import IST, SystemClock
from bridge.market.ban import ban_to_json, parse_ban
from bridge.market.freeze import MAX_BYTES, freezes_to_json, parse_freezes
from bridge.market.rulings import BAN_FILE, FREEZE_FILE
from bridge.settings import load_settings

_MONTH = re.compile(r"(20\d\d)-(0[1-9]|1[0-2])")


def ban(arguments: argparse.Namespace) -> int:
    """Keep the F&O ban of one trading day; a bridge that runs takes it within a second."""
    try:
        found = parse_ban(_read(arguments.file))
    except ValueError as error:
        raise CommandError(f"the ban list was not taken, the one in use stays: {arguments.file}: {error}") from None
    as_of = SystemClock().now().isoformat(timespec="seconds")
    _keep(BAN_FILE, ban_to_json(found, source=arguments.file, as_of=as_of))
    print(f"F&O ban of {found.day}: {', '.join(sorted(found.names)) or 'nothing is banned'}.")
    if found.day < _today():
        print("That day is over: for today the ban is not known.")
    return 0


def freeze(arguments: argparse.Namespace) -> int:
    """Keep the freeze quantities of one month; a bridge that runs takes them within a second."""
    try:
        quantities = parse_freezes(_read(arguments.file))
    except ValueError as error:
        raise CommandError(f"the quantities were not taken, those in use stay: {arguments.file}: {error}") from None
    first, last = _month(arguments.month)
    _keep(FREEZE_FILE, freezes_to_json(quantities, source=arguments.file, as_of=_today(), first=first, last=last))
    print(f"Freeze quantities of {len(quantities)} underlyings, from {first} to {last}.")
    if load_settings().freeze_quantities is not None:
        print("The setting `freeze_quantities` names another file, which is the one in use.")
    return 0


def _today() -> date:
    return SystemClock().now().astimezone(IST).date()


def _month(named: str | None) -> tuple[date, date]:
    """The first and last day of a month, of the present one when none is named."""
    found = _MONTH.fullmatch(named) if named is not None else _MONTH.fullmatch(f"{_today():%Y-%m}")
    if found is None:
        raise CommandError(f"--month {named!r} is not like 2026-12")
    year, month = int(found[1]), int(found[2])
    return date(year, month, 1), date(year, month, monthrange(year, month)[1])


def _read(file: str) -> str:
    """The text of a file, or of standard input for `-`; ValueError says what is wrong with it."""
    try:
        raw = sys.stdin.buffer.read(MAX_BYTES + 1) if file == "-" else _head_of(Path(file))
    except OSError as error:
        raise CommandError(f"{file} cannot be read: {error.strerror}") from None
    if len(raw) > MAX_BYTES:
        raise ValueError("it is too large")
    if raw.startswith((b"\xd0\xcf\x11\xe0", b"PK")):
        raise ValueError("it is a spreadsheet; open it and save the table as CSV")
    return raw.decode("utf-8-sig")


def _head_of(path: Path) -> bytes:
    with path.open("rb") as handle:
        return handle.read(MAX_BYTES + 1)


def _keep(name: str, text: str) -> None:
    """Put the file in its place whole: a bridge may be reading it."""
    folder = load_settings().exchange_dir()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        new = folder / f"{name}.new"
        with new.open("w", encoding="utf-8") as handle:
            handle.write(text)
            handle.flush()
            os.fsync(handle.fileno())
        new.replace(folder / name)
    except OSError as error:
        raise CommandError(f"{folder / name} cannot be written: {error.strerror}") from None
