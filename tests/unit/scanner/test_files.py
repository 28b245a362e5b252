"""Definitions as text: what is written is read back the same, and mistakes are found where they stand."""

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.scanner.definition import DefinitionError
from bridge.scanner.files import locate, read_text, write_text

# What a keyboard makes: YAML reads some control characters as ends of lines.
TYPED = st.text(st.characters(categories=("L", "N", "P", "S", "Zs")) | st.just("\n"), max_size=20)
PLAIN = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TYPED
SOURCES = st.dictionaries(
    TYPED,
    st.recursive(
        PLAIN,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TYPED, inner, max_size=4),
        max_leaves=12,
    ),
    max_size=6,
)


@settings(max_examples=40)
@given(SOURCES)
def test_what_is_written_is_read_back_the_same(source: dict[str, Any]) -> None:
    """In the order of its keys."""
    again = read_text(write_text(source))
    assert again == source
    assert list(again) == list(source)


@pytest.mark.parametrize(
    ("text", "key", "place"),
    [
        ("a: 1", "a", (1, 4)), ("a:\n  b: x > 1", "a.b", (2, 6)), ('a: {b: "x"}', "a.b", (1, 9)), ("a: 1", "b", None),
        ("a: 1", "a.b", None), ("- a", "a", None), ("", "a", None), ("a: [", "a", None), ("? [x]\n: 1\na: 2", "a", (3, 4)),
    ],
)  # fmt: skip
def test_a_field_is_found_in_its_text(text: str, key: str, place: tuple[int, int] | None) -> None:
    assert locate(text, key) == place


@given(st.text(max_size=200))
def test_whatever_is_typed_is_read_or_refused(text: str) -> None:
    """Never a crash, neither in reading nor in looking for a place."""
    with suppress(DefinitionError):
        read_text(text)
    locate(text, "filters.trend")


def test_aliases_are_refused() -> None:
    with pytest.raises(DefinitionError, match="aliases"):
        read_text("a: &x [1]\nb: *x")
