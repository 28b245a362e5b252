"""Audit files: what is written is what was given, in both forms, and nothing in them is a formula."""

import csv
import hashlib
import io
import json
from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from bridge.core.audit_entry import AuditEntry
from bridge.core.reasons import AuditAction
from bridge.reports.audit_file import COLUMNS, write_entries

NOON = datetime(2026, 11, 20, 6, 30, 0, 5, tzinfo=UTC)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


@st.composite
def entries(draw: st.DrawFn) -> AuditEntry:
    data = draw(st.none() | st.dictionaries(texts, texts | st.integers(), max_size=3))
    return AuditEntry(
        seq=draw(st.integers(1, 10**12)), at=NOON, action=draw(st.sampled_from(AuditAction)).value, meaning=draw(texts),
        account=draw(texts), alert_id=draw(texts), cl_ord_id="", code=draw(texts), message=draw(texts), body=draw(texts),
        order_qty=draw(st.sampled_from(["", "-5", "0.05", "1000000"])), transact_time=draw(st.none() | st.just(NOON)),
        data="" if data is None else json.dumps(data), hash="ab" * 32,
    )  # fmt: skip


def written(given: list[AuditEntry], *, as_csv: bool) -> tuple[str, Any]:
    out = io.BytesIO()
    told = write_entries(given, out, as_csv=as_csv)
    assert told.sha256 == hashlib.sha256(out.getvalue()).hexdigest()
    ends = (given[0].seq, given[-1].seq, given[-1].hash) if given else (0, 0, "")
    assert (told.entries, (told.first, told.last, told.head)) == (len(given), ends)
    return out.getvalue().decode(), told


@given(st.lists(entries(), max_size=4))
def test_lines_of_json_hold_what_was_given(given):
    """One object a line; names without a value are left out."""
    text, _told = written(given, as_csv=False)
    lines = text.split("\n")
    assert lines.pop() == ""
    for line, entry in zip(lines, given, strict=True):
        told = json.loads(line)
        for name in ("seq", "account", "message", "body", "order_qty", "hash"):
            assert told.get(name, "") == getattr(entry, name)
        assert told["at"] == "2026-11-20T06:30:00.000005Z"
        assert told.get("data") == (json.loads(entry.data) if entry.data else None)
        assert "" not in told.values()


@given(st.lists(entries(), max_size=4))
def test_a_table_holds_what_was_given_and_no_formula(given):
    """A text that a spreadsheet would reckon gets an apostrophe before it; numbers stay numbers."""
    text, _told = written(given, as_csv=True)
    head, *rows = csv.reader(io.StringIO(text, newline=""))
    assert tuple(head) == COLUMNS
    for row, entry in zip(rows, given, strict=True):
        told = dict(zip(head, row, strict=True))
        assert told["order_qty"] == entry.order_qty
        for name in ("account", "message", "body"):
            shown, value = told[name], getattr(entry, name)
            assert shown in (value, f"'{value}")
            assert not shown.startswith(("=", "+", "@", "\t", "\r"))
            assert not shown.startswith("-") or float(shown) <= 0
