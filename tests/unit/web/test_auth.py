"""The password, the session's cookie, the form's token, and how often one may try."""

import stat
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.errors import ConfigError
from bridge.settings import Settings
from bridge.web import auth
from tests.support.clocks import StillClock
from tests.support.web import make_settings

PASSWORD = "correct horse battery"
KEY = bytes(32)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return make_settings(tmp_path)


# --- the password ---


def test_a_password_is_kept_as_a_private_argon2_hash(settings):
    """Only the hash is on disk, for the owner's eyes alone, and only the password opens it."""
    auth.set_password(settings, PASSWORD)
    path = settings.data_dir / auth.HASH_FILE
    hashed = auth.password_hash(settings)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert hashed is not None
    assert hashed.startswith("$argon2id$")
    assert PASSWORD not in path.read_text()
    assert auth.is_password(hashed, PASSWORD)
    assert not auth.is_password(hashed, PASSWORD + " ")
    assert [file.name for file in settings.data_dir.iterdir()] == [auth.HASH_FILE]


def test_a_new_password_replaces_the_old_one(settings):
    """The last one set is the one that opens."""
    auth.set_password(settings, PASSWORD)
    auth.set_password(settings, "another horse battery")
    hashed = auth.password_hash(settings) or ""
    assert auth.is_password(hashed, "another horse battery")
    assert not auth.is_password(hashed, PASSWORD)


@pytest.mark.parametrize("text", ["", "short", "x" * (auth.MAX_PASSWORD_CHARS + 1)])
def test_a_password_of_a_bad_length_is_refused(settings, text):
    """Too short to withstand guessing, or long enough to be an attack."""
    with pytest.raises(ConfigError, match="characters"):
        auth.set_password(settings, text)
    assert auth.password_hash(settings) is None


def test_without_a_file_there_is_no_password(settings):
    """None, and not an empty hash that nothing opens."""
    assert auth.password_hash(settings) is None


def test_a_hash_in_the_settings_wins_and_cannot_be_overwritten(tmp_path):
    """Whoever sets a password learns that the settings' own would win."""
    settings = make_settings(tmp_path, operator={"password_hash": "$argon2id$made-elsewhere"})
    assert auth.password_hash(settings) == "$argon2id$made-elsewhere"
    with pytest.raises(ConfigError, match=r"operator\.password_hash"):
        auth.set_password(settings, PASSWORD)


def test_a_hash_that_others_can_read_is_refused(settings):
    """It never counts as no password."""
    auth.set_password(settings, PASSWORD)
    (settings.data_dir / auth.HASH_FILE).chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        auth.password_hash(settings)


def test_a_hash_that_cannot_be_read_is_refused(settings):
    """It never counts as no password, either."""
    (settings.data_dir / auth.HASH_FILE).mkdir(parents=True)
    with pytest.raises(ConfigError, match="cannot be read"):
        auth.password_hash(settings)


def test_a_folder_that_cannot_be_written_is_an_answer(tmp_path):
    """The message names the file."""
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"operator\.hash"):
        auth.set_password(make_settings(tmp_path / "file"), PASSWORD)


@pytest.mark.parametrize("hashed", ["", "nonsense", "$argon2id$v=19$m=1,t=1,p=1$x$y", "\N{SNOWMAN}"])
def test_a_broken_hash_opens_for_nobody(hashed):
    """It is not an error, and not an open door."""
    assert not auth.is_password(hashed, "")
    assert not auth.is_password(hashed, PASSWORD)


def test_a_text_too_long_for_a_password_is_not_even_hashed(settings):
    """A sign-in costs what it costs, and no more."""
    auth.set_password(settings, "x" * auth.MAX_PASSWORD_CHARS)
    hashed = auth.password_hash(settings) or ""
    assert auth.is_password(hashed, "x" * auth.MAX_PASSWORD_CHARS)
    assert not auth.is_password(hashed, "x" * (auth.MAX_PASSWORD_CHARS + 1))


@pytest.mark.parametrize(("host", "needed"), [("127.0.0.1", False), ("::1", False), ("0.0.0.0", True), ("10.0.0.5", True)])
def test_a_password_is_needed_as_soon_as_others_can_reach_the_bridge(tmp_path, host, needed):
    """On loopback the machine's own accounts are the lock."""
    settings = make_settings(tmp_path, server={"host": host})
    assert auth.needs_password(settings) is needed
    auth.set_password(settings, PASSWORD)
    assert not auth.needs_password(settings)


# --- sessions and form tokens ---


def test_a_session_lasts_twelve_hours_to_the_second():
    """Not a moment longer, whatever the browser keeps."""
    clock = StillClock()
    sessions = auth.Sessions(KEY, clock)
    cookie = sessions.issue("hash")
    clock.move(hours=12, seconds=-1)
    assert sessions.read(cookie, "hash") is not None
    clock.move(seconds=1)
    assert sessions.read(cookie, "hash") is None


def test_a_new_password_ends_every_session():
    """The hash is part of what is signed."""
    sessions = auth.Sessions(KEY, StillClock())
    cookie = sessions.issue("hash")
    assert sessions.read(cookie, "hash") is not None
    assert sessions.read(cookie, "another hash") is None


def test_a_session_of_another_installation_is_not_ours():
    """Another key, another signature."""
    cookie = auth.Sessions(bytes(31) + b"x", StillClock()).issue("hash")
    assert auth.Sessions(KEY, StillClock()).read(cookie, "hash") is None


def test_every_session_has_an_id_of_its_own():
    """So a cookie planted before the sign-in is worth nothing after it."""
    sessions = auth.Sessions(KEY, StillClock())
    read = [sessions.read(sessions.issue("hash"), "hash") for _ in range(50)]
    assert len({session.session_id for session in read if session}) == 50


@given(position=st.integers(min_value=0), replacement=st.characters(codec="ascii"))
def test_a_changed_cookie_is_worth_nothing(position, replacement):
    """Every single character counts."""
    sessions = auth.Sessions(KEY, StillClock())
    cookie = sessions.issue("hash")
    at = position % len(cookie)
    changed = cookie[:at] + replacement + cookie[at + 1 :]
    assert (sessions.read(changed, "hash") is not None) == (changed == cookie)


@given(st.text())
def test_any_text_for_a_cookie_is_an_answer(text):
    """Nothing a browser can send raises."""
    assert auth.Sessions(KEY, StillClock()).read(text, "hash") is None


def test_form_tokens_belong_to_one_session():
    """Another session's token is nobody's."""
    sessions = auth.Sessions(KEY, StillClock())
    assert sessions.is_form_token("a", sessions.form_token("a"))
    assert not sessions.is_form_token("a", sessions.form_token("b"))


@given(st.text())
def test_any_text_for_a_form_token_is_an_answer(text):
    """Nothing a form can carry raises, lone surrogates included."""
    assert not auth.Sessions(KEY, StillClock()).is_form_token("a", text)


def test_two_bridges_on_one_machine_name_their_cookies_apart():
    """Cookies know no ports."""
    ours, theirs = auth.Sessions(KEY, StillClock()), auth.Sessions(bytes(31) + b"x", StillClock())
    assert ours.cookie_name != theirs.cookie_name
    assert ours.cookie_name.isascii()
    assert ours.cookie_name.replace("_", "").isalnum()


# --- how often one may try ---


def test_the_sixth_attempt_in_five_minutes_waits():
    """Five from one place; the wait is told and then over."""
    clock = StillClock()
    attempts = auth.Attempts(clock)
    assert [attempts.take("10.0.0.1") for _ in range(5)] == [0] * 5
    assert attempts.take("10.0.0.1") == auth.ATTEMPTS_WINDOW_S
    clock.move(seconds=auth.ATTEMPTS_WINDOW_S - 1)
    assert attempts.take("10.0.0.1") == 1
    clock.move(seconds=1)
    assert attempts.take("10.0.0.1") == 0


def test_an_attempt_that_is_not_heard_does_not_lengthen_the_wait():
    """Else a script that never stops would lock a person out for ever."""
    clock = StillClock()
    attempts = auth.Attempts(clock)
    for _ in range(5):
        attempts.take("10.0.0.1")
    for _ in range(20):
        clock.move(seconds=10)
        attempts.take("10.0.0.1")
    clock.move(seconds=100)
    assert attempts.take("10.0.0.1") == 0


def test_places_are_counted_apart():
    """One guesser does not lock out everybody."""
    attempts = auth.Attempts(StillClock())
    for _ in range(6):
        attempts.take("10.0.0.1")
    assert attempts.take("10.0.0.2") == 0


def test_many_places_are_counted_together_too():
    """Fifty attempts in all, from however many places."""
    attempts = auth.Attempts(StillClock())
    assert all(attempts.take(f"10.0.0.{n}") == 0 for n in range(auth.ATTEMPTS_IN_ALL))
    assert attempts.take("10.0.1.1") > 0


def test_the_addresses_of_one_subscriber_are_one_place():
    """Who has an IPv6 address has eighteen quintillion of them."""
    attempts = auth.Attempts(StillClock())
    for n in range(5):
        attempts.take(f"2001:db8::{n}")
    assert attempts.take("2001:db8::ffff") > 0
    assert attempts.take("2001:db8:0:1::1") == 0


def test_the_right_password_forgets_the_wrong_ones():
    """A person who mistyped four times starts anew."""
    attempts = auth.Attempts(StillClock())
    for _ in range(5):
        attempts.take("10.0.0.1")
    attempts.forgive("10.0.0.1")
    attempts.forgive("never seen")
    assert attempts.take("10.0.0.1") == 0


def test_what_is_remembered_is_bounded():
    """Any number of places, a bounded number of windows."""
    clock = StillClock()
    attempts = auth.Attempts(clock)
    for n in range(auth.MAX_PEERS + 100):
        attempts.take(f"not an address {n}")
        clock.move(minutes=6)
    assert len(attempts._by_peer) == auth.MAX_PEERS


def test_a_session_expires_as_its_cookie_does():
    """The browser's max-age and the signed time are the same twelve hours."""
    assert timedelta(hours=12) == auth.SESSION_LASTS


# --- logins at brokers ---


def test_a_login_state_fits_its_session_and_account_for_a_quarter_of_an_hour():
    """Whatever else comes back from the login page is not ours."""
    clock = StillClock()
    sessions = auth.Sessions(KEY, clock)
    state = sessions.login_state("one", "ravi")
    assert sessions.is_login_state("one", "ravi", state)
    assert not sessions.is_login_state("two", "ravi", state)
    assert not sessions.is_login_state("one", "asha", state)
    assert not auth.Sessions(bytes(31) + b"x", clock).is_login_state("one", "ravi", state)
    clock.move(minutes=14, seconds=59)
    assert sessions.is_login_state("one", "ravi", state)
    clock.move(seconds=1)
    assert not sessions.is_login_state("one", "ravi", state)


@given(st.text(max_size=300))
def test_no_text_is_a_login_state_by_chance(text):
    """Nor does any make it stumble."""
    assert not auth.Sessions(KEY, StillClock()).is_login_state("one", "ravi", text)
