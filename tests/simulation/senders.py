"""Senders: TradingView as it delivers alerts, and those whose relays send everything twice."""

import asyncio
import json
from typing import TYPE_CHECKING

from bridge.answer import Answer
from bridge.core.claims import Claims
from bridge.intake.tokens import KEY_ID, mint_token, token_keys
from bridge.intake.verify import Delivery
from bridge.vault import Vault
from tests.simulation.chance import Chance
from tests.simulation.plan import STRATEGIES, PlannedAlert

if TYPE_CHECKING:
    from tests.simulation.world import World

# TradingView: the answer within 3 s, a 5xx (not 504) again after 5 s, three times; a timeout never.
TIMEOUT_S = 3.0
RESEND_AFTER_S = 5.0
RESENDS = 3
_GATEWAY_TIMEOUT = 504


class Senders:
    """`acked` are the alerts that somebody got a 200 for: their ids by what was sent."""

    def __init__(self, world: "World", chance: Chance) -> None:
        self._world = world
        self._chance = chance
        keys = token_keys(Vault(world.settings))[KEY_ID]
        self._tokens = {
            name: mint_token(Claims(key_id=KEY_ID, token_id=f"SIM{name}", strategy=name), keys) for name in STRATEGIES
        }
        self.acked: dict[str, str] = {}
        self.fired = 0

    def fire(self, alert: PlannedAlert) -> None:
        """The alert triggers."""
        body = {"token": self._tokens[alert.fields["strategy"]], **alert.fields}
        if not body.pop("no_time", None):
            body["time"] = self._world.clock.true_now().isoformat()
        content = json.dumps(body)
        self.fired += 1
        self._deliver(content, 0)
        chance = self._chance.of(f"twice {_short(content)}")
        if chance.fault("send_twice"):
            self._world.sim.later(chance.between("http_s"), self._deliver, content, RESENDS)

    def _deliver(self, content: str, resent: int) -> None:
        self._world.begin(self._post(content, resent))

    async def _post(self, content: str, resent: int) -> None:
        """One delivery, and what the sender makes of the answer."""
        chance = self._chance.of(f"post {_short(content)}")
        await asyncio.sleep(chance.between("http_s"))
        status = await self._ask(content, chance)
        self._world.tell(f"answer {status or 'none'} to {_short(content)}")
        if status >= 500 and status != _GATEWAY_TIMEOUT and resent < RESENDS:
            self._world.sim.later(RESEND_AFTER_S, self._deliver, content, resent + 1)

    async def _ask(self, content: str, chance: Chance) -> int:
        """The HTTP status that the sender sees; 0: none came. A proxy in front may answer for a bridge that is gone."""
        world, running = self._world, self._world.current()
        of_proxy = chance.pick((0, 502, 503))
        if not running.listens:
            return of_proxy
        received_at, asked_at = world.clock.now(), world.sim.time()
        delivery = Delivery(body=content.encode(), headers={}, path_token=None, peer="127.0.0.1", received_at=received_at)
        task = running.life.spawn(running.bridge.pipeline.accept(delivery))
        await asyncio.wait((task, running.ended), return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            return of_proxy
        if task.exception() is not None:
            world.break_promise(f"P9 accept raised {task.exception()!r}")
            return 500
        answer: Answer = task.result()
        await asyncio.sleep(chance.between("http_s"))
        if world.sim.time() - asked_at > TIMEOUT_S:
            return 0
        if answer.http_status == 200:
            self.acked[content] = answer.alert_id
        return answer.http_status


def _short(content: str) -> str:
    return " ".join(f"{name}={value}" for name, value in json.loads(content).items() if name not in ("token", "time"))
