"""`python -m tests.kite_sim.alive FOLDER MUTANT SLOW`: be the bridge of a folder, as `bridge serve` is, by the shared clock."""

import asyncio
import os
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
import uvloop

from bridge.bootstrap import Bridge
from bridge.brokers.kite import adapter
from bridge.commands.serve import BridgeServer, listen
from bridge.commands.server import forward_logs, run_until_stopped
from bridge.log import configure
from bridge.settings import load_settings
from tests.kite_sim.life import CLOCK, CONFIG, SharedClock
from tests.kite_sim.mutants import MUTANTS, SHORT_MINUTE
from tests.support.kite_bridge import hurry

# An order is changed so often and then placed anew: the vendor's twenty-five would take a story too long.
CHANGES = 2


def main(folder: Path, mutant: str, is_slow: bool) -> None:
    """Live until it is told to stop."""
    os.environ["BRIDGE_CONFIG"] = str(folder / CONFIG)
    with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
        if not is_slow:
            hurry(patch)
        patch.setattr(adapter, "MAX_REPLACES", CHANGES)
        if mutant:
            stack.enter_context(next(one for one in (*MUTANTS, SHORT_MINUTE) if one.name == mutant).broken())
        configure(as_json=True)
        forward_logs()
        settings, listening = listen(load_settings())
        server = BridgeServer(Bridge(settings, SharedClock(folder / CLOCK)), listening)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(run_until_stopped(server))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], bool(sys.argv[3]))
