"""`bridge instruments ban · freeze`: the exchange's own lists, read, checked and kept with their date."""

import argparse
import re
import sys
from calendar import monthrange
from datetime import date
from pathlib import Path

from bridge.commands.client import CommandError
from bridge.core.clock import IST, SystemClock
from bridge.market.exchange_lists import fetch_text, keep_list, take_ban
from bridge.market.freeze import MAX_BYTES, freezes_to_json, parse_freezes
from bridge.market.rulings import FREEZE_FILE
from bridge.settings import load_settings

_MONTH = re.compile(r"(20\d\d)-(0[1-9]|1[0-2])")


def ban(arguments: argparse.Namespace) -> int:
    """Keep the F&O ban of one trading day; a bridge that runs takes it within a second."""
    settings, now = load_settings(), SystemClock().now()
    if (arguments.file is None) is not arguments.fetch:
        raise CommandError("name a file, or --fetch to ask the exchange")
    source = arguments.file or settings.exchange.ban_url
    try:
        text = fetch_text(source) if arguments.fetch else _read(source)
    except ValueError as error:
        raise CommandError(f"the ban list was not taken, the one in use stays: {source}: {error}") from None
    found = take_ban(settings.exchange_dir(), text, source=source, now=now)
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
    settings = load_settings()
    text = freezes_to_json(quantities, source=arguments.file, as_of=_today(), first=first, last=last)
    keep_list(settings.exchange_dir(), FREEZE_FILE, text)
    print(f"Freeze quantities of {len(quantities)} underlyings, from {first} to {last}.")
    if settings.freeze_quantities is not None:
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
