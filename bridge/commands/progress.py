"""A progress bar: one line that is written over in a terminal, and a line for every tenth elsewhere."""

from typing import TextIO

from bridge.core.clock import Clock

WIDTH = 30
_BAR = ("·", "█")
_REDRAW_S = 0.1


class Progress:
    """How far something is; `tell` may be called as often as one likes."""

    def __init__(self, out: TextIO, clock: Clock) -> None:
        self._out = out
        self._clock = clock
        self._begun_s = clock.monotonic()
        self._drawn_s = self._begun_s - _REDRAW_S
        self._shown = -1

    def tell(self, done: int, total: int, what: str = "") -> None:
        """`done` of `total` are done, and `what` is being worked on."""
        now_s, part = self._clock.monotonic(), done / total if total else 1.0
        if not self._out.isatty():
            if int(part * 10) > self._shown:
                self._shown = int(part * 10)
                self._out.write(f"{part:4.0%}  {done} of {total}\n")
        elif done >= total:
            self._out.write("\r\x1b[K")
        elif now_s - self._drawn_s >= _REDRAW_S:
            self._drawn_s = now_s
            filled = int(part * WIDTH)
            left_s = (now_s - self._begun_s) / done * (total - done) if done else 0.0
            left = f", {_shorten(left_s)} left" if done else ""
            line = f"{_BAR[1] * filled}{_BAR[0] * (WIDTH - filled)} {part:4.0%}  {done} of {total}{left}  {what[:40]}"
            self._out.write(f"\r\x1b[K{line}")
        self._out.flush()


def _shorten(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"
