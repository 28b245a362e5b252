"""kill -9 of the bridge, of the broker it trades at, of both, under load and with a broker that fails in every way it may."""

import random
from pathlib import Path

import pytest

from tests.support.load import Load, settle
from tests.support.server import Served, ServedVenue
from tests.support.waiting import wait_for

BRIDGE, VENUE, BOTH = "bridge", "venue", "both"
WELL, MIXED, BLIND, SLOW = "well", "mixed", "blind", "slow"
# Who is killed, and how the venue is meanwhile. Twenty-five kills in all, with the one of the last round.
ROUNDS = (
    *[(BRIDGE, mood) for mood in (WELL, WELL, MIXED, MIXED, MIXED, BLIND, BLIND, SLOW, SLOW, SLOW)],
    *[(VENUE, mood) for mood in (WELL, MIXED, MIXED, BLIND)],
    *[(BOTH, mood) for mood in (WELL, MIXED, MIXED, BLIND, SLOW)],
)
KILLS = 25
LOST_ANSWERS = ("drop_answer", "_400_timed_out", "_502_after", "_503_after", "_504_after")
FAULTS = (*LOST_ANSWERS, "drop_request", "delay", "_429", "_429_retry_after", "_502", "_503", "_504", "session_lost")
ACCOUNTS = ("mine", "family")
# Four senders at this pace are some three hundred alerts a second: with two accounts, more than a broker call can keep up with.
PAUSE_S = 0.01


class Story:
    """Two processes, what happens to them, and what was acknowledged."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.chance = random.Random(seed)
        self.seed = seed
        self.venue = ServedVenue(folder / "broker", "--cash", "100000000")
        self.server = Served(folder / "bridge")
        self.token = ""
        self.accepted: dict[str, str] = {}
        self.kills = 0

    def open(self) -> None:
        self.venue.start()
        account = {"broker": "venue", "root": self.venue.root, "session": "always"}
        self.server.config = {
            "accounts": dict.fromkeys(ACCOUNTS, account),
            "strategies": {"demo": {"accounts": list(ACCOUNTS), "product": "MIS"}},
        }
        self.server.start()
        self.token = self.server.mint()["token"]

    def close(self) -> None:
        for one in (self.server, self.venue):
            one.kill()
            one.http.close()

    def play(self, number: int, whom: str, mood: str) -> None:
        """One round: load, the kill at a random moment, and both up again."""
        self.spoil(mood)
        with Load(self.server, self.token, self.seed + number, pause_s=PAUSE_S) as load:
            load.reach(self.chance.choice((300, 400)) if mood == BLIND else self.chance.choice((1, 5, 20, 60, 120)))
            self.kill(whom)
            if whom == VENUE:  # the bridge goes on without its broker for a while, and then with it
                load.reach(len(load.accepted) + self.chance.choice((1, 40)))
                self.venue.start()
                load.reach(len(load.accepted) + self.chance.choice((1, 40)))
        assert load.wrong == []
        self.accepted |= load.accepted
        for one in (self.venue, self.server):
            if one.process is None:
                one.launch()
        self.venue.start()
        self.server.start()

    def play_last(self) -> None:
        """The venue dies with reports that it has not told, and the bridge, which goes on, must find them out."""
        self.venue.ask("DELETE", "/faults")
        self.venue.ask("POST", "/login")
        self.venue.faults(late_reports_ms=10_000)
        with Load(self.server, self.token, self.seed - 1, pause_s=PAUSE_S) as load:
            load.reach(60)
            wait_for(lambda: self.server.rows("SELECT 1 FROM orders WHERE status = 'PLACED'"), "an order with untold reports")
            self.kill(VENUE)
        assert load.wrong == []
        self.accepted |= load.accepted
        self.venue.start()

    def spoil(self, mood: str) -> None:
        """What is wrong with the venue in a round."""
        self.venue.ask("POST", "/login")
        self.venue.ask("DELETE", "/faults")
        if mood == MIXED:
            self.venue.faults(delay_ms=300, **{fault: self.chance.choice((1, 2, 5)) for fault in self.chance.sample(FAULTS, 2)})
        elif mood == BLIND:  # orders are taken and their answers lost, and until much later the book alone tells
            self.venue.faults(late_reports_ms=2_500, **dict.fromkeys(LOST_ANSWERS, 2))
        elif mood == SLOW:  # longer than a restart: orders are taken after the new bridge has looked for them
            self.venue.faults(delay=2, delay_ms=3_500)

    def kill(self, whom: str) -> None:
        """kill -9, in either order when it is both."""
        every: dict[str, list[Served | ServedVenue]]
        every = {BRIDGE: [self.server], VENUE: [self.venue], BOTH: [self.server, self.venue]}
        killed = every[whom]
        self.chance.shuffle(killed)
        for one in killed:
            one.kill()
            self.kills += 1

    def check(self) -> None:
        """Quiet: no faults any more. What was promised holds."""
        self.venue.ask("DELETE", "/faults")
        self.venue.ask("POST", "/login")
        settle(self.server, self.accepted, self.venue.rows)
        tags = {row[0] for row in self.server.rows("SELECT tag FROM orders")}
        theirs = {row[0] for row in self.venue.rows("SELECT tag FROM paper_orders")}
        assert theirs <= tags, "the venue has orders that the bridge does not know"
        compared = self.server.api("POST", "/reconcile")
        assert compared["agree"], compared
        doubted = self.server.rows("SELECT COUNT(DISTINCT cl_ord_id) FROM audit WHERE action = 'order_in_doubt'")
        assert doubted[0][0] >= 10, "too few doubts to have proved anything"


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_bridge_and_broker_killed_again_and_again_nothing_is_lost_and_nothing_is_sent_twice(tmp_path: Path) -> None:
    """Every acknowledged alert ends; per tag one order at the venue; the same executions and positions on both sides."""
    seed = random.randrange(1_000_000)
    story = Story(tmp_path, seed)
    rounds = list(ROUNDS)
    story.chance.shuffle(rounds)
    try:
        story.open()
        for number, (whom, mood) in enumerate(rounds):
            story.play(number, whom, mood)
        story.play_last()
        assert story.kills == KILLS
        assert len(story.accepted) > len(rounds)
        story.check()
        assert story.server.stop() == 0
        assert story.venue.stop() == 0
    except BaseException as error:
        error.add_note(f"seed {seed}")
        raise
    finally:
        story.close()
