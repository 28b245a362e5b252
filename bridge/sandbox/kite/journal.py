"""The sandbox's memory on disk: one line of JSON for each thing that happened, read back in order at the next start."""

import json
from collections.abc import Iterator
from dataclasses import fields
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO, TypeVar

from bridge.core.errors import ConfigError

T = TypeVar("T")


class Journal:
    """Lines in a file, or nowhere: then the sandbox lives as long as its object.

    A line is handed to the system at once, so a killed process loses nothing; a power cut may.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._file: TextIO | None = None

    def read(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Every line as its kind and content; a last line without an end was never finished and is cut off."""
        if self._path is None or not self._path.exists():
            return
        whole = self._path.read_bytes()
        kept = whole[: whole.rfind(b"\n") + 1]
        if kept != whole:
            self._path.write_bytes(kept)
        for line, text in enumerate(kept.splitlines(), start=1):
            try:
                kind, content = json.loads(text)
            except ValueError:
                raise ConfigError(f"{self._path}, line {line}: is not one of ours; move the file away to begin anew") from None
            yield kind, content

    def write(self, kind: str, content: dict[str, Any]) -> None:
        """Add a line."""
        if self._path is None:
            return
        if self._file is None:
            self._file = self._path.open("a", encoding="utf-8")
        self._file.write(json.dumps([kind, content], default=_write_value) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def _write_value(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def to_line(value: Any) -> dict[str, Any]:
    """A dataclass as the content of a line."""
    return {one.name: getattr(value, one.name) for one in fields(value)}


def from_line(kind: type[T], content: dict[str, Any], *, decimals: frozenset[str], times: frozenset[str]) -> T:
    """The dataclass of a line; lists become the tuples they were."""
    values: dict[str, Any] = {}
    for name, value in content.items():
        if value is not None and name in decimals:
            values[name] = Decimal(value)
        elif value is not None and name in times:
            values[name] = datetime.fromisoformat(value)
        else:
            values[name] = tuple(value) if isinstance(value, list) else value
    return kind(**values)
