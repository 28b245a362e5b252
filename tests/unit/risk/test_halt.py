"""Halts: which orders leave under which trading states, and how states follow commands."""

from datetime import timedelta

import pytest

from bridge.core.enums import TradingMode
from bridge.core.reasons import Reason
from bridge.core.scope import GLOBAL, TradingState, account_scope, strategy_scope
from bridge.risk.halt import HaltCommand, may_send, next_state, starting_state
from tests.unit.risk.builders import ACCOUNT, NOW, denied

ACTIVE, REDUCING, HALTED = TradingMode.ACTIVE, TradingMode.REDUCING, TradingMode.HALTED
LATER = NOW + timedelta(minutes=1)


def state(mode, scope=GLOBAL, message="lunch"):
    return TradingState(scope=scope, mode=mode, since=NOW, by="operator", message=message)


@pytest.mark.parametrize(
    ("modes", "entry_leaves", "exit_leaves"),
    [
        ([], True, True),
        ([ACTIVE], True, True),
        ([REDUCING], False, True),
        ([HALTED], False, False),
        ([ACTIVE, REDUCING], False, True),
        ([REDUCING, HALTED], False, False),
        ([HALTED, ACTIVE], False, False),
    ],
)
def test_the_strictest_state_decides_what_leaves(modes, entry_leaves, exit_leaves):
    """ACTIVE lets everything out, REDUCING exits only, HALTED nothing; the order of the states means nothing."""
    states = [state(mode) for mode in modes]
    assert (may_send(states, reduce_only=False) is None) is entry_leaves
    assert (may_send(states, reduce_only=True) is None) is exit_leaves


@pytest.mark.parametrize(
    ("scope", "name"), [(GLOBAL, "global"), (account_scope("a"), "account a"), (strategy_scope("s"), "strategy s")]
)
def test_denial_names_scope_mode_time_person_and_why(scope, name):
    """The trader reads who halted what, when and why, and what still leaves."""
    found = denied(may_send([state(REDUCING, scope)], reduce_only=False), Reason.HALTED)
    assert found.scope == name
    for part in (name, "REDUCING", "20 Nov 10:30 IST", "operator", "lunch", "only exits leave"):
        assert part in found.message
    assert (found.limit, found.observed, found.trips_halt) == ("ACTIVE", "REDUCING", False)


def test_denial_without_a_message_still_reads_well():
    """A halt needs no reason given."""
    found = denied(may_send([state(HALTED, message="")], reduce_only=True), Reason.HALTED)
    assert "by operator): no order leaves until" in found.message


@pytest.mark.parametrize(
    ("command", "mode"), [(HaltCommand.HALT, REDUCING), (HaltCommand.HALT_ALL, HALTED), (HaltCommand.RESUME, ACTIVE)]
)
def test_command_sets_its_mode(command, mode):
    """halt → REDUCING, halt --all → HALTED, resume → ACTIVE, with time, person and reason."""
    found = next_state(account_scope("a"), command, current=None, at=LATER, by="me", message="why")
    assert found == TradingState(scope=account_scope("a"), mode=mode, since=LATER, by="me", message="why")


@pytest.mark.parametrize(
    ("current", "command", "mode"),
    [
        (ACTIVE, HaltCommand.HALT, REDUCING),
        (REDUCING, HaltCommand.HALT_ALL, HALTED),
        (REDUCING, HaltCommand.RESUME, ACTIVE),
        (HALTED, HaltCommand.RESUME, ACTIVE),
    ],
)
def test_command_moves_a_state_on(current, command, mode):
    """Halts tighten, a resume opens."""
    found = next_state(GLOBAL, command, current=state(current), at=LATER, by="me")
    assert (found.mode, found.since, found.by, found.message) == (mode, LATER, "me", "")


@pytest.mark.parametrize(
    ("current", "command"),
    [(HALTED, HaltCommand.HALT), (REDUCING, HaltCommand.HALT), (HALTED, HaltCommand.HALT_ALL)],
)
def test_halt_never_loosens_a_stricter_state(current, command):
    """A rule that halts a scope which a person has halted altogether changes nothing."""
    before = state(current)
    assert next_state(GLOBAL, command, current=before, at=LATER, by="risk") is before


@pytest.mark.parametrize("mode", [REDUCING, HALTED])
def test_a_halt_that_cancels_adds_the_wish_and_keeps_it_until_a_resume(mode):
    """It is a tightening of its own: neither a plain halt nor a stricter one takes it back."""
    before = state(mode)
    wished = next_state(GLOBAL, HaltCommand.HALT, current=before, at=LATER, by="me", cancels=True)
    assert (wished.mode, wished.since, wished.cancels) == (mode, NOW, True)
    assert next_state(GLOBAL, HaltCommand.HALT, current=wished, at=LATER, by="me") is wished
    assert next_state(GLOBAL, HaltCommand.HALT_ALL, current=wished, at=LATER, by="me").cancels
    assert not next_state(GLOBAL, HaltCommand.RESUME, current=wished, at=LATER, by="me").cancels


@pytest.mark.parametrize(("live", "mode"), [(True, REDUCING), (False, ACTIVE)])
def test_account_starts_reducing_when_live_and_active_otherwise(live, mode):
    """With real money a person must resume the account first."""
    found = starting_state(ACCOUNT, live=live, at=NOW)
    assert (found.scope, found.mode, found.since) == (account_scope(ACCOUNT), mode, NOW)
