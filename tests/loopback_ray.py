"""A real Ray cluster on loopback: each node in a session of its own, ended by process ids, never with `ray stop`.

A head on 127.0.0.1 advertises another address, so the head is 127.0.0.2 and further nodes count up from there.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

START_S = 120.0  # on a machine that is busy with other tests
STORE = 80 << 20  # bytes: Ray takes no less than 75 MiB

MISSING = "" if importlib.util.find_spec("ray") else "the package ray is not installed"


def free_port(host: str) -> int:
    """A port that nobody listens at now."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        return probe.getsockname()[1]


def in_session(leader: int) -> list[int]:
    """Processes of a session, zombies left out."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            fields = Path("/proc", name, "stat").read_text().rpartition(")")[2].split()
            if int(fields[3]) == leader and fields[0] not in "ZX":
                found.append(int(name))
    return found


class Node:
    """One node: `ray start --block` in a session of its own."""

    def __init__(self, cluster: RayCluster, number: int, *options: str, cpus: int = 2) -> None:
        self.host = f"127.0.0.{number}"
        self.folder = cluster.folder / str(number)  # of its own: nodes that start at once give their sockets the same names
        self.folder.mkdir(exist_ok=True)
        place = [
            "--head",
            f"--port={cluster.port}",
            "--include-dashboard=false",
            "--no-monitor",
            f"--ray-client-server-port={cluster.client_port}",
        ]
        command = [
            sys.executable, "-c", "from ray.scripts.scripts import main; main()", "start", "--block", "--disable-usage-stats",
            f"--node-ip-address={self.host}", f"--num-cpus={cpus}", f"--object-store-memory={STORE}", f"--temp-dir={self.folder}",
            "--min-worker-port=0", "--max-worker-port=0", "--include-log-monitor=false",
            *(place if number == 2 else [f"--address={cluster.address}"]), *([] if any("--num-gpus" in o for o in options) else ["--num-gpus=0"]),
            *options,
        ]  # fmt: skip
        env = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "EVOGIT_", "PYTHON"))}
        self.log = cluster.folder / f"{self.host}-{time.monotonic_ns()}.log"
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                command, env={**env, **cluster.env}, cwd="/", stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )  # fmt: skip

    def kill(self) -> None:
        """SIGKILL to the whole session, workers included, until nobody of it is left."""
        pause = threading.Event()
        while left := in_session(self.process.pid):
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self.process.poll()
            pause.wait(0.02)
        self.process.wait()


class RayCluster:
    """A head and as many nodes as are added. Must be closed."""

    def __init__(self, *options: str, cpus: int = 2, env: dict[str, str] | None = None) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="er"))  # short: sockets lie in it
        self.folder.chmod(0o755)
        self.port = free_port("127.0.0.2")
        self.client_port = free_port("127.0.0.2")  # of ray:// addresses; without one Ray takes a port of its own choice, always the same
        self.address = f"127.0.0.2:{self.port}"
        # Where Ray writes down which cluster "auto" is; patience with a busy machine; a lost node is missed after five seconds, not fifteen.
        self.env = {
            "RAY_TMPDIR": str(self.folder),
            "TMPDIR": str(self.folder),
            "RAY_raylet_start_wait_time_s": str(int(START_S)),
            "RAY_agent_register_timeout_ms": str(int(1000 * START_S)),
            "RAY_health_check_period_ms": "1000",
            "RAY_health_check_failure_threshold": "5",
            **(env or {}),
        }
        self.nodes: list[Node] = []
        self._start(2, *options, cpus=cpus)

    def add(self, *options: str, cpus: int = 2) -> Node:
        """One more node; it may still be starting, see `wait`."""
        return self._start(2 + len(self.nodes), *options, cpus=cpus)

    def _start(self, number: int, *options: str, cpus: int) -> Node:
        if number > 2:
            self._until(self._answers, self.nodes[0])
        node = Node(self, number, *options, cpus=cpus)
        self.nodes.append(node)
        return node

    def wait(self) -> RayCluster:
        """Until every node has started."""
        for node in list(self.nodes):
            self._until(lambda node=node: "Ray runtime started" in node.log.read_text(errors="replace"), node)
        return self

    def _answers(self) -> bool:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.2", self.port), 1).close()
            return True
        return False

    def _until(self, claim, node: Node) -> None:
        pause, give_up_at = threading.Event(), time.monotonic() + START_S
        while not claim():
            if node.process.poll() is not None or time.monotonic() > give_up_at:
                logs = sorted(self.folder.glob("*/session_latest/logs/*.out"))
                said = "\n".join(f"{log.name}:\n{log.read_text(errors='replace')[-2000:]}" for log in [*logs, node.log])
                self.close()
                raise AssertionError(f"a Ray node did not start:\n{said}")
            pause.wait(0.05)

    def restart(self) -> None:
        """The same address, with nothing of what was."""
        self.end()
        self._start(2, cpus=2)
        self.wait()

    def end(self) -> None:
        """SIGKILL to all of it."""
        for node in reversed(self.nodes):
            node.kill()
        self.nodes = []

    def close(self) -> None:
        """End every node and remove what they wrote."""
        self.end()
        shutil.rmtree(self.folder, ignore_errors=True)

    def processes(self, title: str) -> list[int]:
        """Processes of the cluster whose command line begins with `title`, as Ray's actors' do: `ray::Clerk`."""
        found = []
        for pid in (pid for node in self.nodes for pid in in_session(node.process.pid)):
            with contextlib.suppress(OSError):
                if Path(f"/proc/{pid}/cmdline").read_bytes().startswith(title.encode()):
                    found.append(pid)
        return found
