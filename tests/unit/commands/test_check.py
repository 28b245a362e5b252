"""`bridge check`, part by part: what each finds, and that it finds it only then."""

import asyncio
import json
import os
import shutil
import socket
import threading
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest

from bridge.commands import look_egress, look_inside, look_kite, look_outside
from bridge.commands.findings import Facts, Level, fail, ok
from bridge.commands.running import Running
from bridge.core.clock import SystemClock
from bridge.core.errors import StoreError
from bridge.core.login import BrokerSession
from bridge.market.lists import Taking, take_dump
from bridge.settings import load_settings
from bridge.store.backend import Backend
from bridge.vault import Vault
from tests.support.dumps import DumpPlan, make_dump
from tests.support.rigs import ROOT
from tests.support.samples import make_alert
from tests.support.server import ServedVenue
from tests.support.stores import change, fresh_sqlite, opened

MONDAY = datetime(2026, 11, 23, 5, 0, tzinfo=UTC)  # 10:30 in India
RAVI = {"broker": "kite", "api_key": "keyofravi", "api_secret": "secretofravi"}
HEADING = (
    "instrument_token,exchange_token,tradingsymbol,name,last_price,expiry,strike,"
    "tick_size,lot_size,instrument_type,segment,exchange\n"
)
SHARE = "1,1,SBIN,STATE BANK OF INDIA,812.5,,0,0.05,1,EQ,NSE,NSE\n"
EXPIRED = "2,2,SBIN25JANFUT,SBIN,812.5,2025-01-28,0,0.05,750,FUT,NFO-FUT,NFO\n"


@pytest.fixture(autouse=True)
def shipped_settings(monkeypatch):
    """Nothing of this machine's environment, and the settings as shipped."""
    for name in [name for name in os.environ if name.startswith("BRIDGE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("BRIDGE_CONFIG", str(ROOT / "config" / "bridge.yaml"))


@pytest.fixture
def facts(tmp_path):
    def make(*, running=None, now=MONDAY, online=False, **settings):
        folder = tmp_path / "data"
        given = {
            "data_dir": folder,
            "database": {"url": f"sqlite:///{folder / 'bridge.db'}"},
            "instruments": ROOT / "config" / "instruments.csv",
        }
        return Facts(settings=load_settings(**{**given, **settings}), running=running, now=now, online=online)

    return make


def look(check, facts):
    """(level, message and mend) of each finding."""
    return [(finding.level, f"{finding.message} {finding.mend}") for finding in check(facts)]


def worst(check, facts):
    """The level and the text of the worst finding."""
    order = (Level.OK, Level.WARN, Level.FAIL)
    return max(look(check, facts), key=lambda found: order.index(found[0]))


def test_a_finding_is_a_line_with_its_mend_below():
    """The eye finds level and part in columns."""
    assert str(ok("store", "answers")) == "ok    store             answers"
    assert str(fail("store", "is gone", "bring it back")).splitlines() == [
        "FAIL  store             is gone",
        "                        mend: bring it back",
    ]


# --- data folder and secrets ---


def test_a_folder_that_will_be_made_is_fine(facts):
    """Nothing is there before the first start."""
    assert look(look_inside.check_folder, facts())[0][0] is Level.OK


def test_a_folder_that_others_may_open_is_warned_of(facts, tmp_path):
    """Bodies of alerts and positions are nobody else's business."""
    (tmp_path / "data").mkdir(mode=0o755)
    assert worst(look_inside.check_folder, facts())[0] is Level.WARN
    (tmp_path / "data").chmod(0o700)
    assert worst(look_inside.check_folder, facts())[0] is Level.OK


def test_a_file_where_the_folder_should_be_fails(facts, tmp_path):
    """Nothing could be stored."""
    (tmp_path / "data").write_text("")
    assert worst(look_inside.check_folder, facts())[0] is Level.FAIL


@pytest.mark.parametrize(("free_mib", "level"), [(50, Level.FAIL), (500, Level.WARN), (5_000, Level.OK)])
def test_room_on_the_disk_is_looked_at(facts, monkeypatch, free_mib, level):
    """A full disk stores no alert."""
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: SimpleNamespace(free=free_mib * 1024 * 1024))
    assert worst(look_inside.check_folder, facts())[0] is level


@pytest.mark.parametrize("name", ["secret.key", "api.token", "operator.hash"])
def test_a_secret_that_others_can_read_fails(facts, tmp_path, name):
    """The mend can be pasted."""
    path = tmp_path / "data" / name
    path.parent.mkdir()
    path.write_text("QUFB" * 10 + "QUE=\n")  # 32 bytes in base64, which is a key where one is wanted
    path.chmod(0o600)
    assert worst(look_inside.check_secrets, facts())[0] is Level.OK
    path.chmod(0o640)
    level, text = worst(look_inside.check_secrets, facts())
    assert (level, f"chmod 600 {path}" in text) == (Level.FAIL, True)


def test_a_master_key_that_is_none_fails_and_one_that_is_missing_is_not_made(facts, tmp_path):
    """Looking must not make a key that then seals things."""
    assert worst(look_inside.check_secrets, facts())[0] is Level.OK
    assert not (tmp_path / "data").exists()
    (tmp_path / "data").mkdir()
    path = tmp_path / "data" / "secret.key"
    path.write_text("hunter2\n")
    path.chmod(0o600)
    level, text = worst(look_inside.check_secrets, facts())
    assert (level, "does not hold a master key" in text) == (Level.FAIL, True)
    assert "hunter2" not in text


# --- store ---


def test_a_store_that_is_not_there_yet_is_fine_and_stays_away(facts, tmp_path):
    """Looking makes neither folder nor file."""
    assert worst(look_inside.check_store, facts())[0] is Level.OK
    assert not (tmp_path / "data").exists()


def test_a_store_in_order_is_written_to_without_a_trace(facts, tmp_path):
    """It takes a write, and nothing is left of it; one that a bridge works on is not disturbed."""
    fresh_sqlite(tmp_path / "data")
    assert "takes writes" in worst(look_inside.check_store, facts())[1]
    running = Running(pid=1, url="http://127.0.0.1:1")
    assert "a bridge works on it" in worst(look_inside.check_store, facts(running=running))[1]


@pytest.mark.parametrize(
    ("sql", "level", "told"),
    [
        ("UPDATE alembic_version SET version_num = '9999'", Level.FAIL, "newer bridge"),
        ("DELETE FROM alembic_version", Level.OK, "at the next start"),
    ],
)
def test_the_shape_of_the_store_is_looked_at(facts, tmp_path, sql, level, told):
    """A newer one is not for this version; an older one is brought up to date."""
    change(fresh_sqlite(tmp_path / "data"), sql)
    found = worst(look_inside.check_store, facts())
    assert (found[0], told in found[1]) == (level, True)


def test_a_file_that_is_no_database_fails(facts, tmp_path):
    """What the driver says is told in one line."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "bridge.db").write_bytes(b"not a database, but long enough to look like one" * 50)
    level, text = worst(look_inside.check_store, facts())
    assert (level, "cannot be reached" in text) == (Level.FAIL, True)


def test_a_store_that_takes_no_writes_fails(facts, tmp_path):
    """Another process holds the write lock for good."""
    fresh_sqlite(tmp_path / "data")
    backend = Backend(facts().settings.database.url)
    with closing(backend.raw()) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StoreError, match="takes no writes"):
            look_inside.try_to_write(backend)


def test_alerts_from_the_future_tell_of_a_clock_that_was_set_back(facts, tmp_path):
    """Their times are facts; so it is the clock."""
    url = fresh_sqlite(tmp_path / "data")

    async def store_one():
        async with opened(url, SystemClock()) as store:
            alert = make_alert(at=MONDAY + timedelta(hours=1))
            await store.write(lambda tx: tx.put(tx.ledger.alerts, alert.alert_id, alert))

    asyncio.run(store_one())
    level, text = worst(look_inside.check_store, facts(now=MONDAY))
    assert (level, "clock was set back" in text) == (Level.FAIL, True)
    assert worst(look_inside.check_store, facts(now=MONDAY + timedelta(hours=2)))[0] is Level.OK


# --- clock, calendar, instruments ---


def test_files_from_the_future_tell_of_a_clock_that_was_set_back(facts, tmp_path):
    """Our own files were written by this machine's clock."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "bridge.db").touch()
    assert worst(look_inside.check_clock, facts(now=datetime.now(UTC) - timedelta(hours=1)))[0] is Level.FAIL
    assert worst(look_inside.check_clock, facts(now=datetime.now(UTC)))[0] is not Level.FAIL


@pytest.mark.parametrize(("is_kept", "level"), [(True, Level.OK), (False, Level.WARN)])
def test_a_clock_that_nothing_keeps_right_is_warned_of(facts, monkeypatch, is_kept, level):
    """Alerts are refused by their age, so a clock that drifts loses them."""
    monkeypatch.setattr(look_inside, "is_synchronised", lambda: is_kept)
    assert worst(look_inside.check_clock, facts())[0] is level
    assert isinstance(is_kept, bool)


def test_the_kernel_can_be_asked_about_its_clock():
    """Whatever it says here, it says yes or no."""
    assert look_inside.is_synchronised() in (True, False)


@pytest.mark.parametrize(
    ("now", "level", "told"),
    [
        (MONDAY, Level.OK, "NSE is open"),
        (datetime(2026, 11, 22, 5, 0, tzinfo=UTC), Level.OK, "NSE is closed"),
        (datetime(2031, 1, 6, 5, 0, tzinfo=UTC), Level.FAIL, "counts as closed"),
    ],
)
def test_the_calendar_has_to_know_today(facts, now, level, told):
    """What it does not know counts as closed, so nothing would trade."""
    found = worst(look_inside.check_calendar, facts(now=now))
    assert (found[0], told in found[1]) == (level, True)


def test_a_calendar_that_cannot_be_read_fails(facts, tmp_path):
    """The file is named."""
    level, text = worst(look_inside.check_calendar, facts(calendar=tmp_path / "none.yaml"))
    assert (level, "none.yaml" in text) == (Level.FAIL, True)


@pytest.mark.parametrize(("rows", "level"), [(SHARE, Level.OK), (SHARE + EXPIRED, Level.WARN)])
def test_a_list_whose_contracts_have_all_expired_is_warned_of(facts, tmp_path, rows, level):
    """Such a list is old; one of shares alone is not."""
    path = tmp_path / "instruments.csv"
    path.write_text(HEADING + rows)
    assert worst(look_inside.check_instruments, facts(instruments=path))[0] is level


@pytest.mark.parametrize(("day", "level"), [("2026-11-20", Level.WARN), ("2026-11-23", Level.OK)])
def test_a_fetched_list_older_than_the_trading_day_is_warned_of(facts, tmp_path, day, level):
    """It goes before the file of the settings, and says which day it is for; the mend names the command."""
    folder = tmp_path / "data" / "instruments"
    folder.mkdir(parents=True)
    dump, sample = tmp_path / "dump.csv", ROOT / "config" / "instruments.csv"
    dump.write_text("\n".join(make_dump(DumpPlan(day=date.fromisoformat(day)))))
    taking = Taking(
        dump=str(dump), folder=str(folder), former=str(sample), source="z", day=day, fetched_on=day, least_rows=1
    )  # fmt: skip
    take_dump(taking)

    assert f"the list of {day} from z" in worst(look_inside.check_instruments, facts())[1]
    found, text = worst(look_inside.check_data, facts())

    assert found is level
    assert ("bridge instruments sync ACCOUNT" in text) is (level is Level.WARN)


def test_dated_data_is_told_whether_it_is_old_or_not(facts):
    """Old ones with their mend where money is real; on paper that nobody needs them."""
    live = {"accounts": {"zerodha": RAVI}, "strategies": {"demo": {"accounts": ["zerodha"]}}}
    parts = ["F&O ban", "freeze quantities", "instrument list", "holidays", "charges"]
    for given, level, told in (({}, Level.OK, "no account needs newer"), (live, Level.WARN, "bridge instruments ban")):
        found = list(look_inside.check_data(facts(**given)))
        assert [finding.part for finding in found] == parts
        assert found[0].level is level
        assert told in str(found[0])
        assert found[3].level is Level.OK


def test_what_other_checks_tell_is_not_told_twice(facts, tmp_path):
    """A list or a calendar that cannot be read."""
    assert look(look_inside.check_data, facts(instruments=tmp_path / "none.csv")) == []


def test_a_list_that_cannot_be_read_fails(facts, tmp_path):
    """Nothing could be traded."""
    level, text = worst(look_inside.check_instruments, facts(instruments=tmp_path / "none.csv"))
    assert (level, "none.csv" in text) == (Level.FAIL, True)


def test_a_list_without_a_share_of_the_nse_cannot_try_the_calendar(facts, tmp_path):
    """That is said, not passed over."""
    path = tmp_path / "instruments.csv"
    path.write_text(HEADING + SHARE.replace("NSE", "BSE"))
    assert worst(look_inside.check_calendar, facts(instruments=path))[0] is Level.WARN


# --- the world outside ---


def test_signing_secrets_have_to_be_readable(facts):
    """A secret that is none would refuse every signed alert."""
    secret = "whsec_" + "QUFB" * 10
    assert worst(look_outside.check_webhook, facts(webhook={"signing_secrets": [secret]}))[0] is Level.OK
    assert worst(look_outside.check_webhook, facts(webhook={"signing_secrets": ["hunter2"]}))[0] is Level.FAIL


def test_a_bind_that_others_reach_wants_a_password(facts):
    """As `serve` refuses it."""
    level, text = worst(look_outside.check_bind, facts(server={"host": "0.0.0.0", "port": 0}))
    assert (level, "bridge operator password" in text) == (Level.FAIL, True)
    hashed = {"password_hash": "$argon2id$…"}
    assert worst(look_outside.check_bind, facts(server={"host": "0.0.0.0", "port": 0}, operator=hashed))[0] is Level.OK
    assert worst(look_outside.check_bind, facts(server={"port": 0}))[0] is Level.OK


@pytest.mark.parametrize(
    ("host", "told"), [("192.0.2.77", "192.0.2.77 cannot be bound"), ("no.such.name.invalid", "is no address")]
)
def test_an_address_that_is_not_ours_fails(facts, host, told):
    """The setting is named, and what to write there."""
    hashed = {"password_hash": "$argon2id$…"}
    level, text = worst(look_outside.check_bind, facts(server={"host": host, "port": 0}, operator=hashed))
    assert (level, told in text, "server.host" in text) == (Level.FAIL, True, True)


def test_a_port_that_is_taken_fails_unless_it_is_the_bridge_s(facts):
    """The running bridge holds it by right."""
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        server = {"port": taken.getsockname()[1]}
        assert worst(look_outside.check_bind, facts(server=server))[0] is Level.FAIL
        running = Running(pid=1, url="http://127.0.0.1:1")
        assert worst(look_outside.check_bind, facts(server=server, running=running))[0] is Level.OK


@pytest.mark.parametrize(
    ("server", "level", "told"),
    [
        ({}, Level.WARN, "cannot reach this address"),
        ({"public_url": "https://bridge.example.org:8443"}, Level.WARN, "ports 80 and 443"),
        ({"public_url": "http://bridge.example.org"}, Level.WARN, "anyone on the way can read the token"),
        ({"public_url": "https://bridge.example.org"}, Level.WARN, "server.trusted_proxies"),
        ({"public_url": "https://bridge.example.org", "trusted_proxies": ["10.0.0.2"]}, Level.OK, "bridge.example.org"),
    ],
)
def test_the_way_of_tradingview_is_looked_at(facts, server, level, told):
    """It delivers only to ports 80 and 443, and never to this machine's own loopback."""
    found = worst(look_outside.check_reach, facts(server=server))
    assert (found[0], told in found[1]) == (level, True)


def test_an_open_door_behind_a_proxy_is_warned_of(facts):
    """With no list at all anyone may try tokens."""
    server = {"public_url": "https://bridge.example.org", "trusted_proxies": ["10.0.0.2"]}
    assert worst(look_outside.check_reach, facts(server=server, webhook={"addresses": []}))[0] is Level.WARN


def test_brokers_are_asked_of_the_running_bridge_only(facts):
    """Nobody else has a session; a bridge that does not answer fails."""
    assert worst(look_outside.check_brokers, facts())[0] is Level.OK
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
    gone = Running(pid=1, url=f"http://127.0.0.1:{port}")
    assert worst(look_outside.check_brokers, facts(running=gone, api={"token": "x" * 20}))[0] is Level.FAIL


def test_a_venue_is_asked_whether_it_is_there(facts, tmp_path):
    """The only broker that needs no session: one that is not up is told before the bridge starts."""
    with ServedVenue(tmp_path / "venue") as venue:
        accounts = {"paper": {"broker": "venue", "root": venue.root}}
        assert (Level.OK, f"{venue.root} answers ") in look(look_outside.check_brokers, facts(accounts=accounts))
        venue.stop()
        level, told = worst(look_outside.check_brokers, facts(accounts=accounts))
        assert (level, "bridge venue" in told) == (Level.FAIL, True)


@pytest.mark.parametrize(("local", "level"), [("10.1.2.3", Level.OK), ("8.8.8.8", Level.OK), (None, Level.WARN)])
def test_the_address_that_orders_leave_from_is_told_without_asking_anyone(facts, monkeypatch, local, level):
    """No packet leaves this machine unless --online says so."""
    monkeypatch.setattr(look_egress, "local_address", lambda: local)
    found = worst(look_egress.check_egress, facts())
    assert (found[0], (local or "no route") in found[1]) == (level, True)


# --- logins ---


def test_without_an_account_that_logs_in_nothing_is_said_of_logins(facts):
    """A paper bridge has no keys."""
    assert look(look_kite.check_logins, facts()) == []


def test_a_login_is_told_with_its_end_and_a_missing_one_with_its_mend(facts, tmp_path):
    """Keys set, session live until when, without a bridge and without the keys themselves."""
    settings = {"accounts": {"ravi": RAVI}, "strategies": {"demo": {"accounts": ["ravi"]}}}
    told = facts(**settings)
    assert worst(look_kite.check_logins, told)[0] is Level.WARN
    url = fresh_sqlite(tmp_path / "data")

    def sessions(sealed, now=MONDAY):
        async def keep():
            async with opened(url) as store:
                session = BrokerSession(
                    account="ravi", sealed=sealed, user_id="AB1234", logged_in_at=MONDAY - timedelta(hours=2),
                    expires_at=MONDAY + timedelta(hours=19, minutes=30),
                )  # fmt: skip
                await store.write(lambda tx: tx.put(tx.ledger.broker_sessions, "ravi", session))

        asyncio.run(keep())
        return look(look_kite.check_logins, facts(now=now, **settings))

    def seal(**changes):
        content = {"account": "ravi", "api_key": "keyofravi", "access_token": "token", **changes}
        return Vault(told.settings).encrypt(json.dumps(content))

    sealed = seal()
    ((level, text),) = sessions(sealed)
    assert (level, "logged in as AB1234 until 2026-11-24 06:00 in India, 19 h 30 min from now" in text) == (Level.OK, True)
    assert "ravi" not in text.replace("bridge login ravi", "")
    for found in (sessions(""), sessions(sealed, MONDAY + timedelta(hours=20))):
        ((level, text),) = found
        assert (level, "bridge login ravi" in text, "are set; not logged in" in text) == (Level.WARN, True, True)
    assert "another master key" in sessions("gAAAAA")[0][1]
    assert "of another api_key" in sessions(seal(api_key="other"))[0][1]
    assert "cannot be read" in sessions(Vault(told.settings).encrypt("token"))[0][1]
    (tmp_path / "data" / "secret.key").unlink()
    assert "the master key is missing" in sessions(sealed)[0][1]
    assert not (tmp_path / "data" / "secret.key").exists()


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"api_secret": "keyofravi"}, "the same as api_key"),
        ({"api_secret": "secret of ravi"}, "spaces or quotes"),
        ({"api_secret": "cut4f"}, "too short"),
    ],
)
def test_keys_that_can_hardly_be_right_are_warned_of_without_being_shown(facts, keys, told):
    """The mend names the variable."""
    settings = {"accounts": {"ravi": {**RAVI, **keys}}, "strategies": {"demo": {"accounts": ["ravi"]}}}
    level, text = look(look_kite.check_logins, facts(**settings))[0]
    assert (level, told in text, "BRIDGE_ACCOUNTS__RAVI__API_SECRET" in text) == (Level.WARN, True, True)
    assert keys["api_secret"] not in text


def test_a_missing_secret_is_to_mend_unless_a_bridge_runs_with_one(facts):
    """A bridge without it would not have started; this command's environment is another."""
    settings = {"accounts": {"ravi": {**RAVI, "api_secret": ""}}, "strategies": {"demo": {"accounts": ["ravi"]}}}
    level, text = look(look_kite.check_logins, facts(**settings))[0]
    assert (level, "BRIDGE_ACCOUNTS__RAVI__API_SECRET" in text) == (Level.FAIL, True)
    found = look(look_kite.check_logins, facts(running=Running(pid=1, url=None), **settings))
    assert [level for level, _ in found] == [Level.WARN]
    assert "api_secret is missing" not in found[0][1]


# --- the address that orders leave from ---


class Echo:
    """A page that answers with whatever address it was given, as a service would with ours."""

    def __init__(self):
        self.says, echo = "203.0.113.7", self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200)
                self.end_headers()
                self.wfile.write(echo.says.encode() + b"\n")

            def log_message(self, *_args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()


@pytest.fixture
def echo():
    made = Echo()
    yield made
    made.server.shutdown()
    made.server.server_close()


def registered(echo_url=None, **account):
    accounts = {"ravi": {**RAVI, "root": "http://127.0.0.1:9", **account}}
    server = {"echo_url": echo_url} if echo_url else {}
    return {"accounts": accounts, "strategies": {"demo": {"accounts": ["ravi"]}}, "server": server}


def test_the_address_is_held_against_the_registered_one(facts, echo, monkeypatch):
    """The same is well, another one fails with both ways to mend it; what is no address proves nothing."""
    settings = registered(echo.url, static_address="203.0.113.7")
    assert worst(look_egress.check_egress, facts(**settings)) == (Level.OK, "orders leave from 203.0.113.7, as registered ")
    echo.says = "203.0.113.8"
    level, text = worst(look_egress.check_egress, facts(**settings))
    assert (level, "register 203.0.113.8 at developers.kite.trade" in text) == (Level.FAIL, True)
    echo.says = "<html>"
    level, text = worst(look_egress.check_egress, facts(**settings))
    assert (level, "does not answer with an address" in text) == (Level.WARN, True)


def test_nobody_is_asked_for_our_address_unless_named_or_allowed(facts, monkeypatch):
    """An address of this machine's own that the world can reach needs no asking."""
    monkeypatch.setattr(look_egress, "ask_address", lambda *_: pytest.fail("asked"))
    settings = registered(static_address="8.8.8.8")
    for local, level, told in (
        ("10.1.2.3", Level.WARN, "--online"),
        ("8.8.8.8", Level.OK, "as registered"),
        (None, Level.WARN, ""),
    ):
        monkeypatch.setattr(look_egress, "local_address", lambda _family=4, local=local: local)
        found = worst(look_egress.check_egress, facts(**settings))
        assert (found[0], told in found[1]) == (level, True)


def test_a_broker_that_is_reached_by_the_other_family_fails(facts, monkeypatch):
    """A machine with both kinds of address may leave by the one that nobody has registered."""
    monkeypatch.setattr(look_egress, "_first_family", lambda _host: 6)
    level, text = worst(
        look_egress.check_egress, facts(**registered(root="https://api.kite.trade", static_address="203.0.113.7"))
    )
    assert (level, "/etc/gai.conf" in text) == (Level.FAIL, True)


def test_a_registered_address_that_is_not_set_is_warned_of(facts):
    """But for a sandbox on this machine, which takes orders from anywhere."""
    assert worst(look_egress.check_egress, facts(**registered()))[0] is Level.OK
    level, text = worst(look_egress.check_egress, facts(**registered(root="https://api.kite.trade")))
    assert (level, "accounts.ravi.static_address" in text) == (Level.WARN, True)


# --- notifications ---


def test_real_money_without_a_channel_is_warned_of_and_a_wrong_address_fails(facts):
    """Paper needs nobody to be told."""
    assert look(look_outside.check_notify, facts()) == []
    live = {"accounts": {"ravi": RAVI}, "strategies": {"demo": {"accounts": ["ravi"]}}}
    assert worst(look_outside.check_notify, facts(**live))[0] is Level.WARN
    good = {"notify": {"channels": {"phone": {"url": "json://127.0.0.1"}}}}
    level, text = worst(look_outside.check_notify, facts(**live, **good))
    assert (level, "bridge notify test" in text) == (Level.OK, True)
    bad = {"notify": {"channels": {"phone": {"url": "nosuch://hunter2"}}}}
    level, text = worst(look_outside.check_notify, facts(**live, **bad))
    assert (level, "BRIDGE_NOTIFY__CHANNELS__PHONE__URL" in text, "hunter2" in text) == (Level.FAIL, True, False)
