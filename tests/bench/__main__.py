"""`python -m tests.bench`: the bridge against a no-op route, in one run and side by side; ratios are what to trust."""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from tests.bench.replay import measure as measure_replay
from tests.bench.rounds import NORMAL, QUICK, Bench, Results, Size
from tests.bench.setting import Place, WrongError, make_place
from tests.bench.table import as_json, render
from tests.bench.terms import measure as measure_terms
from tests.bench.weight import weigh

HISTORY_WITHIN_S = 300.0


def read_arguments() -> argparse.Namespace:
    """What the caller wants."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one round and a short history, within a minute")
    parser.add_argument("--writer", choices=["auto", "thread", "inline"], default="auto", help="where commits run")
    parser.add_argument("--rounds", type=int, help="how often every row is measured")
    parser.add_argument("--history", metavar="FOLDER", type=Path, help="keep the long history there, and use it again")
    parser.add_argument("--no-history", action="store_true", help="leave out the rows with a long history")
    parser.add_argument("--out", type=Path, default=Path("bench.json"), help="where the numbers go as JSON")
    return parser.parse_args()


def make_history(folder: Path, count: int, writer: str) -> Place:
    """The database with a long past, built unless it is there."""
    made = folder / "history.json"
    if not made.exists():
        print(f"building a history of {count:,} alerts …", file=sys.stderr, flush=True)
        command = [sys.executable, "-m", "tests.bench.history", str(folder), str(count)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=HISTORY_WITHIN_S)
        made.write_text(done.stdout)
        print(f"  built: {done.stdout.strip()}", file=sys.stderr, flush=True)
    return make_place(folder, writer=writer)


def measure(root: Path, size: Size, named: argparse.Namespace) -> Results:
    """Everything, in folders under `root`."""
    history = None
    if not named.no_history:
        history = make_history(named.history or root / "history", size.history, named.writer)
    bench = Bench(root, size, named.writer, history)
    results = bench.run()
    results.facts |= weigh(make_place(root / "idle", writer=named.writer))
    results.facts |= measure_terms()
    if not named.quick:
        results.facts |= measure_replay()
    if history is not None:
        results.facts |= {f"history_{name}": value for name, value in weigh(history).items()}
    return results


def main() -> int:
    """Measure, print the table, write the JSON."""
    named = read_arguments()
    size = QUICK if named.quick else NORMAL
    if named.rounds:
        size = replace(size, rounds=named.rounds)
    began = time.monotonic()
    try:
        with tempfile.TemporaryDirectory(prefix="bridge-bench-") as root:
            results = measure(Path(root), size, named)
    except WrongError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    print(render(results, size, named.writer))
    named.out.write_text(json.dumps(as_json(results, size, named.writer), indent=1, ensure_ascii=False) + "\n")
    print(f"\n{time.monotonic() - began:.0f} s in all; written to {named.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
