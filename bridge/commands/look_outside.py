"""Checks of how the bridge meets the world: bind, public address, proxies, secrets of senders, brokers, egress."""

import socket
from collections.abc import Iterator
from ipaddress import ip_address
from urllib.parse import urlsplit

import httpx

from bridge.commands.alerts import reach_hint
from bridge.commands.client import open_reads
from bridge.commands.findings import Facts, Finding, fail, ok, warn
from bridge.commands.serve import PASSWORD_MEND, listen
from bridge.core.clock import IST
from bridge.core.errors import BridgeError
from bridge.core.login import BrokerSession
from bridge.intake.signatures import SignatureChecker
from bridge.settings import is_loopback
from bridge.vault import KEY_FILE, Vault, api_token
from bridge.web.auth import needs_password, password_hash

ANSWER_WITHIN_S = 5.0
# An address of documentation (RFC 5737): connecting a datagram socket to it picks a route and sends nothing.
_ANYWHERE = ("192.0.2.1", 9)
_WHAT_IS_MY_ADDRESS = "https://checkip.amazonaws.com"


def check_webhook(facts: Facts) -> Iterator[Finding]:
    """Secrets of senders can be read."""
    webhook = facts.settings.webhook
    try:
        SignatureChecker(webhook.signing_secrets, webhook.signature_tolerance_s)
    except BridgeError as error:
        yield fail("webhook", str(error), "correct webhook.signing_secrets")
        return
    listed = "the usual addresses" if webhook.addresses is None else "listed addresses" if webhook.addresses else "anywhere"
    yield ok("webhook", f"{len(webhook.signing_secrets)} signing secrets; from {listed}; at most {webhook.freshness_s} s old")


def check_bind(facts: Facts) -> Iterator[Finding]:
    """Only who should can open the pages, and the port is ours to take."""
    settings = facts.settings
    server = settings.server
    where = f"{server.host}:{server.port}"
    try:
        if needs_password(settings):
            yield fail("bind", f"others can reach {where}, and no operator password is set", PASSWORD_MEND)
            return
        has_password = password_hash(settings) is not None
        if facts.running is None:
            listen(settings)[1].close()
    except BridgeError as error:
        yield fail("bind", str(error), "see server.host and server.port")
        return
    state = f"a bridge runs: {facts.running}" if facts.running else f"{where} is free"
    yield ok("bind", f"{state}; {'an' if has_password else 'no'} operator password is set")


def check_reach(facts: Facts) -> Iterator[Finding]:
    """TradingView can deliver to the public address, and whoever stands between is known."""
    settings = facts.settings
    url, server = settings.public_url(), settings.server
    hint = reach_hint(url)
    if hint:
        yield warn("public url", f"{url}: {hint}", "see docs/operations.md; senders on this machine need none")
    else:
        yield ok("public url", url)
    is_proxied = not hint and urlsplit(url).scheme == "https"
    if is_proxied and not server.trusted_proxies:
        yield warn(
            "proxy",
            "https ends at a proxy, and none is trusted: every sender has the proxy's address",
            "set server.trusted_proxies to the proxy's address",
        )
    elif server.trusted_proxies and settings.webhook.addresses == ():
        yield warn("proxy", "webhook.addresses is empty: anyone may knock", "leave it out, and only TradingView's are heard")


def check_brokers(facts: Facts) -> Iterator[Finding]:
    """The running bridge's sessions; nobody else has any. A venue needs none, and is asked itself."""
    if facts.running is None or facts.running.url is None:
        yield ok("brokers", "no bridge is running; their sessions are checked while one does")
        yield from _ask_venues(facts)
        return
    try:
        headers = {"authorization": f"Bearer {api_token(facts.settings)}"}
        answer = httpx.get(f"{facts.running.url}/readyz", headers=headers, timeout=ANSWER_WITHIN_S, trust_env=False)
        parts = answer.json()["parts"]
    except (httpx.HTTPError, ValueError, KeyError) as error:
        yield fail("bridge", f"{facts.running} does not answer ({type(error).__name__})", "look at its log; restart it")
        return
    for name, part in parts.items():
        if part["ok"]:
            yield ok(name, "works")
        else:
            yield fail(name, part["message"] or "does not work", "sign in to the broker again, or look at the log")


def _ask_venues(facts: Facts) -> Iterator[Finding]:
    """Whether something that says it is well listens where each venue should."""
    for name, account in facts.settings.accounts.items():
        if account.broker != "venue":
            continue
        try:
            httpx.get(f"{account.root}/healthz", timeout=ANSWER_WITHIN_S, trust_env=False).raise_for_status()
        except httpx.HTTPError as error:
            told = f"the venue at {account.root} does not answer ({type(error).__name__})"
            yield fail(f"venue {name}"[:12], told, "start it with `bridge venue`, or correct the account's root")
        else:
            yield ok(f"venue {name}"[:12], f"{account.root} answers")


def check_logins(facts: Facts) -> Iterator[Finding]:
    """Accounts whose brokers want a person every day: keys are set, and until when a session lives. Tells no key."""
    accounts = {name: account for name, account in facts.settings.accounts.items() if account.broker == "kite"}
    if not accounts:
        return
    try:
        sessions = open_reads(facts.settings).broker_sessions()
    except BridgeError:  # no database yet, or an older one: nobody has logged in with this version
        sessions = {}
    for name in accounts:
        part, keys = f"login {name}"[:12], "api_key and api_secret are set"
        session = sessions.get(name)
        if session is None or not session.sealed or session.expires_at <= facts.now:
            yield warn(part, f"{keys}; not logged in", f"log in on the status page, or with: bridge login {name}")
        elif problem := _sealing_problem(facts, session):
            yield warn(part, f"{keys}; not logged in: {problem}", f"bridge login {name}")
        else:
            ends = f"{session.expires_at.astimezone(IST):%Y-%m-%d %H:%M} in India"
            yield ok(part, f"{keys}; logged in as {session.user_id} until {ends}")


def _sealing_problem(facts: Facts, session: BrokerSession) -> str:
    """Why the bridge could not open the session's token."""
    if facts.settings.secret_key is None and not (facts.settings.data_dir / KEY_FILE).exists():
        return "the master key is missing"  # a look would make another one
    try:
        Vault(facts.settings).decrypt(session.sealed)
    except BridgeError:
        return "the session was sealed with another master key"
    return ""


def check_egress(facts: Facts) -> Iterator[Finding]:
    """Which address orders leave from; brokers in India take them only from one that is registered."""
    local = local_address()
    if local is None:
        yield warn("egress", "this machine has no route to the internet", "paper needs none; a broker does")
        return
    if not facts.online:
        note = "" if ip_address(local).is_global else ", behind a router: --online asks for the public one"
        yield ok("egress", f"orders leave from {local}{note}")
        return
    try:
        public = httpx.get(_WHAT_IS_MY_ADDRESS, timeout=ANSWER_WITHIN_S).raise_for_status().text.strip()[:45]
    except httpx.HTTPError as error:
        yield warn("egress", f"{_WHAT_IS_MY_ADDRESS} gave no answer ({type(error).__name__})", "check the network")
        return
    yield ok("egress", f"orders leave from {public}; register that address with brokers that want one")


def local_address() -> str | None:
    """The address that the route to the internet starts from; None when there is no route."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(_ANYWHERE)
            address: str = probe.getsockname()[0]
        except OSError:
            return None
    return None if is_loopback(address) else address
