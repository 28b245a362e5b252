"""`bridge audit export`: what it refuses to do, and that it leaves nothing behind then."""

import pytest

from bridge.cli import main
from tests.support.stores import fresh_sqlite


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["--from", "2026-01-01", "--out", "audit.txt"], 2, ".jsonl or .csv"),
        (["--from", "yesterday", "--out", "a.csv"], 2, "2026-11-20"),
        (["--from", "2026-01-02", "--to", "2026-01-01", "--out", "a.csv"], 2, "before"),
        (["--from", "2026-01-02", "--to", "9999-12-31", "--out", "a.csv"], 2, "beyond"),
        (["--from", "2026-01-01", "--account", "nope", "--out", "a.csv"], 2, "no account 'nope'"),
        (["--from", "2026-01-01", "--out", "none/a.csv"], 1, "cannot be written"),
    ],
)
def test_what_cannot_be_done_is_told_and_leaves_no_file(tmp_path, monkeypatch, capsys, words, code, told):
    """One line that says why."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BRIDGE_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("BRIDGE_DATABASE__URL", fresh_sqlite(tmp_path / "data"))
    assert main(["audit", "export", *words]) == code
    assert told in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_days_without_a_record_make_an_empty_file(tmp_path, monkeypatch, capsys):
    """Which has a digest too, and may take the place of an older file."""
    out = tmp_path / "a.jsonl"
    out.write_text("older")
    monkeypatch.setenv("BRIDGE_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("BRIDGE_DATABASE__URL", fresh_sqlite(tmp_path / "data"))
    assert main(["audit", "export", "--from", "2026-01-01", "--to", "2026-01-01", "--out", str(out)]) == 0
    told = capsys.readouterr()
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert (told.out, out.read_bytes()) == (f"{empty}  {out}\n", b"")
    assert told.err == f"0 records of 2026-01-01 to 2026-01-01 in {out}.\n"
