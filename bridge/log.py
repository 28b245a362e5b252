"""Logs: an event name and fields, one JSON line each on standard error; never a secret, never a line per alert."""

import sys
import traceback
from contextlib import suppress
from functools import lru_cache
from types import ModuleType
from typing import Any, cast

_format = {"json": True}


def configure(*, as_json: bool = True) -> None:
    """Set up the log of this process: JSON lines for machines, plain ones for a terminal."""
    _format["json"] = as_json
    _logger.cache_clear()


@lru_cache(maxsize=1)
def _logger() -> Any:
    # Else structlog loads Twisted wherever it is installed, and for a bridge without a Kite account it shall not be.
    sys.modules.setdefault("structlog.twisted", cast("ModuleType", None))
    import structlog  # four megabytes that a bridge with nothing to say does not need

    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer() if _format["json"] else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            renderer,
        ],
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
    )
    return structlog.get_logger("bridge")


def log_event(event: str, **fields: object) -> None:
    """Something the operator may want to know later."""
    with suppress(OSError, ValueError):  # a log on a full disk, or closed, must not stop what is told in it
        _logger().info(event, **fields)


def log_fault(where: str, error: BaseException) -> None:
    """A fault of ours or a dependency that was contained: its kind and place, not its text, which may quote a body."""
    frames = traceback.extract_tb(error.__traceback__)[-4:]
    told = [f"{frame.filename.rpartition('/')[2]}:{frame.lineno} {frame.name}" for frame in frames]
    with suppress(OSError, ValueError):  # raised here, it would make a contained fault one that stops the writer
        _logger().error("fault", where=where, kind=type(error).__name__, at=told)
