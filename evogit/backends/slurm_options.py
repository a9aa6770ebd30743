"""`[backend.slurm]` of evogit.toml, and what becomes of it and of a job's limits on the command line of sbatch.

It knows names and values; what a cluster has is for Slurm to say.
"""

from __future__ import annotations

import math
import shlex
import sys
from collections.abc import Mapping
from typing import Annotated

import msgspec

from evogit.backends import options as reading
from evogit.domain.trial import Job
from evogit.errors import UserError

MARGIN_MIN = 5  # beside the job's own limit, which its supervisor keeps: for starting, and for ending a stubborn tree
PROGRAM_MIB = 256  # for our program on the node, beside the job's own memory
OURS = frozenset({"array", "output", "error", "open-mode", "job-name", "requeue", "wrap", "parsable", "wait", "test-only"})
HINT = "see [backend.slurm] in evogit.toml"


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What a person may say of their cluster."""

    partition: str = ""
    account: str = ""
    qos: str = ""
    constraint: str = ""
    gpu: str = ""  # kind of GPU for jobs that name none: part of a type in Slurm's gres, "h100"
    sbatch: dict[str, str | int | bool] | list[str] | str = {}  # more options, as a table or as on a command line
    setup: list[str] = []  # lines of shell that run on the node first: "module load python"
    python: str = ""  # the interpreter on the nodes, with evogit's packages; ours by default
    array_max: Annotated[int, msgspec.Meta(ge=1)] = 1000  # jobs of one array; clusters refuse more than their MaxArraySize
    slots: reading.Slots | None = None  # jobs at once; None for what the partition has

    @property
    def interpreter(self) -> str:
        """The interpreter on the nodes."""
        return self.python or sys.executable


def read(told: Mapping[str, object]) -> Options:
    """The options. Raises UserError that names the one that is wrong."""
    options = reading.read("slurm", told, Options)
    _passed_on(options)
    return options


def parameters(job: Job, options: Options, gpu_type: str) -> dict[str, object]:
    """What submitit is told of a job beside its name: jobs with the same parameters go into one array.

    gpu_type: the type in Slurm's gres, "" for any. Times are whole minutes, memory is MiB.
    """
    memory = job.memory_mib + job.memory_mib // 16 + 32 + PROGRAM_MIB  # the local backend's own limit, and ours
    named = {name: getattr(options, name) or None for name in ("partition", "account", "qos", "constraint")}
    kind = f":{gpu_type}" if gpu_type else ""
    return named | {
        "time": math.ceil(job.timeout_s / 60) + MARGIN_MIN if job.timeout_s > 0 else None,
        "cpus_per_task": max(1, job.cpus),
        "mem": f"{memory}M" if job.memory_mib else None,
        "gres": f"gpu{kind}:{job.gpus}" if job.gpus else None,
        "setup": options.setup or None,
        "use_srun": False,
        "wckey": None,
        "additional_parameters": {"chdir": "/", "no-requeue": True} | _passed_on(options),
    }


def _passed_on(options: Options) -> dict[str, str | int | bool]:
    """The further options of sbatch. Raises UserError for those that are not a person's to set."""
    told = options.sbatch
    if isinstance(told, str):
        try:
            told = shlex.split(told)
        except ValueError as error:
            raise UserError(f"[backend.slurm] sbatch: {error}", hint='write a list, ["--name=value", ...]') from error
    if isinstance(told, list):
        pairs = [word.removeprefix("--").partition("=") for word in told]
        if short := [word for word in told if not word.startswith("--") or " " in word.partition("=")[0]]:
            raise UserError(f"[backend.slurm] sbatch: {short[0]!r} is no option", hint='write each as "--name=value" or "--name"')
        told = {name: value if equals else True for name, equals, value in pairs}
    clean = {name.replace("_", "-"): value for name, value in told.items() if value is not False}
    if ours := sorted(OURS.intersection(clean)):
        raise UserError(f"[backend.slurm] sbatch: evogit sets --{ours[0]} itself", hint="leave it out")
    if odd := [name for name, value in clean.items() if not f"{name}{value}".isprintable() or " " in name or not name]:
        raise UserError(f"[backend.slurm] sbatch: {odd[0]!r} holds characters that no option has", hint="one line of plain text each")
    return clean
