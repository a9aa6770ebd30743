"""A Slurm cluster on 127.0.0.1: real munged, slurmctld and slurmd, started by hand and ended by their process ids.

    with SlurmCluster(folder) as cluster:
        os.environ.update(cluster.env)        # sbatch, squeue, scancel now speak to it

Everything lies in one folder: key, sockets, spools, logs. The ports are free ones. It has no accounting, as most small clusters have
none: states come from squeue and scontrol. It starts in some three seconds.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "sinfo", "scontrol", "srun")
PATH = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"))
READY_S = 60.0
CONFIG = """\
ClusterName=loopback
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ctld}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge/socket
StateSaveLocation={folder}/state
SlurmctldPidFile={folder}/slurmctld.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmctldParameters=enable_configless
SlurmdSpoolDir={folder}/spool-%n
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmdLogFile={folder}/slurmd-%n.log
SlurmdParameters=config_overrides
ProctrackType=proctrack/{tracking}
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=1,sched_min_interval=0,bf_interval=1,bf_window=60
GresTypes=gpu
MpiDefault=none
ReturnToService=2
KillWait=5
MinJobAge=300
MaxArraySize=1001
PreemptType=preempt/partition_prio
PreemptMode=CANCEL
MessageTimeout=10
SlurmctldTimeout=30
SlurmdTimeout=300
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={n1} CPUs=4 RealMemory=16000 Gres=gpu:h100:2
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={n2} CPUs=4 RealMemory=16000
NodeName=n3 NodeHostname={host} NodeAddr=127.0.0.1 Port={n3} CPUs=4 RealMemory=16000
PartitionName=main Nodes=n1,n2 Default=YES MaxTime=UNLIMITED State=UP
PartitionName=brief Nodes=n2 MaxTime=1 State=UP
PartitionName=blind Nodes=n3 State=UP
PartitionName=urgent Nodes=n1,n2 PriorityTier=10 State=UP
"""


def missing() -> list[str]:
    """Programs of Slurm and munge that are not installed here."""
    return [name for name in PROGRAMS if shutil.which(name, path=PATH) is None]


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now."""
    with contextlib.ExitStack() as stack:
        found = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in found:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in found]


class SlurmCluster:
    """munged, slurmctld and the slurmd of two nodes, `n1` and `n2` (four CPUs each, two pretended GPUs on n1).

    A third one, `n3` in partition `blind`, is started by tests that need it: nothing of the folder `hidden` is visible there.
    """

    def __init__(self, folder: Path, tracking: str = "linuxproc") -> None:
        self.folder = folder
        self.config = folder / "slurm.conf"
        self.hidden = folder / "hidden"
        self.env = {"SLURM_CONF": str(self.config), "PATH": PATH}
        self._tracking = tracking
        self._servers: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> SlurmCluster:  # noqa: PYI034 - Self is not in Python 3.10
        try:
            self._configure()
            for name in ("munged", "slurmctld", "n1", "n2"):
                self.start(name)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._servers.get("slurmctld"):
            self.run("scancel", "--user", getpass.getuser())
            self._wait(lambda: not self.run("squeue", "--noheader").strip(), 15)
        for name in reversed(list(self._servers)):
            self.stop(name, signal.SIGKILL if name == "slurmctld" else signal.SIGTERM)  # nobody needs the state that it saves for seconds

    def run(self, *command: str) -> str:
        """What a client of Slurm prints, its complaints included."""
        done = subprocess.run(
            command, env={**os.environ, **self.env}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60, check=False
        )
        return done.stdout

    def start(self, name: str) -> None:
        """Start one of munged, slurmctld, n1, n2, n3; it ends with this process."""
        command = {
            "munged": [
                "munged", "--foreground", "--force", f"--socket={self.folder}/munge/socket", f"--key-file={self.folder}/munge/key",
                f"--pid-file={self.folder}/munge/pid", f"--log-file={self.folder}/munge/log", f"--seed-file={self.folder}/munge/seed",
                "--num-threads=1",
            ],
            "slurmctld": ["slurmctld", "-D", "-f", str(self.config)],
        }.get(name, ["slurmd", "-D", "-N", name, "-f", str(self.config)])  # fmt: skip
        if name == "n3":
            command = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs none "$1" && shift && exec "$@"', "sh", str(self.hidden), *command]
        if shutil.which("setpriv"):
            command = ["setpriv", "--pdeathsig", "TERM", *command]
        with open(self.folder / f"{name}.out", "ab") as log:
            self._servers[name] = subprocess.Popen(
                command, env={**os.environ, **self.env}, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        if name == "munged":
            self._wait(lambda: (self.folder / "munge/socket").exists(), READY_S)
        elif name == "slurmctld":
            self._wait(lambda: "UP" in self.run("scontrol", "ping"), READY_S)
        for node in [server for server in self._servers if server.startswith("n")]:
            self._wait(lambda node=node: self.run("sinfo", "-h", "-n", node, "-o", "%T").split()[:1] in (["idle"], ["mixed"]), READY_S)

    def stop(self, name: str, number: int = signal.SIGTERM) -> None:
        """End one of them by its process id, and wait until it is gone."""
        server = self._servers.pop(name)
        server.send_signal(number)
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait(20)

    def _configure(self) -> None:
        (self.folder / "state").mkdir(parents=True)
        (self.folder / "munge").mkdir(mode=0o755)
        self.hidden.mkdir()
        key = self.folder / "munge/key"
        key.touch(mode=0o600)
        key.write_bytes(secrets.token_bytes(128))
        ctld, n1, n2, n3 = free_ports(4)
        told = {"host": socket.gethostname(), "user": getpass.getuser(), "folder": self.folder, "tracking": self._tracking}
        self.config.write_text(CONFIG.format(ctld=ctld, n1=n1, n2=n2, n3=n3, **told))
        if self._tracking == "cgroup":
            (self.folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\nCgroupMountpoint=/sys/fs/cgroup\nCgroupAutomount=no\n")
        (self.folder / "gres.conf").write_text("NodeName=n1 Name=gpu Type=h100 File=/dev/null,/dev/zero\n")

    def _wait(self, claim: Callable[[], bool], seconds: float) -> None:
        give_up_at = time.monotonic() + seconds
        while not claim():
            if time.monotonic() > give_up_at:
                raise TimeoutError(f"the cluster in {self.folder} does not come up: see its logs")
            time.sleep(0.05)
