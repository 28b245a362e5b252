"""The command line: what may be said, and which module does it; that module loads only when its command is given."""

import argparse
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from importlib import import_module
from types import TracebackType
from typing import TYPE_CHECKING

from bridge import __version__
from bridge.core.errors import BridgeError, ConfigError, RefusedError

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

FAILED, MISCONFIGURED, INTERRUPTED = 1, 2, 130


def main(words: Sequence[str] | None = None) -> int:
    """Carry out one command; 0 only on success. What went wrong is one line on standard error, never a traceback."""
    sys.excepthook = tell_fault
    arguments = make_parser().parse_args(words)
    if arguments.config is not None:
        os.environ["BRIDGE_CONFIG"] = arguments.config
    module, _, name = arguments.run.partition(":")
    try:
        command: Callable[[argparse.Namespace], int] = getattr(import_module(f"bridge.commands.{module}"), name)
        return command(arguments)
    except ConfigError as error:
        return _tell(error, MISCONFIGURED)
    except BrokenPipeError:  # whoever read our output has seen enough; nor may the flush at exit complain
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except (BridgeError, OSError) as error:
        return _tell(error, FAILED)
    except KeyboardInterrupt:
        return INTERRUPTED


def _tell(error: Exception, code: int) -> int:
    text, hint = str(error), (error.hint or "") if isinstance(error, RefusedError) else ""
    if text.count("\n") == 1:
        text = " ".join(text.split())
    print(f"bridge: {text} {hint}".rstrip(), file=sys.stderr)
    return code


def tell_fault(kind: type[BaseException], _error: BaseException, trace: TracebackType | None) -> None:
    """Name a fault of ours by kind and place; its text may quote what must not be shown."""
    places = [f"{os.path.basename(at.filename)}:{at.lineno}" for at in traceback.extract_tb(trace)[-4:]]
    print(f"bridge: a fault of the bridge itself, please report it: {kind.__name__} at {' > '.join(places)}", file=sys.stderr)


def make_parser() -> argparse.ArgumentParser:
    """Every command with its options."""
    parser = argparse.ArgumentParser(
        prog="bridge",
        description="From TradingView alerts to broker orders: every alert once, durably, and explained.",
        epilog="`bridge COMMAND --help` tells a command's options. The exit code is 0 only on success.",
    )
    parser.add_argument("--version", action="version", version=f"bridge {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_servers(commands)
    _add_alert(commands)
    _add_trading(commands)
    _add_bars(commands)
    _add_replay(commands)
    _add_universe(commands)
    _add_scans(commands)
    _add_upkeep(commands)
    return parser


def _add(commands: "Commands", name: str, run: str, what: str) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=what, description=f"{what[:1].upper()}{what[1:]}.")
    command.add_argument("--config", metavar="FILE", help="settings (default: config/bridge.yaml)")
    command.set_defaults(run=run)
    return command


def _add_group(commands: "Commands", name: str, what: str) -> "Commands":
    group = commands.add_parser(name, help=what, description=f"{what[:1].upper()}{what[1:]}.")
    return group.add_subparsers(title="commands", metavar="COMMAND", required=True)


def _add_servers(commands: "Commands") -> None:
    serve = _add(commands, "serve", "serve:serve", "run the bridge until it is told to stop")
    serve.add_argument("--host", metavar="H", help="address to bind (default: server.host, 127.0.0.1)")
    serve.add_argument("--port", metavar="P", type=int, help="port; 0 takes a free one (default: server.port, 8000)")
    demo = _add(commands, "demo", "demo:demo", "run a paper bridge on a fresh folder and post a small day of alerts to it")
    demo.add_argument("--once", action="store_true", help="end after the day; exit code 0 only if all went as it should")
    demo.add_argument("--port", metavar="P", type=int, help="port (default: 8000, or a free one)")
    demo.add_argument("--data", metavar="DIR", help="keep the demo's data here (default: a folder that is removed)")
    venue = _add(commands, "venue", "venue:venue", "run a paper broker behind HTTP, to rehearse with and to break on purpose")
    venue.add_argument("--host", metavar="H", default="127.0.0.1", help="address to bind (default: 127.0.0.1)")
    venue.add_argument("--port", metavar="P", type=int, default=8100, help="port; 0 takes a free one (default: 8100)")
    venue.add_argument("--data", metavar="DIR", help="folder of its database (default: venue in data_dir)")
    venue.add_argument("--cash", metavar="R", default="1000000", help="opening money of each account (default: 1000000)")
    venue.add_argument("--slippage-bps", metavar="N", default="1", help="hundredths of a percent against you (default: 1)")
    venue.add_argument("--no-charges", dest="charges", action="store_false", help="take no brokerage, taxes and fees")
    told = "speak Kite Connect v3 instead: a stand-in for Zerodha"
    venue.add_argument("--kite", dest="run", action="store_const", const="kite_venue:kite_venue", help=told)
    venue.add_argument("--redirect", metavar="URL", default="", help="with --kite: where the login page sends the browser")
    venue.add_argument("--postback", metavar="URL", default="", help="with --kite: where updates about orders are posted")


def _add_alert(commands: "Commands") -> None:
    alert = _add_group(commands, "alert", "make, list and revoke the tokens that let alerts in")
    new = _add(alert, "new", "alerts:new", "make a token; prints what to paste into TradingView's alert dialog")
    new.add_argument("--strategy", metavar="S", required=True, help="the strategy of the settings that the alerts are for")
    _add_repeatable(new, "--symbol", "NSE:SBIN", "only this one, or NSE:* for a whole exchange")
    _add_repeatable(new, "--account", "A", "only this account of the strategy")
    _add_repeatable(new, "--action", "buy", "only this: buy, sell, exit, cancel or target")
    new.add_argument("--product", metavar="P", help="only this product: MIS, CNC, NRML or MTF")
    new.add_argument("--max-quantity", metavar="N", help="at most so many units an alert, as a quantity or as a target")
    new.add_argument("--max-notional", metavar="R", help="at most so many rupees an order")
    env = new.add_mutually_exclusive_group()
    env.add_argument("--paper", dest="env", action="store_const", const="paper", help="only paper accounts")
    env.add_argument("--live", dest="env", action="store_const", const="live", help="only live accounts")
    new.add_argument("--expires", metavar="2027-01-31", help="last day (in India), or a time with its zone")
    new.add_argument("--json", action="store_true", help="print JSON with url, token and message")
    _add(alert, "list", "alerts:show", "list the tokens that were made, and what each allows")
    revoke = _add(alert, "revoke", "alerts:revoke", "make a token worthless from now on")
    revoke.add_argument("token_id", metavar="ID", help="as shown by `bridge alert list`")


def _add_scans(commands: "Commands") -> None:
    scan = _add_group(commands, "scan", "scans and strategies of our own, from a file to live")
    _add(scan, "list", "scans:show", "list the definitions, and the files that can be added")
    save = _add(scan, "save", "scans:save", "create a definition from a YAML file, or make its next version")
    save.add_argument("file", metavar="FILE", help="such as config/scans/ema-cross.yaml")
    for name, what in (
        ("enable", "let it run from the next closed bar on"),
        ("disable", "let it raise nothing any more"),
        ("delete", "forget one that is disabled; its versions are kept"),
    ):
        _add(scan, name, f"scans:{name}", what).add_argument("name", metavar="NAME", help="as in its file")
    approve = _add(scan, "approve", "scans:approve", "approve one version for live accounts")
    approve.add_argument("name", metavar="NAME", help="as in its file")
    approve.add_argument("version", metavar="VERSION", help="the one you have read, as `bridge scan list` shows it")
    deploy = _add(scan, "deploy", "scans:deploy", "send its signals to paper accounts, or to live ones")
    deploy.add_argument("name", metavar="NAME", help="as in its file")
    deploy.add_argument("deployment", choices=("paper", "live"), help="whose accounts")
    explain = _add(scan, "explain", "scans:explain", "tell what it saw at the latest bar, and why each symbol is in or out")
    explain.add_argument("name", metavar="NAME", help="as in its file")
    explain.add_argument("--symbol", metavar="NSE:SBIN", help="only this one, with the numbers of every rule")


def _add_repeatable(command: argparse.ArgumentParser, option: str, metavar: str, what: str) -> None:
    name = f"{option.removeprefix('--')}s"
    command.add_argument(option, metavar=metavar, dest=name, action="append", default=[], help=f"{what}; repeatable")


def _add_trading(commands: "Commands") -> None:
    for name, what in (("halt", "let only exits out"), ("resume", "let entries out again")):
        command = _add(commands, name, f"trading:{name}", f"{what}; for everything, one account or one strategy")
        scope = command.add_mutually_exclusive_group()
        scope.add_argument("--account", metavar="A", help="only this account")
        scope.add_argument("--strategy", metavar="S", help="only this strategy")
        told = "let nothing out but cancels, exits neither" if name == "halt" else "taken for symmetry with halt"
        command.add_argument("--all", action="store_true", help=told)
        if name == "halt":
            command.add_argument("--cancel", action="store_true", help="also cancel entries that rest at the broker")
    flatten = _add(commands, "flatten", "trading:flatten", "close every position, and tell what became of each")
    flatten.add_argument("--account", metavar="A", help="only this account's")
    cancel = _add(commands, "cancel", "trading:cancel", "cancel one open order")
    modify = _add(commands, "modify", "trading:modify", "change one open order; fails where the broker does not")
    for command in (cancel, modify):
        command.add_argument("order", metavar="CL_ORD_ID", help="as the page and `GET /api/v1/orders` name it")
    for name, what in (
        ("price", "limit price"),
        ("trigger-price", "trigger price"),
        ("quantity", "units in all, with the filled"),
    ):
        modify.add_argument(f"--{name}", metavar="N", help=f"the new {what}")
    reconcile = _add(commands, "reconcile", "trading:reconcile", "compare our books with the brokers'; fails where they differ")
    reconcile.add_argument("--account", metavar="A", help="only this account's")
    told = "let entries in it go on while positions differ by exactly as much as now"
    reconcile.add_argument("--accept", metavar="NSE:SBIN", help=told)
    login = _add(commands, "login", "login:login", "log an account in to its broker, or tell where a person does that")
    login.add_argument("account", metavar="ACCOUNT", help="as named in the settings")
    told = "what the login page gave: the token, or the whole address that it led to (default: asked for)"
    login.add_argument("--request-token", metavar="T", help=told)
    login.add_argument("--new-user", action="store_true", help="the account is another person's at the broker from now on")
    _add(commands, "status", "trading:status", "tell what the bridge is doing; fails when none is running")


def _add_bars(commands: "Commands") -> None:
    bars = _add_group(commands, "bars", "the history of prices that scans and replays look at")
    files = _add(bars, "import", "bars:import_files", "store the bars of CSV files")
    files.add_argument("files", metavar="FILE", nargs="+", help="with a heading: symbol,time,open,high,low,close,volume")
    files.add_argument("--symbol", metavar="NSE:SBIN", help="whose bars these are, where the file does not say")
    fetch = _add(bars, "fetch", "bars:fetch", "ask a broker for the bars that are missing, within its limits")
    fetch.add_argument("--account", metavar="A", help="whose broker is asked (default: the only one that has any)")
    fetch.add_argument("--again", action="store_true", help="forget what is there and fetch it anew, as after a split")
    fetch.add_argument("--some", action="store_true", help="be content when only some symbols have bars")
    made = _add(bars, "make", "bars:make", "make one-minute bars up, the same for the same seed")
    made.add_argument("--seed", metavar="N", type=int, default=1, help="another number, another market (default: 1)")
    made.add_argument("--count", metavar="N", type=int, default=20, help="how many, when no symbol is named (default: 20)")
    show = _add(bars, "list", "bars:show", "list what is stored, and of how many days")
    doctor = _add(bars, "doctor", "bars:doctor", "tell which series cannot be trusted, and why; fails when there is one")
    drop = _add(bars, "drop", "bars:drop", "forget the bars of symbols")
    for command in (fetch, doctor):
        command.add_argument("--universe", metavar="U", help="all that belong to this universe of the settings today")
    for command in (fetch, made, doctor, drop):
        _add_repeatable(command, "--symbol", "NSE:SBIN", "of this one")
    for command in (fetch, made, doctor):
        command.add_argument("--from", dest="since", metavar="2026-01-01", help="first day (default: a year before the last)")
        command.add_argument("--to", dest="until", metavar="2026-11-20", help="last day (default: today)")
    for command in (files, fetch, doctor, drop, show):
        needed, told = command is not show, "length of a bar: 1m 3m 5m 10m 15m 30m 60m 1d"
        command.add_argument("--interval", metavar="I", choices=told.split()[4:], required=needed, help=told)


def _add_replay(commands: "Commands") -> None:
    told = "run definitions over recorded bars, on a clock and a paper account of their own, and write a report"
    replay = _add(commands, "replay", "replay:replay", told)
    told = "a file, or the name of one in config/scans"
    replay.add_argument(
        "--definition", metavar="D", dest="definitions", action="append", default=[], help=f"{told}; repeatable"
    )
    replay.add_argument("--demo", action="store_true", help="two definitions over a year made up, to see what comes out")
    told = "the recorded alerts of this data folder in place of definitions: do they come to the same?"
    replay.add_argument("--alerts", metavar="DATA_DIR", help=told)
    replay.add_argument("--from", dest="since", metavar="2026-01-01", help="first day (default: a year before the last)")
    replay.add_argument("--to", dest="until", metavar="2026-11-20", help="last day (default: the last that has bars)")
    replay.add_argument("--cash", metavar="R", default="1000000", help="opening money (default: 1000000)")
    told = "hundredths of a percent against you at every fill (default: 2)"
    replay.add_argument("--slippage-bps", metavar="N", default="2", help=told)
    replay.add_argument("--product", metavar="P", choices=("MIS", "CNC", "NRML", "MTF"), help="in place of the strategy's own")
    replay.add_argument("--no-limits", action="store_true", help="without the risk limits of the settings")
    told = "trade series that the data doctor doubts all the same; the report says so"
    replay.add_argument("--ignore-doctor", action="store_true", help=told)
    told = "hold the result against holding this, if its bars are there (default: NSE:NIFTY 50)"
    replay.add_argument("--benchmark", metavar="NSE:SBIN", default="NSE:NIFTY 50", help=told)
    _add_repeatable(replay, "--sweep", "PLACE=A,B", "try these values: exits.stop.percent=1,2 or long.enter#2=21,34")
    _add_repeatable(replay, "--csv", "FILE", "bars of a file in place of those that are stored")
    replay.add_argument("--interval", metavar="I", help="length of the bars in those files (default: 1d)")
    replay.add_argument("--out", metavar="DIR", help="where journal and report go (default: in the data folder, for the page)")


def _add_universe(commands: "Commands") -> None:
    universe = _add_group(commands, "universe", "the shares that scans look at")
    show = _add(universe, "show", "universe:show", "tell who belongs to a universe, and who is left out and why")
    show.add_argument("name", metavar="NAME", help="as named in the settings")
    show.add_argument("--as-of", metavar="2026-11-20", help="on this day (default: today)")
    _add(universe, "record", "universe:record", "write down what every universe is today; once a day, before the market opens")


def _add_upkeep(commands: "Commands") -> None:
    instruments = _add_group(commands, "instruments", "the list of what can be traded")
    sync = _add(instruments, "sync", "instruments:sync", "fetch today's list from an account's broker, and use it from now on")
    sync.add_argument("account", metavar="ACCOUNT", help="as named in the settings; it must be logged in")
    ban = _add(instruments, "ban", "exchange:ban", "take the exchange's F&O ban list of one trading day")
    ban.add_argument("file", metavar="FILE", nargs="?", help="fo_secban.csv as NSE publishes it; - for standard input")
    ban.add_argument("--fetch", action="store_true", help="instead of a file: from the address in exchange.ban_url")
    freeze = _add(instruments, "freeze", "exchange:freeze", "take the exchange's freeze quantities of one month")
    freeze.add_argument("file", metavar="FILE", help="NSE's qtyfreeze.xls, saved as CSV; - for standard input")
    freeze.add_argument("--month", metavar="2026-12", help="the month that they hold for (default: the present one)")
    check = _add(commands, "check", "check:check", "tell what is wrong with settings, store, clock, market data and network")
    check.add_argument("--online", action="store_true", help="also ask the internet which address orders come from")
    notify = _add_group(commands, "notify", "how the bridge reaches a person")
    test = _add(notify, "test", "notify:test", "send a message by every channel of the settings; fails unless all take it")
    test.add_argument("--channel", metavar="C", help="only this one")
    audit = _add_group(commands, "audit", "the record of everything that happened")
    verify = _add(audit, "verify", "audit:verify", "prove that no record was changed, removed or added")
    verify.add_argument("--head", metavar="SEQ:HASH", help="a head noted earlier, which must still be part of the chain")
    export = _add(audit, "export", "audit:export", "write the records of some days to a file, and print its SHA-256")
    export.add_argument("--from", dest="since", metavar="2026-11-01", required=True, help="first day, in India")
    export.add_argument("--to", dest="until", metavar="2026-11-30", help="last day (default: today)")
    export.add_argument("--account", metavar="A", help="without what concerns other accounts alone")
    told = "where to; .jsonl for lines of JSON, .csv for a table"
    export.add_argument("--out", metavar="FILE", required=True, help=told)
    operator = _add_group(commands, "operator", "the person who runs the bridge")
    password = _add(operator, "password", "operator:password", "set the password of the pages")
    password.add_argument("--stdin", action="store_true", help="read it from standard input instead of asking twice")
