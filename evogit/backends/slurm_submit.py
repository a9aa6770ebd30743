"""Jobs into Slurm's hands: all that are queued with the same limits become one array, by one sbatch of submitit.

    root-slurm/<name>/tasks.json       the folders of the array's jobs, in order
                      0.err, 0.out ... what the tasks themselves said, by their place in the array

It can be killed anywhere: each job's ticket is written before sbatch and again, with Slurm's id, after it; a job that is handed over
twice runs once, since its tasks claim it on their node.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shlex
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from evogit import removal
from evogit.backends import slurm_clients as clients
from evogit.backends import slurm_node
from evogit.backends.slurm_clients import Unanswered
from evogit.backends.slurm_folder import JobFolder, Ticket
from evogit.backends.slurm_options import Options
from evogit.errors import BackendDown, EvogitError
from evogit.failpoint import reach

TOP = Path(__file__).resolve().parents[2]
LAST_BYTES = 4096  # of a task's own stderr
TOLD = frozenset(
    {"PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "EVOGIT_SANDBOX", "SLURM_CONF", "SLURM_CLUSTERS"}
)  # of our environment, to sbatch and with that to the task on its node; a trial gets its job's own and nothing of it


class Arrays:
    """The folder of arrays beside the folder of jobs."""

    def __init__(self, root: Path, options: Options) -> None:
        self.root = root.with_name(f"{root.name}-slurm")
        self._options = options

    def submit(self, folders: Sequence[JobFolder], parameters: Mapping[str, object]) -> None:
        """Hand jobs over as one array, and write their ids. Raises BackendDown, UserError; then nothing is in Slurm's hands, but for
        Unanswered: nobody knows then, and the array's name in the tickets tells later."""
        clients.check_installed()
        name = f"evogit-{secrets.token_hex(6)}"
        tickets = [Ticket(name=name, index=n, size=len(folders)) for n in range(len(folders))]
        with disk_in_words():
            (self.root / name).mkdir(parents=True)
            (self.root / name / slurm_node.TASKS).write_text(json.dumps([str(folder.path) for folder in folders]))
            for folder, ticket in zip(folders, tickets):
                folder.write_ticket(ticket)
            ids = self._sbatch(name, len(folders), parameters)
            reach("slurm-submitted")
            for folder, ticket, slurm_id in zip(folders, tickets, ids):
                folder.write_ticket(msgspec.structs.replace(ticket, id=slurm_id))

    def _sbatch(self, name: str, count: int, parameters: Mapping[str, object]) -> list[str]:
        """One sbatch. Slurm's ids of the jobs, in their order."""
        from submitit.slurm.slurm import SlurmExecutor

        words = (self._options.interpreter, "-X", "utf8", "-c", slurm_node.LAUNCH, str(TOP), str(self.root / name))
        with tempfile.TemporaryDirectory(prefix="evogit-") as scratch:  # Slurm keeps a copy of the script
            executor = SlurmExecutor(folder=scratch)
            executor.update_parameters(job_name=name, array_parallelism=count, **self._with_logs(parameters, name, count))
            if count > 1:
                executor.parameters["map_count"] = count
            script = Path(scratch, "script.sh")
            script.write_text(executor._make_submission_file_text(f"exec {shlex.join(words)}", name))
            try:
                number = clients.submit(script, _told())
            except Unanswered:
                raise
            except EvogitError:
                removal.discard(self.root / name)
                raise
        return [f"{number}_{n}" for n in range(count)] if count > 1 else [number]

    def _with_logs(self, parameters: Mapping[str, object], name: str, count: int) -> dict[str, object]:
        """The parameters with the paths of the tasks' own output. Slurm reads % as the beginning of a pattern."""
        folder, place = str(self.root / name).replace("%", "%%"), "%a" if count > 1 else "0"
        logs = {"output": f"{folder}/{place}.out", "error": f"{folder}/{place}.err"}
        return {**parameters, "additional_parameters": {**parameters["additional_parameters"], **logs}}

    def last_words(self, ticket: Ticket) -> str | None:
        """The last line that a task said on its own behalf: why it could not begin. "" if it said nothing, None if it could not write here."""
        try:
            said = (self.root / ticket.name / f"{ticket.index}.err").read_bytes()[-LAST_BYTES:].decode("utf-8", "replace")
        except OSError:
            return None
        line = next((line.strip() for line in reversed(said.splitlines()) if line.strip()), "")
        return "".join(letter if letter.isprintable() else " " for letter in line[:500])

    def tidy(self, *names: str) -> None:
        """Remove the folders of those arrays of which no job is known any more; of all arrays where none is named."""
        with contextlib.suppress(FileNotFoundError):
            names = names or tuple(os.listdir(self.root))
        for name in names:
            with contextlib.suppress(OSError, ValueError):
                folders = json.loads((self.root / name / slurm_node.TASKS).read_bytes())
                if not any(JobFolder(folder).is_known for folder in folders):
                    removal.discard(self.root / name)


@contextlib.contextmanager
def disk_in_words() -> Iterator[None]:
    """BackendDown in the place of OSError: the folders that loop and nodes share cannot be used."""
    try:
        yield
    except OSError as error:
        raise BackendDown(f"cannot use {error.filename}: {error.strerror}", hint="see `df -h`, then resume the loop") from error


def _told() -> dict[str, str]:
    """What sbatch gets of our environment: keys are in it, and Slurm keeps what a job is given."""
    return {name: value for name, value in os.environ.items() if name in TOLD or name.startswith("SBATCH_")}
