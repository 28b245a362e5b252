"""A definition on its way to a live account: read, approved, deployed, at work with real orders, disabled; never unapproved."""

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from bridge import cli
from bridge.core.reasons import AuditAction
from tests.support.kite_bridge import hurry
from tests.support.live_scans import LIVE, PAPER, UP, Floor, open_floor
from tests.support.pages import send, token_of
from tests.support.samples import SBIN
from tests.support.waiting import wait_for


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every pause between two looks is short."""
    hurry(monkeypatch)
    monkeypatch.setattr("bridge.runner.runner.TURN_S", 0.02)


@pytest.fixture
def floor(tmp_path: Path) -> Iterator[Floor]:
    with open_floor(tmp_path) as found:
        yield found


def ask(floor: Floor, path: str = "", body: Any = None, status: int = 200) -> dict[str, Any]:
    answer = floor.api("POST", f"/scans{path}", json=body)
    assert answer.status_code == status, answer.text
    return dict(answer.json())


def test_a_definition_goes_live_trades_there_and_is_disabled(floor: Floor) -> None:
    """Orders of its signals are at the broker, none of them on paper; who approved which version when is in the audit."""
    version = ask(floor, body={"definition": UP}, status=201)["version"]
    assert "not approved" in ask(floor, "/up/deploy", {"deployment": "live"}, status=422)["message"]
    before = floor.clock.now()
    approved = ask(floor, "/up/approve", {"version": version})
    assert (approved["approved"], approved["approved_by"]) == (True, "api")
    at = datetime.fromisoformat(approved["approved_at"])  # in whole milliseconds
    assert before - timedelta(milliseconds=1) < at <= floor.clock.now()
    assert ask(floor, "/up/deploy", {"deployment": "live"})["accounts"] == [LIVE]
    assert floor.at_kite() == []
    ask(floor, "/up/enable")
    floor.bar("812", "815")
    (order,) = wait_for(floor.at_kite, "the order at the broker")
    assert (order.symbol, order.transaction_type, order.quantity) == (SBIN, "BUY", 10)
    (signal,) = floor.signals()
    assert signal["strategy"] == "demo"
    wait_for(lambda: floor.api("GET", "/positions").json(), "the position")
    (position,) = floor.api("GET", "/positions").json()
    assert (position["account"], position["quantity"]) == (LIVE, "10")
    assert not ask(floor, "/up/disable")["enabled"]
    wait_for(lambda: "up" not in floor.box.bridge.scans.states, "the end of it")
    floor.pass_minute("814", "811")
    floor.stays(1)
    assert len(floor.signals()) == 1
    for action, told in (
        (AuditAction.DEFINITION_APPROVED, version), (AuditAction.DEFINITION_DEPLOYED, "live"),
        (AuditAction.DEFINITION_ENABLED, "on live"), (AuditAction.DEFINITION_DISABLED, version),
    ):  # fmt: skip
        ((message, data),) = floor.steps(action)
        assert told in message
        assert json.loads(data)["by"] == "api"


def test_an_edit_of_one_that_is_live_stops_it_until_the_new_version_is_approved(floor: Floor) -> None:
    """Neither page nor API lets it go on; back on paper it runs, and its signals go there."""
    version = ask(floor, body={"definition": UP}, status=201)["version"]
    for path, body in (("/approve", {"version": version}), ("/deploy", {"deployment": "live"}), ("/enable", None)):
        ask(floor, f"/up{path}", body)
    edited = ask(floor, body={"definition": {**UP, "size": {"quantity": 7}}}, status=201)
    assert (edited["enabled"], edited["approved"], edited["accounts"]) == (False, False, [])
    assert "not approved" in ask(floor, "/up/enable", status=422)["message"]
    assert "not approved" in ask(floor, "/up/deploy", {"deployment": "live"}, status=422)["message"]
    assert ask(floor, "/up/approve", {"version": version}, status=422)["field"] == "version"
    for step, fields in (("enable", {}), ("deploy", {"deployment": "live"})):
        answer = send(floor.box, f"/scans/up/{step}", csrf=token_of(floor.box), version=edited["version"], **fields)
        assert answer.status_code == 400, answer.text
    assert ask(floor, "/up/deploy", {"deployment": "paper"})["accounts"] == [PAPER]
    ask(floor, "/up/enable")
    floor.bar("812", "815")
    wait_for(lambda: floor.api("GET", "/positions").json(), "the position")
    (position,) = floor.api("GET", "/positions").json()
    assert (position["account"], position["quantity"]) == (PAPER, "7")
    floor.stays(0)
    ask(floor, "/up/approve", {"version": edited["version"]})
    ask(floor, "/up/disable")
    assert ask(floor, "/up/deploy", {"deployment": "live"})["accounts"] == [LIVE]


def test_the_commands_take_it_live_and_refuse_what_is_not_approved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Approved by name and version, and only that one."""
    accounts = {LIVE: {"broker": "kite", "api_key": "k", "api_secret": "s"}, PAPER: {"broker": "paper"}}
    config = {
        "data_dir": str(tmp_path / "data"), "accounts": accounts, "strategies": {"demo": {"accounts": [LIVE, PAPER]}},
        "database": {"url": f"sqlite:///{tmp_path / 'data' / 'bridge.db'}"},
    }  # fmt: skip
    (tmp_path / "bridge.yaml").write_text(json.dumps(config))
    monkeypatch.setenv("BRIDGE_CONFIG", str(tmp_path / "bridge.yaml"))
    file = tmp_path / "up.yaml"

    def run(*words: str) -> tuple[int, str]:
        code = cli.main(["scan", *words])
        told = capsys.readouterr()
        return code, told.out + told.err

    file.write_text(json.dumps(UP))
    version = run("save", str(file))[1].split()[1].rstrip(":")
    code, told = run("deploy", "up", "live")
    assert code == 1
    assert f"bridge scan approve up {version}" in told
    assert run("approve", "up", version)[0] == 0
    assert run("deploy", "up", "live") == (0, f"up {version}: disabled, live ({LIVE})\n")
    assert run("enable", "up") == (0, f"up {version}: enabled, live ({LIVE})\n")
    file.write_text(json.dumps({**UP, "size": {"quantity": 7}}))
    assert "disabled, live (no account)" in run("save", str(file))[1]
    code, told = run("enable", "up")
    assert code == 1
    assert "not approved for live accounts" in told
    assert run("approve", "up", version)[0] == 1
