"""`bridge serve` whose brokers take every order and never answer; HANGING_LIMIT_S is how long its stop waits for them."""

import os

from bridge import bootstrap, cli
from bridge.brokers.base import Broker
from bridge.commands import serve
from bridge.settings import AccountSettings
from tests.support.scripted_broker import HANG, ScriptedBroker

LIMIT = "HANGING_LIMIT_S"


class HangingBridge(bootstrap.Bridge):
    """The bridge as it is, but for its brokers."""

    def _make_broker(self, name: str, account: AccountSettings) -> Broker:
        broker = ScriptedBroker(name, self.clock)
        broker.answers.extend([HANG] * 1000)
        return broker


if __name__ == "__main__":
    bootstrap.STOP_TIMEOUT_S = float(os.environ[LIMIT])
    vars(serve)["Bridge"] = HangingBridge
    raise SystemExit(cli.main())
