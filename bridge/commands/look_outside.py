"""Checks of how the bridge meets the world: bind, public address, proxies, secrets of senders, brokers, notifications."""

from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx

from bridge.commands.alerts import reach_hint
from bridge.commands.findings import Facts, Finding, fail, ok, warn
from bridge.commands.serve import PASSWORD_MEND, listen
from bridge.core.errors import BridgeError
from bridge.intake.signatures import SignatureChecker
from bridge.vault import api_token
from bridge.web.auth import needs_password, password_hash

ANSWER_WITHIN_S = 5.0


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
            yield fail(name, part["message"] or "does not work", "do what it says, or look at the log")


def _ask_venues(facts: Facts) -> Iterator[Finding]:
    """Whether something that says it is well listens where each venue should."""
    for name, account in facts.settings.accounts.items():
        if account.broker != "venue":
            continue
        try:
            httpx.get(f"{account.root}/healthz", timeout=ANSWER_WITHIN_S, trust_env=False).raise_for_status()
        except httpx.HTTPError as error:
            told = f"the venue at {account.root} does not answer ({type(error).__name__})"
            yield fail(f"venue {name}", told, "start it with `bridge venue`, or correct the account's root")
        else:
            yield ok(f"venue {name}", f"{account.root} answers")


def check_notify(facts: Facts) -> Iterator[Finding]:
    """Somebody is told when something needs a person, and the addresses are such that apprise knows."""
    settings = facts.settings
    if not settings.notify.channels:
        if any(not account.is_paper for account in settings.accounts.values()):
            told = "no channel is set: alarms and missing logins are on the status page alone"
            yield warn("notify", told, "set one under notify.channels; see docs/operations.md")
        return
    from bridge.notify.link import Link  # all of apprise

    for name, channel in settings.notify.channels.items():
        try:
            Link(name, channel.url.get_secret_value())
        except BridgeError as error:
            yield fail("notify", str(error), f"correct BRIDGE_NOTIFY__CHANNELS__{name.upper()}__URL")
        else:
            yield ok("notify", f"{name} is told of {', '.join(sorted(channel.events))}; try it: bridge notify test")
