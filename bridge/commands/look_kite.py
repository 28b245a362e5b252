"""Checks of accounts at Zerodha: keys, the day's session, the broker's own clock, and whether news of orders can come."""

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime

import httpx

from bridge.commands.alerts import reach_hint
from bridge.commands.client import open_reads
from bridge.commands.findings import Facts, Finding, fail, ok, warn
from bridge.core.clock import IST
from bridge.core.errors import BridgeError
from bridge.core.login import BrokerSession
from bridge.settings import AccountSettings, secret_variable
from bridge.vault import KEY_FILE, Vault

ANSWER_WITHIN_S = 5.0
# Clocks are set by a few seconds at times, and the broker tells whole seconds.
CLOCK_SLACK = timedelta(seconds=3)
# Whatever is shorter was cut off, or copied from a guide.
_LEAST_KEY_CHARS = 8


class NoTokenError(Exception):
    """There is no token to ask with; the message says why."""


def check_logins(facts: Facts) -> Iterator[Finding]:
    """Keys are such that they could be right, and until when a session lives. Tells no key."""
    sessions = _sessions(facts)
    for name, account in _accounts(facts).items():
        part = f"login {name}"
        keys = "api_key and api_secret are set"
        if account.lacks_secret and facts.running is not None:
            keys = "the running bridge has an api_secret, this command has none"
        elif account.lacks_secret:
            keys = "api_secret is missing"
            yield fail(part, keys, f"set {secret_variable(name)} in the environment of the bridge, and of this command")
        elif problem := _key_problem(account):
            yield warn(part, problem, f"copy both anew from developers.kite.trade; {secret_variable(name)}")
        session = sessions.get(name)
        try:
            _open_token(facts, name, account, session)
        except NoTokenError as error:
            why = f": {error}" if str(error) else ""
            yield warn(part, f"{keys}; not logged in{why}", f"log in on the status page, or with: bridge login {name}")
        else:
            assert session is not None
            minutes = (session.expires_at - facts.now) // timedelta(minutes=1)
            ends = f"{session.expires_at.astimezone(IST):%Y-%m-%d %H:%M} in India"
            left = f"{minutes // 60} h {minutes % 60} min from now"
            yield ok(part, f"{keys}; logged in as {session.user_id} until {ends}, {left}")


def check_kite(facts: Facts) -> Iterator[Finding]:
    """What the broker itself says: it answers, takes the token, its clock is ours, and news of orders can come."""
    sessions = _sessions(facts)
    for name, account in _accounts(facts).items():
        part = f"kite {name}"
        try:
            token = _open_token(facts, name, account, sessions.get(name))
        except NoTokenError:
            token = ""
        headers = {"X-Kite-Version": "3", **({"Authorization": f"token {account.api_key}:{token}"} if token else {})}
        asked_at = facts.clock.now()
        try:
            # Reads are taken from any address, and this is the cheapest.
            answer = httpx.get(f"{account.root}/user/profile", headers=headers, timeout=ANSWER_WITHIN_S, trust_env=False)
        except httpx.HTTPError as error:
            told = f"{account.root} does not answer ({type(error).__name__})"
            yield fail(part, told, f"check the network, and accounts.{name}.root")
        else:
            yield _judge_clock(part, answer, asked_at + (facts.clock.now() - asked_at) / 2)
            if token:
                yield _judge_token(part, name, answer)
        yield from _UPDATES[account.updates](facts, name, account)


def _accounts(facts: Facts) -> dict[str, AccountSettings]:
    return {name: account for name, account in facts.settings.accounts.items() if account.broker == "kite"}


def _sessions(facts: Facts) -> dict[str, BrokerSession]:
    if not _accounts(facts):
        return {}
    try:
        return open_reads(facts.settings).broker_sessions()
    except BridgeError:  # no database yet, or an older one: nobody has logged in with this version
        return {}


def _key_problem(account: AccountSettings) -> str:
    """What makes a pair of keys one that cannot be right; never quotes one."""
    key, secret = account.api_key, account.api_secret.get_secret_value()
    if secret == key:
        return "api_secret is the same as api_key"
    if not (secret.isascii() and secret.isalnum()):
        return "api_secret has more than letters and digits: were spaces or quotes copied along?"
    if min(len(key), len(secret)) < _LEAST_KEY_CHARS:
        return "api_key or api_secret is too short to be a real one"
    return ""


def _open_token(facts: Facts, name: str, account: AccountSettings, session: BrokerSession | None) -> str:
    """The access token of a session that lives; NoTokenError says why there is none."""
    if session is None or not session.sealed or session.expires_at <= facts.now:
        raise NoTokenError
    if facts.settings.secret_key is None and not (facts.settings.data_dir / KEY_FILE).exists():
        raise NoTokenError("the master key is missing")  # a look would make another one
    try:
        content = json.loads(Vault(facts.settings).decrypt(session.sealed))
        owner, token = (content["account"], content["api_key"]), str(content["access_token"])
    except BridgeError:
        raise NoTokenError("the session was sealed with another master key") from None
    except (ValueError, LookupError, TypeError):
        raise NoTokenError("the stored session cannot be read") from None
    if owner != (name, account.api_key):
        raise NoTokenError("the stored session is of another api_key")
    return token


def _judge_clock(part: str, answer: httpx.Response, now: datetime) -> Finding:
    """Alerts are refused by their age and sessions end by the hour: the broker's clock is the one that counts."""
    try:
        theirs = parsedate_to_datetime(answer.headers["date"])
        off = now - theirs - timedelta(seconds=0.5)  # theirs has no fractions
    except (KeyError, ValueError, TypeError):
        return ok(part, f"{answer.url.host} answers, and does not tell the time")
    if abs(off) <= CLOCK_SLACK:
        return ok(part, f"{answer.url.host} answers; its clock and ours agree to {CLOCK_SLACK.seconds} s")
    ahead = "ahead of" if off > timedelta(0) else "behind"
    told = f"the clock is {abs(off).total_seconds():.0f} s {ahead} the broker's"
    return fail(part, told, "run a time service: timedatectl set-ntp true (in a container: on its host)")


def _judge_token(part: str, name: str, answer: httpx.Response) -> Finding:
    if answer.status_code == 200:
        return ok(part, "Zerodha takes the session's token")
    if answer.status_code == 403:
        told = "Zerodha does not take the token any more: a newer login elsewhere, or a log-out"
        return fail(part, told, f"log in on the status page, or with: bridge login {name}")
    return warn(part, f"Zerodha answered HTTP {answer.status_code}: whether it takes the token is not known", "try again")


def _check_stream(_facts: Facts, name: str, account: AccountSettings) -> Iterator[Finding]:
    """Any answer proves the way: what speaks WebSocket refuses a plain request."""
    part = f"news {name}"
    try:
        httpx.get("http" + account.stream_root.removeprefix("ws"), timeout=ANSWER_WITHIN_S, trust_env=False)
    except httpx.HTTPError as error:
        told = f"the stream at {account.stream_root} does not answer ({type(error).__name__}): news come by looks, every 30 s"
        yield warn(part, told, f"check the network and accounts.{name}.stream_root, or set updates: poll")
    else:
        yield ok(part, f"the stream at {account.stream_root} answers")


def _check_postback(facts: Facts, name: str, _account: AccountSettings) -> Iterator[Finding]:
    """The broker can reach the address; while the bridge runs it is knocked at from outside, as the broker would."""
    part = f"news {name}"
    url = f"{facts.settings.public_url()}/webhook/kite/{name}"
    mend = f"the app's postback URL at developers.kite.trade must be {url}, https and reachable; or set updates: stream"
    if reach_hint(facts.settings.public_url()):
        yield warn(part, f"Zerodha cannot post to {url}: news come by looks, every 30 s", mend)
        return
    if facts.running is None:
        yield ok(part, f"postbacks come to {url}; tried while a bridge runs")
        return
    try:
        answer = httpx.post(url, json={}, timeout=ANSWER_WITHIN_S, trust_env=False)
    except httpx.HTTPError as error:
        yield warn(part, f"{url} cannot be reached from here ({type(error).__name__})", mend)
        return
    if answer.status_code == 400 and "no postback" in answer.text:  # ours, and it refuses what is not signed
        yield ok(part, f"{url} leads to this bridge")
    else:
        yield warn(part, f"{url} answers HTTP {answer.status_code}, and not as this bridge does", mend)


def _check_poll(_facts: Facts, name: str, _account: AccountSettings) -> Iterator[Finding]:
    yield ok(f"news {name}", "news of orders come by looks, every second while one is open")


_UPDATES = {"stream": _check_stream, "postback": _check_postback, "poll": _check_poll}
