"""How a person or a file writes a symbol, as the bridge keeps it."""

import re

_SYMBOL = re.compile(r"[A-Z]{2,6}:[!-~][ -~]{0,62}")


def check_symbol(text: str) -> str:
    """The symbol, of NSE when it names no exchange; ValueError when it is none."""
    symbol = text.strip().upper()
    symbol = symbol if ":" in symbol else f"NSE:{symbol}"
    if not _SYMBOL.fullmatch(symbol):
        raise ValueError(f"{text!r} is not a symbol such as NSE:SBIN")
    return symbol
