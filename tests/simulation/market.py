"""The market: the venues of all accounts, what becomes of orders there, and the streams that tell of it."""

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from functools import partial

from bridge.core.enums import OrdType, Product, Side
from bridge.core.order_states import OrderStatus
from bridge.core.replacement import Terms
from bridge.core.report import Report
from tests.simulation.chance import Chance
from tests.simulation.loop import SimLoop
from tests.simulation.plan import ACCOUNTS, FAIR_PX
from tests.simulation.venue import Row, Venue
from tests.simulation.watch import Watch


class Market:
    """`streams` gives a function that brings a report to the life that listens now, if it still does then."""

    def __init__(
        self,
        sim: SimLoop,
        wall: Callable[[], datetime],
        chance: Chance,
        watch: Watch,
        tell: Callable[[str], None],
    ) -> None:
        self.sim = sim
        self.chance = chance
        self.watch = watch
        self.streams: Callable[[], Callable[[str, Report], None]] = lambda: _into_nothing
        self._tell = tell
        self.venues = {name: Venue(name, sim.time, wall, partial(self._on_report, name)) for name in ACCOUNTS}
        self._down_until: dict[str, float] = {}
        self._restarting_until: dict[str, float] = {}

    # -- sessions -----------------------------------------------------------------------------------------------------

    def is_up(self, venue: Venue) -> bool:
        """True while the session is good and the servers answer."""
        return self.is_listening(venue) and self.sim.time() >= self._down_until.get(venue.account, 0.0)

    def is_listening(self, venue: Venue) -> bool:
        """True while the servers answer."""
        return self.sim.time() >= self._restarting_until.get(venue.account, 0.0)

    def lose_session(self, account: str, for_s: float | None = None) -> None:
        """Somebody logs in again after a while."""
        self._down_until[account] = self.sim.time() + (self.chance.uniform(2, 20) if for_s is None else for_s)

    def restart(self, account: str, for_s: float) -> None:
        """Requests on their way are lost; the books are not."""
        self._restarting_until[account] = self.sim.time() + for_s

    def calm_down(self) -> None:
        """Everybody is back."""
        self._down_until.clear()
        self._restarting_until.clear()

    # -- reports ------------------------------------------------------------------------------------------------------

    def _on_report(self, account: str, report: Report) -> None:
        self._tell(f"venue {account} {report.kind} {report.tag} {report.last_qty}")
        bring, chance = self.streams(), self.chance.of(f"report {report.tag} {report.kind}")
        for _ in range(2 if chance.fault("repeat_report") else 1):
            if not chance.fault("lose_report"):
                self.sim.later(chance.between("report_s"), self._bring, account, report, bring)

    def _bring(self, account: str, report: Report, bring: Callable[[str, Report], None]) -> None:
        if self.is_up(self.venues[account]):
            bring(account, report)

    # -- orders -------------------------------------------------------------------------------------------------------

    def work(self, venue: Venue, row: Row) -> None:
        """What becomes of an order that has arrived."""
        self.watch.order_arrives(venue, row)
        chance = self.chance.of(f"order {row.tag}")
        wait_s = chance.between("fill_s")
        if chance.fault("stuck"):
            wait_s += chance.uniform(20, 90)
        if chance.fault("reject_later"):
            self.sim.later(wait_s, venue.end, row, OrderStatus.REJECTED, "RMS: no margin")
            return
        if row.ord_type is OrdType.GTT and self.chance.of(f"gap {row.tag}").fault("gap"):
            self.sim.later(wait_s, self._gap, venue, row, Decimal(chance.number(0, int(row.order_qty) - 1)))
            return
        if row.ord_type is OrdType.GTT or (row.ord_type is OrdType.LIMIT and row.price != FAIR_PX):
            if chance.number(0, 2):
                return  # it rests until somebody cancels it
            wait_s += chance.uniform(1, 30)
        self._fill_in_parts(venue, row, wait_s, chance)
        if chance.fault("exchange_cancel"):
            self.sim.later(wait_s * chance.uniform(0, 1), self._cancel, venue, row, "cancelled by the exchange")

    def _gap(self, venue: Venue, row: Row, qty: Decimal) -> None:
        """It has triggered, and the price is through its limit at once: the rest waits there until somebody cancels it."""
        self._tell(f"venue {venue.account} gap {row.tag}")
        venue.execute(row, qty, fill_px(row))

    def _fill_in_parts(self, venue: Venue, row: Row, wait_s: float, chance: Chance) -> None:
        parts = chance.number(2, 3) if chance.fault("part") else 1
        for part in range(1, parts + 1):
            qty = row.order_qty if part == parts else Decimal(chance.number(1, max(1, int(row.order_qty) // 2)))
            self.sim.later(wait_s, venue.execute, row, qty, fill_px(row))
            wait_s += chance.between("fill_s") + (chance.between("part_s") if row.ord_type is OrdType.LIMIT else 0)

    def cancel_soon(self, venue: Venue, row: Row) -> None:
        """It was asked for; until it is done the order may fill."""
        wait_s = self.chance.of(f"cancel {row.tag}").between("fill_s")
        self.sim.later(wait_s, self._cancel, venue, row, "on request")

    def change_soon(self, venue: Venue, row: Row, terms: Terms) -> None:
        """It was asked for; until it is done the order works by its old terms, and sometimes it never is."""
        chance = self.chance.of(f"change {row.tag} {terms}")
        if not chance.fault("change_lost"):
            self.sim.later(chance.between("fill_s"), self._change, venue, row, terms, chance)

    def _change(self, venue: Venue, row: Row, terms: Terms, chance: Chance) -> None:
        venue.change(row, terms)
        if row.price == FAIR_PX:
            self._fill_in_parts(venue, row, chance.between("fill_s"), chance)

    def _cancel(self, venue: Venue, row: Row, message: str) -> None:
        venue.end(row, OrderStatus.CANCELLED, message)
        chance = self.chance.of(f"end {row.tag}")
        if chance.fault("late_fill"):
            self.sim.later(chance.uniform(0.1, 5), self._fill_late, venue, row)

    def _fill_late(self, venue: Venue, row: Row) -> None:
        if row.status is OrderStatus.CANCELLED:
            venue.execute(row, Decimal(1), fill_px(row), after_end=True)

    def unstick(self) -> None:
        """Whatever should have filled long ago fills."""
        for venue in self.venues.values():
            for row in venue.working():
                if row.ord_type is OrdType.MARKET:
                    venue.execute(row, row.order_qty, FAIR_PX)

    def trade_by_hand(self, where: str, qty: int) -> None:
        """Somebody trades in the broker's own app, in "account symbol"; more than four are bought, others sold."""
        account, symbol = where.split()
        side = Side.BUY if qty > 4 else Side.SELL
        self.venues[account].trade_by_hand(symbol, Product.MIS, side, Decimal(qty), FAIR_PX)


def fill_px(row: Row) -> Decimal:
    """Everything trades at its limit or at the one price there is."""
    return row.price if row.ord_type is OrdType.LIMIT and row.price is not None else FAIR_PX


def _into_nothing(_account: str, _report: Report) -> None:
    return
