"""`bridge check`: what is wrong and the mend, line by line; looks at everything and changes nothing."""

import argparse
import os

from bridge.commands.findings import Facts, Finding, Level, fail, ok
from bridge.commands.look_egress import check_egress
from bridge.commands.look_inside import (
    check_calendar,
    check_clock,
    check_data,
    check_folder,
    check_instruments,
    check_secrets,
    check_store,
)
from bridge.commands.look_kite import check_kite, check_logins
from bridge.commands.look_outside import check_bind, check_brokers, check_notify, check_reach, check_webhook
from bridge.commands.running import find_running
from bridge.core.clock import SystemClock
from bridge.core.errors import BridgeError
from bridge.settings import CONFIG_VARIABLE, DEFAULT_CONFIG, Settings, load_settings

CHECKS = (
    check_folder,
    check_secrets,
    check_store,
    check_clock,
    check_calendar,
    check_instruments,
    check_data,
    check_webhook,
    check_bind,
    check_reach,
    check_brokers,
    check_logins,
    check_kite,
    check_egress,
    check_notify,
)


def check(arguments: argparse.Namespace) -> int:
    """Print every finding; 1 when something fails."""
    try:
        settings = load_settings()
    except BridgeError as error:
        print(fail("settings", str(error), "correct the keys that are named"), flush=True)
        return 1
    facts = Facts(settings=settings, running=find_running(settings.data_dir), now=SystemClock().now(), online=arguments.online)
    findings = [_tell(_describe(settings))]
    for look in CHECKS:
        findings += [_tell(finding) for finding in look(facts)]
    counts = {level: sum(finding.level is level for finding in findings) for level in (Level.FAIL, Level.WARN)}
    print(f"\n{counts[Level.FAIL]} to mend, {counts[Level.WARN]} to think about.")
    return 1 if counts[Level.FAIL] else 0


def _tell(finding: Finding) -> Finding:
    print(finding, flush=True)
    return finding


def _describe(settings: Settings) -> Finding:
    named = os.environ.get(CONFIG_VARIABLE)
    source = named or (str(DEFAULT_CONFIG) if DEFAULT_CONFIG.is_file() else "as shipped")
    accounts = ", ".join(f"{name} ({account.broker})" for name, account in settings.accounts.items())
    return ok("settings", f"{source}; accounts {accounts}; strategies {', '.join(settings.strategies)}")
