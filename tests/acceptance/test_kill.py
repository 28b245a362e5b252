"""kill -9 at any moment: what was acknowledged is there and ends, nothing is placed twice, the books agree."""

import random
from pathlib import Path

import pytest

from tests.support.load import Load, settle
from tests.support.server import Served

ROUNDS = 8


@pytest.mark.slow
def test_killed_under_load_again_and_again_nothing_acknowledged_is_lost_or_done_twice(tmp_path: Path) -> None:
    """Eight rounds at random moments, some right after the start, on one data folder."""
    seed = random.randrange(1_000_000)  # shown by pytest when the test fails
    chance = random.Random(seed)
    server = Served(tmp_path)
    accepted: dict[str, str] = {}
    try:
        token = ""
        for number in range(ROUNDS):
            server.start()
            token = token or server.mint()["token"]
            goal = chance.choice((1, 5, 30, 100, 200))
            with Load(server, token, seed + number) as load:
                load.reach(goal)
                server.kill()
            assert load.wrong == []
            accepted |= load.accepted
        server.start()
        assert len(accepted) > ROUNDS
        for content in list(accepted.values())[-5:]:  # also after all that, a re-send is a duplicate
            answer = server.post(content).json()
            assert answer["status"] == "duplicate"
            assert accepted[answer["alert_id"]] == content
        settle(server, accepted)
        assert server.stop() == 0
    finally:
        server.kill()
        server.http.close()


def test_killed_while_it_starts_it_starts_again(tmp_path: Path) -> None:
    """The first start (keys, migrations) and every other one may be cut off anywhere."""
    import subprocess
    import sys

    server = Served(tmp_path)
    server._write_config()
    chance = random.Random()
    env = {"PYTHONPATH": str(Path(__file__).parents[2]), "PATH": "/usr/bin:/bin"}
    for _ in range(3):
        process = subprocess.Popen(
            [sys.executable, "-m", "bridge", "serve", "--port", "0"],
            cwd=tmp_path, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        # A random moment between the first file and the first answer: that is what is tried here, not a wait for something.
        try:
            process.wait(chance.uniform(0.2, 1.5))
        except subprocess.TimeoutExpired:
            process.kill()
        process.wait(10)
    with server:
        way = server.done(server.mint()["token"], action="buy", quantity="1")
        assert way["disposition"] == "done"
        server.check_books()
        assert server.stop() == 0
