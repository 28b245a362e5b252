"""The life of a definition, over the API and by commands: saved, enabled, edited, approved, live, disabled, deleted."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bridge import cli
from bridge.settings import Settings
from tests.support.web import WebBox, make_settings

ROOT = Path(__file__).parents[2]
CROSS = (ROOT / "config" / "scans" / "ema-cross.yaml").read_text()


@pytest.fixture
def box(tmp_path: Path) -> Iterator[WebBox]:
    with WebBox(make_settings(tmp_path / "data")) as running:
        yield running


def ask(box: WebBox, path: str, body: dict[str, Any] | None = None, method: str = "POST", status: int = 200) -> Any:
    answer = box.ask(method, f"/api/v1/scans{path}", json=body, headers={"authorization": f"Bearer {box.token}"})
    assert answer.status_code == status, answer.text
    return answer.json()


def test_a_definition_from_file_to_running(box: WebBox) -> None:
    row = ask(box, "", {"text": CROSS}, status=201)
    assert (row["name"], row["enabled"], row["deployment"], row["accounts"]) == ("ema-cross", False, "paper", ["paper"])
    assert ask(box, "", {"text": CROSS + "\n# a comment is no change\n"}, status=201)["version"] == row["version"]
    assert ask(box, "/ema-cross/enable")["enabled"]
    edited = ask(box, "", {"text": CROSS.replace("quantity: 10", "quantity: 20")}, status=201)
    assert edited["version"] != row["version"]
    assert edited["enabled"]
    whole = ask(box, "/ema-cross", method="GET")
    assert [kept["version"] for kept in whole["versions"]] == [edited["version"], row["version"]]
    assert whole["definition"]["size"] == {"quantity": 20}
    assert ask(box, "/ema-cross/lines", method="GET")["lines"] == []
    assert "Disable it first" in ask(box, "/ema-cross", method="DELETE", status=422)["hint"]
    assert not ask(box, "/ema-cross/disable")["enabled"]
    assert ask(box, "/ema-cross", method="DELETE") == {"name": "ema-cross", "deleted": True}
    assert ask(box, "", method="GET") == []


def test_live_wants_the_approval_of_exactly_this_version(box: WebBox) -> None:
    row = ask(box, "", {"text": CROSS}, status=201)
    assert "not approved" in ask(box, "/ema-cross/deploy", {"deployment": "live"}, status=422)["message"]
    assert ask(box, "/ema-cross/approve", {"version": "000000000000"}, status=422)["field"] == "version"
    approved = ask(box, "/ema-cross/approve", {"version": row["version"]})
    assert approved["approved"]
    assert approved["approved_by"] == "api"
    # The strategy has paper accounts only, so there is nowhere to go live.
    assert "no live account" in ask(box, "/ema-cross/deploy", {"deployment": "live"}, status=422)["message"]
    assert not ask(box, "", {"text": CROSS.replace("9)", "8)")}, status=201)["approved"]
    steps = [step.message for step in box.bridge.store.reads.recent(list(_actions()))]
    assert any(row["version"] in message for message in steps)


def test_a_strategy_has_one_definition_that_runs(box: WebBox) -> None:
    """What is held is counted by strategy: two would close each other's positions."""
    ask(box, "", {"text": CROSS}, status=201)
    ask(box, "", {"text": CROSS.replace("name: ema-cross", "name: other")}, status=201)
    ask(box, "/ema-cross/enable")
    assert "ema-cross runs under demo already" in ask(box, "/other/enable", status=422)["message"]


def _actions() -> list[Any]:
    from bridge.core.reasons import AuditAction

    return [action for action in AuditAction if action.name.startswith("DEFINITION_")]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"text": "name: [}"}, "text"),
        ({"text": "- a"}, None),
        ({"text": CROSS.replace("strategy: demo", "strategy: nobody")}, "strategy"),
        ({"text": CROSS.replace("interval: 5m", "interval: 2h")}, "interval"),
        ({}, "text"),
        ({"definition": 5}, None),
        ({"text": CROSS, "more": 1}, "more"),
    ],
)
def test_what_is_wrong_is_named(box: WebBox, body: dict[str, Any], field: str | None) -> None:
    told = ask(box, "", body, status=422)
    assert told["status"] == "refused"
    if field is not None:
        assert told["field"] == field
    assert ask(box, "", method="GET") == []


def test_definitions_outlive_a_restart(tmp_path: Path) -> None:
    settings: Settings = make_settings(tmp_path / "data")
    with WebBox(settings) as box:
        version = ask(box, "", {"text": CROSS}, status=201)["version"]
        ask(box, "/ema-cross/enable")
    with WebBox(settings) as box:
        (row,) = ask(box, "", method="GET")
        assert (row["version"], row["enabled"]) == (version, True)
        definitions = box.bridge.scans.definitions
        running = [definitions.read(view.record) for view in definitions.all() if view.record.enabled]
        assert [one.version for one in running] == [version]


def test_the_commands_say_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    config = {
        "data_dir": str(tmp_path / "data"), "accounts": {"paper": {"broker": "paper", "session": "always"}},
        "strategies": {"demo": {"accounts": ["paper"]}},
    }  # fmt: skip
    (tmp_path / "bridge.yaml").write_text(json.dumps(config))
    monkeypatch.setenv("BRIDGE_CONFIG", str(tmp_path / "bridge.yaml"))
    monkeypatch.setenv("BRIDGE_DATABASE__URL", f"sqlite:///{tmp_path / 'data' / 'bridge.db'}")
    monkeypatch.chdir(ROOT)
    file = tmp_path / "mine.yaml"
    file.write_text(CROSS)
    assert cli.main(["scan", "save", str(file)]) == 0
    assert "disabled, paper (paper)" in capsys.readouterr().out
    assert cli.main(["scan", "enable", "ema-cross"]) == 0
    capsys.readouterr()
    assert cli.main(["scan", "list"]) == 0
    told = capsys.readouterr().out
    assert "ema-cross" in told
    assert "config/scans/breakout.yaml" in told
    assert cli.main(["scan", "explain", "ema-cross"]) == 0
    assert "It has not been asked yet" in capsys.readouterr().out
    assert cli.main(["scan", "delete", "ema-cross"]) == 1
    assert "Disable it first" in capsys.readouterr().err
