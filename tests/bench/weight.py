"""How long the bridge takes to be ready, and how much memory it holds when it has nothing to do."""

import socket
import subprocess
import sys
import time
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from tests.bench.setting import Place, WrongError, make_place

READY_WITHIN_S = 30.0
IDLE_S = 3.0
_MIB_KIB = 1024


def weigh(place: Place) -> dict[str, float]:
    """Seconds from the start of a process to its first `/readyz` that says yes, and MB of memory a little later."""
    port = _free_port()
    make_place(place.folder, writer=place.settings().database.writer, port=port)
    began = time.monotonic()
    command = [sys.executable, "-m", "bridge", "serve"]
    said = place.folder / "serve.log"
    with said.open("w") as log, subprocess.Popen(command, env=place.environment(), stdout=log, stderr=log) as process:
        try:
            ready_s = _wait_until_ready(process, port, began, said)
            time.sleep(IDLE_S)
            return {"ready_s": round(ready_s, 3), "idle_mb": round(resident_mb(process.pid), 1)}
        finally:
            process.terminate()
            process.wait(READY_WITHIN_S)


def resident_mb(pid: int) -> float:
    """Resident memory of a process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / _MIB_KIB
    raise WrongError(f"process {pid} has no memory")


def _wait_until_ready(process: "subprocess.Popen[bytes]", port: int, began: float, said: Path) -> float:
    while time.monotonic() - began < READY_WITHIN_S:
        if process.poll() is not None:
            raise WrongError(f"`bridge serve` ended with {process.returncode}: {said.read_text()}")
        if _is_ready(port):
            return time.monotonic() - began
        time.sleep(0.005)
    raise WrongError(f"the bridge was not ready within {READY_WITHIN_S:.0f} s")


def _is_ready(port: int) -> bool:
    connection = HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
