"""Expressions as text: what they mean, what is refused, and that text and term say the same."""

import os
import pickle
import subprocess
import sys
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from bridge.scanner.terms import Factors, Term, TermError, parse, parse_verdict
from bridge.scanner.terms import library as t
from bridge.scanner.terms.library import FUNCTIONS
from bridge.scanner.terms.parse import LONGEST_TEXT
from bridge.scanner.terms.term import numeric

CLOSE = t.close


@pytest.mark.parametrize(
    ("text", "term"),
    [
        ("close > sma(close, 100) & adx(14) > 20", (CLOSE > t.sma(CLOSE, 100)) & (t.adx(14) > 20)),
        ("close > open and not volume < 5 or high > 1", ((CLOSE > t.open) & ~(t.volume < 5)) | (t.high > 1)),
        ("~close > open", ~(CLOSE > t.open)),
        ("  close   >\n open ", CLOSE > t.open),
        ("10 < rsi(close) <= 30", (numeric(10) < t.rsi(CLOSE)) & (t.rsi(CLOSE) <= 30)),
        ("close[1]", t.lag(CLOSE, 1)),
        ("close[0]", CLOSE),
        ("(close - open) / 2 * -3", (CLOSE - t.open) / 2 * -3),
        ("-close", -CLOSE),
        ("close != open", ~t.equal(CLOSE, t.open)),
        ("macd(close, slow=20)", t.macd(CLOSE, 12, 20)),
        ("top(nse_momentum(mask=turnover() > 1e8), 30)", t.top(t.nse_momentum(1, t.turnover() > 1e8), 30)),
        ("close > ema(close, 9) | close < ema(close, 21)", (CLOSE > t.ema(CLOSE, 9)) | (CLOSE < t.ema(CLOSE, 21))),
        ("1.5", numeric(1.5)),
    ],
)
def test_text_means_the_term(text, term):
    """& | ~ bind looser than comparisons, as one reads them."""
    assert parse(text) == term


@pytest.mark.parametrize(
    ("text", "column", "told"),
    [
        ("", 1, "cannot be read"),
        ("close >", 8, "cannot be read"),
        ("close > & open", 9, "cannot be read"),
        ("close > sma(close 100)", 13, "cannot be read"),
        ("close > smaa(close, 100)", 9, "smaa is not a function"),
        ("close > price", 9, "price is not known"),
        ("close & open > 1", 1, "`close` is a number"),
        ("open > 1 & close", 1, "`close` is a number"),
        ("(close > 1) + 2", 1, "is a yes or no"),
        ("sma(close)", 1, "missing a required argument: 'n'"),
        ("sma(close, 20, 30)", 1, "too many positional arguments"),
        ("sma(close, n=20, m=1)", 1, "unexpected keyword"),
        ("sma(close, 0)", 1, "whole number of bars from 1"),
        ("sma(close, 2.5)", 1, "whole number of bars"),
        ("sma(close, 100000)", 1, "to 5000"),
        ("sma(close, open)", 1, "whole number of bars"),
        ("sma", 1, "wants its inputs in parentheses"),
        ("close[-1]", 1, "may stand here"),
        ("close[open]", 1, "may stand here"),
        ("close ** 2", 1, "may stand here"),
        ("close // 2", 1, "may stand here"),
        ("close in open", 1, "compare"),
        ("lambda: close", 1, "may stand here"),
        ("close.real", 1, "may stand here"),
        ("().__class__", 1, "may stand here"),
        ("__import__('os')", 1, "__import__ is not a function"),
        ("sma(*close, 2)", 1, "no meaning"),
        ("sma(**close)", 1, "no meaning"),
        ("close > 'a'", 9, "may stand here"),
        ("close > True", 9, "may stand here"),
        ("[close for close in open]", 1, "may stand here"),
        ("(a := close)", 2, "may stand here"),
        ("close > 1e999", 9, "plain number"),
        ("close > 1 & bogus(2)", 13, "bogus is not a function"),
        ("close > 1 & close > 2 | wrong", 25, "wrong is not known"),
        ("close > ½", 9, "has no meaning"),
        ("winsor(close, -1)", 1, "limit above 0"),
        ("msci_momentum(1, close)", 1, "plain number"),
        ("close if close > 1 else open", 1, "may stand here"),
        ("close; open", 6, "cannot be read"),
        ("close = 1", 7, "cannot be read"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_column(text, column, told):
    """Never a traceback, never run."""
    with pytest.raises(TermError, match=told) as caught:
        parse(text)
    lines = str(caught.value).splitlines()
    assert lines[0].startswith(f"column {column}: ")
    assert lines[2].index("^") == column + 1


@pytest.mark.parametrize("text", ["(" * 300 + "close" + ")" * 300, "-" * 1900 + "close", "close" + " + 1" * 499, "1" * 3000])
def test_deep_and_long_texts_are_answered(text):
    """Within the limits or refused; the parser's own limits are not ours to crash on."""
    with suppress(TermError):
        assert isinstance(parse(text), Term)


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=60) | st.text(alphabet="close()sma,1 20&|~<>=+-*/[].and or not", max_size=60))
def test_any_text_is_a_term_or_an_error_of_ours(text):
    """Nothing else ever comes out."""
    with suppress(TermError):
        assert isinstance(parse(text), Term)


LEAVES = st.sampled_from(
    [t.open, t.close, t.adx(14), t.bars_seen(), t.nse_momentum(), numeric(-2.5), numeric(1e-7), t.rsi(CLOSE)]
)


def grown(terms: st.SearchStrategy[Term]) -> st.SearchStrategy[Term]:
    """One more operation on what there is."""
    rule = st.builds(lambda a, b, c: (a > b) & ~(b <= c) | t.cross_over(a, c), terms, terms, terms)
    return st.one_of(
        st.builds(lambda a, b: a + b, terms, terms),
        st.builds(lambda a, b: a - b, terms, terms),
        st.builds(lambda a, b: a * b, terms, terms),
        st.builds(lambda a, b: a / b, terms, terms),
        st.builds(lambda a: -a, terms),
        st.builds(t.sma, terms, st.integers(1, 300)),
        st.builds(t.lag, terms, st.integers(0, 300)),
        st.builds(t.slope_r2, terms, st.integers(3, 300)),
        st.builds(t.choose, rule, terms, terms),
        st.builds(lambda a, mask: t.z(a, mask & t.top(a, 3, ~mask)), terms, rule),
        st.builds(t.winsor, terms, st.floats(0.1, 9)),
    )


NUMBERS = st.recursive(LEAVES, grown, max_leaves=5)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(NUMBERS)
def test_a_term_written_out_reads_as_itself(term):
    """So that a page may show it, and a file keep it."""
    assume(len(str(term)) <= LONGEST_TEXT / 4)
    assert parse(str(term)) == term
    rule = (term > 1) | ~(term < t.high)
    assert parse(str(rule)) == rule


def test_terms_refuse_what_python_would_decide():
    """`and` on terms would look at one of them only."""
    with pytest.raises(TermError, match="join terms with"):
        bool(t.close > 1)
    with pytest.raises(TermError, match="a yes or no is wanted"):
        parse_verdict("close")
    with pytest.raises(TermError, match="a number or a term"):
        t.sma("close", 3)  # type: ignore[arg-type]


def test_own_factors_are_read_by_name():
    """Those of the registry that was handed in, and no others."""
    factors = Factors()
    mine = factors.add("mine", lookback=3, compute=lambda window: window[-1])
    assert parse("mine(close) > 2", factors) == (mine(t.close) > 2)
    assert parse(str(mine(t.close)), factors) == mine(t.close)
    with pytest.raises(TermError, match="mine is not a function"):
        parse("mine(close)")


def test_every_function_has_a_sentence():
    """The docs are made of them."""
    assert all(each.__doc__ for each in FUNCTIONS.values())


@pytest.mark.parametrize("seed", ["1", "2"])
def test_a_term_is_itself_in_another_process(seed):
    """Processes hash texts differently; a term that was sent is still found by one that was made there."""
    look = (
        "import pickle, sys; from bridge.scanner.terms import parse;"
        "assert parse('rsi(close, 14) > 50') in {pickle.load(sys.stdin.buffer): 0}"
    )
    sent = pickle.dumps(parse("rsi(close, 14) > 50"))
    subprocess.run([sys.executable, "-c", look], input=sent, check=True, env={**os.environ, "PYTHONHASHSEED": seed})
