"""Terms: what a scan or a strategy computes of bars; an engine steps them for all symbols at once.

from bridge.scanner.terms import Bar, Bars, Engine, parse, library as t

rule = parse("close > sma(close, 100) & adx(14) > 20")
engine = Engine([rule, t.rsi(t.close, 14)], symbols=500)
engine.warm(history)            # Bars, (rows, 5, symbols)
engine.step(bar)                # Bar, (5, symbols)
engine.read().passes(rule)      # (symbols,) of bool
"""

from bridge.scanner.terms import library
from bridge.scanner.terms.bars import FIELDS, Bar, Bars, BoolArray, FloatArray
from bridge.scanner.terms.engine import Engine, Reading
from bridge.scanner.terms.own import Factors, OwnFactor
from bridge.scanner.terms.parse import parse, parse_verdict
from bridge.scanner.terms.term import Term, TermError

__all__ = [
    "FIELDS", "Bar", "Bars", "BoolArray", "Engine", "Factors", "FloatArray", "OwnFactor", "Reading", "Term", "TermError",
    "library", "parse", "parse_verdict",
]  # fmt: skip
