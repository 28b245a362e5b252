"""`bridge operator password` at a terminal; how a hash is kept has tests of its own."""

import argparse
import getpass
import io
import sys

import pytest

from bridge.commands.operator import password
from bridge.core.errors import ConfigError
from bridge.settings import load_settings
from bridge.web.auth import is_password, password_hash
from tests.support.rigs import ROOT

PASSWORD = "correct horse battery"


@pytest.fixture(autouse=True)
def own_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("BRIDGE_CONFIG", str(ROOT / "config" / "bridge.yaml"))
    monkeypatch.setenv("BRIDGE_DATA_DIR", str(tmp_path))


def kept():
    return password_hash(load_settings())


def answers(monkeypatch, *texts):
    """What a person types, prompt by prompt."""
    given = iter(texts)

    def ask(_prompt):
        text = next(given)
        if text is None:
            raise EOFError
        return text

    monkeypatch.setattr(getpass, "getpass", ask)
    return argparse.Namespace(stdin=False)


def test_a_password_typed_twice_is_kept_as_a_hash(monkeypatch, capsys):
    """Neither shown nor stored as it is."""
    assert password(answers(monkeypatch, PASSWORD, PASSWORD)) == 0
    hashed = kept()
    assert hashed is not None
    assert is_password(hashed, PASSWORD)
    assert PASSWORD not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("texts", "told"), [((PASSWORD, "something else"), "not the same"), ((None,), "--stdin"), (("short",) * 2, "10 to")]
)
def test_what_is_no_password_changes_nothing(monkeypatch, texts, told):
    """A slip of the fingers must not lock anybody out."""
    assert password(answers(monkeypatch, PASSWORD, PASSWORD)) == 0
    before = kept()
    with pytest.raises(ConfigError, match=told):
        password(answers(monkeypatch, *texts))
    assert kept() == before


@pytest.mark.parametrize("end", ["\n", "\r\n", ""])
def test_a_password_from_a_pipe_goes_without_its_line_end(monkeypatch, end):
    """Scripts write with and without one."""
    monkeypatch.setattr(sys, "stdin", io.StringIO(PASSWORD + end))
    assert password(argparse.Namespace(stdin=True)) == 0
    hashed = kept()
    assert hashed is not None
    assert is_password(hashed, PASSWORD)
