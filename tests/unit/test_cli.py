"""The command line: quick to start, and never without an answer that a person can use."""

import argparse
import os
import subprocess
import sys
from importlib import import_module
from types import SimpleNamespace

import pytest

from bridge import __version__, cli
from bridge.core.errors import BridgeError, ConfigError, InvariantError, RefusedError, StoreError
from bridge.core.reasons import RefusalCode
from tests.support.rigs import ROOT

HEAVY = ("alembic", "bridge.bootstrap", "cryptography", "httpx", "pydantic", "sqlalchemy", "starlette", "uvicorn", "yaml")
COMMANDS = {
    *("serve", "demo", "alert new", "alert list", "alert revoke", "halt", "resume", "flatten", "reconcile"),
    *(
        "login",
        "status",
        "check",
        "audit export",
        "audit verify",
        "instruments sync",
        "instruments ban",
        "instruments freeze",
        "operator password",
        "venue",
        "notify test",
    ),
    *("bars doctor", "bars drop", "bars fetch", "bars import", "bars list", "bars make", "universe record", "universe show"),
}


@pytest.fixture(autouse=True)
def own_hook(monkeypatch):
    """`main` replaces the hook of its process; a test gives it back."""
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)


def parsers_of(parser, words=()):
    """Every command with its parser."""
    actions = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    for action in actions:
        for name, child in action.choices.items():
            yield from parsers_of(child, (*words, name))
    if not actions:
        yield " ".join(words), parser


def run(monkeypatch, what):
    """`main` with a command that does `what`."""
    monkeypatch.setattr(cli, "import_module", lambda name: SimpleNamespace(halt=what))
    return cli.main(["halt"])


def raising(error):
    def command(_arguments):
        raise error

    return command


def test_help_loads_nothing_heavy():
    """A person who asks for help, or a shell that completes, does not wait for a database library."""
    code = (
        "import sys\nfrom bridge.cli import main\n"
        "try:\n    main(['serve', '--help'])\nexcept SystemExit as end:\n    assert end.code == 0\n"
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_commands_are_those_of_the_contract():
    """They are all there, and each command leads to a function that is there and documented."""
    found = dict(parsers_of(cli.make_parser()))
    assert set(found) >= COMMANDS
    for parser in found.values():
        module, _, name = parser.get_default("run").partition(":")
        assert getattr(import_module(f"bridge.commands.{module}"), name).__doc__


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_takes_a_settings_file_and_explains_itself(name, capsys):
    """`--config` goes with each, and each tells its options."""
    with pytest.raises(SystemExit) as end:
        cli.main([*name.split(), "--help"])
    assert end.value.code == 0
    assert "--config FILE" in capsys.readouterr().out


def test_the_settings_file_is_handed_on(monkeypatch):
    """`--config` is the same as BRIDGE_CONFIG; without it the environment stands."""
    seen = []

    def note(_arguments):
        seen.append(os.environ["BRIDGE_CONFIG"])
        return 0

    monkeypatch.setenv("BRIDGE_CONFIG", "before.yaml")
    monkeypatch.setattr(cli, "import_module", lambda name: SimpleNamespace(halt=note))
    assert cli.main(["halt"]) == 0
    assert cli.main(["halt", "--config", "mine.yaml"]) == 0
    assert seen == ["before.yaml", "mine.yaml"]


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (ConfigError("server.port: is wrong"), 2, "bridge: server.port: is wrong"),
        (ConfigError("The settings are wrong:\n  a: one"), 2, "bridge: The settings are wrong: a: one"),
        (ConfigError("The settings are wrong:\n  a: one\n  b: two"), 2, "bridge: The settings are wrong:\n  a: one\n  b: two"),
        (StoreError("the disk is full"), 1, "bridge: the disk is full"),
        (RefusedError(RefusalCode.E_FIELD, "Wrong.", hint="Write it so."), 1, "bridge: Wrong. Write it so."),
        (RefusedError(RefusalCode.E_FIELD, "Wrong."), 1, "bridge: Wrong."),
        (InvariantError("a promise"), 1, "bridge: a promise"),
        (BridgeError("something"), 1, "bridge: something"),
        (PermissionError(13, "Permission denied", "data"), 1, "bridge: [Errno 13] Permission denied: 'data'"),
    ],
)
def test_an_error_is_one_clear_message_and_a_code(monkeypatch, capsys, error, code, told):
    """2 for what the operator has set wrong, 1 for what did not work; nothing on standard output."""
    assert run(monkeypatch, raising(error)) == code
    out, err = capsys.readouterr()
    assert (out, err) == ("", told + "\n")


def test_an_interrupted_command_says_nothing(monkeypatch, capsys):
    """Ctrl-C is an answer; 130 is the shell's number for it."""
    assert run(monkeypatch, raising(KeyboardInterrupt())) == 130
    assert capsys.readouterr().err == ""


def test_what_a_command_returns_is_the_exit_code(monkeypatch):
    """0 only on success."""
    assert run(monkeypatch, lambda _: 1) == 1
    assert run(monkeypatch, lambda _: 0) == 0


def test_a_fault_of_ours_is_named_without_its_text(capsys):
    """Kind and place help whoever mends it; the text may quote a token."""
    try:
        raise KeyError("v1.secret.token")
    except KeyError as error:
        cli.tell_fault(type(error), error, error.__traceback__)
    err = capsys.readouterr().err
    assert "KeyError at test_cli.py:" in err
    assert "secret" not in err


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["alert"],
        ["nothing"],
        ["halt", "--account", "a", "--strategy", "b"],
        ["alert", "new"],
        ["alert", "new", "--strategy", "s", "--paper", "--live"],
        ["serve", "--port", "http"],
        ["alert", "revoke"],
    ],
)
def test_a_wrong_use_is_told_with_the_usage(words, capsys):
    """argparse's own answer: usage on standard error, exit code 2."""
    with pytest.raises(SystemExit) as end:
        cli.main(words)
    assert end.value.code == 2
    assert capsys.readouterr().err.startswith("usage: bridge")


def test_the_version_is_the_package_s(capsys):
    """What `pip` says and what the bridge says are the same."""
    with pytest.raises(SystemExit) as end:
        cli.main(["--version"])
    assert end.value.code == 0
    assert capsys.readouterr().out == f"bridge {__version__}\n"


def test_options_of_a_token_are_collected():
    """Repeatable options gather; what is not named sets no bound."""
    options = ["--strategy", "s", "--symbol", "NSE:SBIN", "--symbol", "NSE:TCS", "--action", "buy", "--max-quantity", "10"]
    found = vars(cli.make_parser().parse_args(["alert", "new", *options, "--live"]))
    assert found["symbols"] == ["NSE:SBIN", "NSE:TCS"]
    assert (found["actions"], found["accounts"], found["env"]) == (["buy"], [], "live")
    assert (found["max_quantity"], found["max_notional"], found["expires"], found["product"]) == ("10", None, None, None)
