"""No secret is written anywhere: not in a log, a page, an answer, the database or the audit."""

import base64
import http.cookiejar
import json
import re
import secrets
import urllib.parse
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from argon2 import PasswordHasher
from standardwebhooks import Webhook

from tests.support.server import WEBHOOK, Served

SIGNING = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
API_TOKEN = "api-" + secrets.token_hex(20)
PASSWORD = "correct horse " + secrets.token_hex(8)
WRONG_PASSWORD = "wrong horse " + secrets.token_hex(8)
MASTER = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
OTHERS_KEY = "k" + secrets.token_hex(16)  # what another bridge would read from `apikey`


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Served]:
    config = {
        "webhook": {"freshness_s": 60, "rate_per_minute": 100_000, "signing_secrets": [SIGNING]},
        "operator": {"password_hash": PasswordHasher().hash(PASSWORD)},
    }
    env = {"BRIDGE_API__TOKEN": API_TOKEN, "BRIDGE_SECRET_KEY": MASTER}
    with Served(tmp_path, config=config, env=env) as served:
        yield served


def deliver(server: Served, token: str) -> None:
    """Accepted, repeated and refused alerts, with the token where it belongs and in every odd place."""
    server.done(token, action="buy", quantity="2")
    server.done(token, action="sell", quantity="1", comment=f"my token is {token}", note={"deep": [token, {"x": token}]})
    server.post(server.body(token, action="exit", **{token: "as a name"}))
    server.post(server.body(action="exit"), f"{WEBHOOK}/{token}")
    server.post(server.body(action="exit", comment=token), f"{WEBHOOK}/{token}")
    for fields in (
        {"action": token}, {"symbol": token}, {"strategy": token}, {"quantity": token}, {"time": token}, {"id": token},
        {"product": token}, {"order_type": token}, {"stop_loss": token}, {"price": token}, {"action": "hodl", "x": token * 40},
        {"apikey": OTHERS_KEY, "action": "hodl"}, {"secret": SIGNING, "action": "hodl"}, {"passphrase": OTHERS_KEY},
    ):  # fmt: skip
        server.post(server.body(token, **{"action": "buy", "quantity": "1", **fields}))
    broken = json.dumps(server.body(token, action="buy"))
    server.post(broken[:-5], f"{WEBHOOK}/{token}")
    server.post(broken.replace('"', "'"), f"{WEBHOOK}/{token}")
    server.post(broken.encode("utf-16"), f"{WEBHOOK}/{token}")
    server.post(broken + broken, f"{WEBHOOK}/{token}")
    server.post("".join(f"\\u{ord(char):04x}" for char in token).join(('{"token": "', '", "action": "hodl"}')))
    server.post(server.body(token[:-3] + "xyz", action="buy"))
    server.post(server.body(token, action="buy"), f"{WEBHOOK}/{token}x")
    body, at = json.dumps(server.body(action="buy", quantity="1", comment=SIGNING)), datetime.now(UTC)
    headers = {"webhook-id": "m1", "webhook-timestamp": str(int(at.timestamp()))}
    server.post(body, headers={**headers, "webhook-signature": Webhook(SIGNING).sign("m1", at, body)})
    server.post(body, headers={**headers, "webhook-signature": SIGNING})
    server.post(body, headers={"authorization": f"Bearer {API_TOKEN}", "x-secret": SIGNING})


def pages_of(server: Served) -> dict[str, str]:
    """Every page and every answer there is to read, signed in and not."""
    found: dict[str, str] = {}
    with httpx.Client(base_url=server.url, timeout=20, cookies=http.cookiejar.CookieJar()) as browser:
        form = browser.get("/login").text
        csrf = re.search(r'name="csrf" value="([^"]+)"', form)
        assert csrf is not None
        wrong = browser.post("/login", data={"csrf": csrf[1], "password": WRONG_PASSWORD})
        found["wrong password"] = wrong.text
        signed_in = browser.post("/login", data={"csrf": csrf[1], "password": PASSWORD})
        assert signed_in.status_code in (200, 303), signed_in.text
        found["signed in"] = signed_in.text
        for path in ("/", "/alerts", "/login", "/none", f"/alerts/{'0' * 26}"):
            found[path] = browser.get(path).text
        assert "Sign in" not in found["/"]
        for alert in server.api("GET", "/alerts", params={"limit": "1000"}):
            path = f"/alerts/{alert['alert_id']}"
            page = browser.get(path)
            assert page.status_code == 200
            found[path] = page.text
            found[f"api {path}"] = json.dumps(server.way(alert["alert_id"]))
    for path in ("/status", "/alerts", "/orders", "/positions", "/trades", "/account", "/tokens", "/none"):
        answer = server.http.get(f"/api/v1{path}", headers=server.bearer)
        found[f"api {path}"] = answer.text
    for path in ("/healthz", "/readyz", "/metrics", "/api/v1/status"):
        found[path] = server.http.get(path).text
    refused = server.http.post("/api/v1/tokens", json={"strategy": API_TOKEN}, headers=server.bearer)
    found["a refused request"] = refused.text.replace(API_TOKEN, "")  # what the caller himself just sent
    return found


def spellings(secret: str) -> set[bytes]:
    """The secret as it is, and as JSON, URLs, UTF-16 and base64 would have it."""
    plain = {secret, urllib.parse.quote(secret), secret.encode("unicode_escape").decode()}
    if secret.startswith("v1."):
        plain |= set(secret.split(".")[2:])  # the signature alone is what makes it worth anything
    if secret.startswith("whsec_"):
        plain |= {secret.removeprefix("whsec_")}
    found = {text.encode() for text in plain}
    return found | {secret.encode("utf-16-le"), base64.b64encode(secret.encode())}


def test_no_secret_is_in_any_log_page_answer_or_file(server: Served) -> None:
    """After a session with every secret in use and misused, none is found anywhere but in the files that hold it."""
    token = server.mint()["token"]
    revoked = server.mint()
    server.send(revoked["token"], action="buy", quantity="1")
    server.api("DELETE", f"/tokens/{revoked['token_id']}")
    server.post(server.body(revoked["token"], action="buy", quantity="1"))
    deliver(server, token)
    read = {name: text.encode() for name, text in pages_of(server).items()}
    minted = server.command("alert", "new", "--strategy", "demo", "--json")
    assert minted.returncode == 0, minted.stderr
    by_command = json.loads(minted.stdout)["token"]
    server.done(by_command, action="buy", quantity="1")
    assert server.command("audit", "verify").returncode == 0
    for ending in ("jsonl", "csv"):  # read with all the other files below
        exported = server.command("audit", "export", "--from", "2026-01-01", "--out", str(server.folder / f"audit.{ending}"))
        assert exported.returncode == 0, exported.stderr
    checked = server.command("check")
    read |= {"check": (checked.stdout + checked.stderr).encode(), "mint errors": minted.stderr.encode()}
    assert server.stop() == 0
    for path in server.folder.rglob("*"):
        if path.is_file() and path.name not in ("bridge.yaml", "api.token", "secret.key"):
            read[str(path)] = path.read_bytes()
    assert any(name.endswith("bridge.db") for name in read)
    assert any(name.endswith("bridge.log") for name in read)
    assert any(b"[token]" in content for where, content in read.items() if where.endswith("bridge.db"))  # it was there
    hidden = {
        "token": token, "revoked token": revoked["token"], "minted token": by_command, "signing secret": SIGNING,
        "API token": API_TOKEN, "password": PASSWORD, "wrong password": WRONG_PASSWORD, "master key": MASTER,
        "another bridge's key": OTHERS_KEY,
    }  # fmt: skip
    for name, secret in hidden.items():
        for where, content in read.items():
            for spelling in spellings(secret):
                assert spelling not in content, f"the {name} is in {where}"


def test_files_with_secrets_are_for_their_owner_only(tmp_path: Path) -> None:
    """Made on the first run with mode 0600, in a folder of mode 0700; the database is not for others either."""
    with Served(tmp_path) as server:
        for name in ("secret.key", "api.token"):
            assert (server.data / name).stat().st_mode & 0o777 == 0o600
        assert server.data.stat().st_mode & 0o077 == 0
        assert server.stop() == 0
