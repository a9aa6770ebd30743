"""evogit on a bare worker: it is packed, unpacked and found, whoever comes first."""

from __future__ import annotations

import io
import os
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

from evogit.backends import ray_seed
from evogit.backends.ray_clerk import Clerk

# A worker that knows the module by its text alone, and could import no evogit from anywhere.
WORKER = """
import pickle, sys
def node(): return sys.argv[2]
exec(open(sys.argv[1]).read())
_session = node
plant(pickle.load(sys.stdin.buffer))
import os, evogit.errors
print(evogit.__file__, os.environ["MARK"])
"""


def test_the_same_source_is_the_same_archive_without_anything_compiled():
    digest, env, data = ray_seed.seed_of({"A": "1"})

    again, _, _ = ray_seed.seed_of({})
    names = zipfile.ZipFile(io.BytesIO(data)).namelist()
    assert (again, env) == (digest, {"A": "1"})
    assert {"evogit/__init__.py", "evogit/backends/outpost.py", "evogit/tui/evogit.tcss"} <= set(names)
    assert not [name for name in names if name.endswith(".pyc")]


def test_workers_of_a_node_that_come_at_once_share_one_copy(tmp_path):
    node = tmp_path / "session"
    node.mkdir()
    seed = ray_seed.seed_of({"MARK": "here"})
    command = [sys.executable, "-I", "-S", "-c", WORKER, ray_seed.__file__, str(node)]
    workers = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=False) for _ in range(4)]
    for worker in workers:
        worker.stdin.write(pickle.dumps(seed))
        worker.stdin.close()

    said = {worker.stdout.read().decode().strip() for worker in workers}
    assert [worker.wait() for worker in workers] == [0, 0, 0, 0]
    assert said == {f"{node / f'evogit-{seed[0]}' / 'evogit' / '__init__.py'} here"}
    assert os.listdir(node) == [f"evogit-{seed[0]}"]
    assert Path(node, f"evogit-{seed[0]}").stat().st_mode & 0o777 == 0o755


def test_an_actor_has_every_method_that_others_may_call():
    shell = ray_seed.seated(Clerk)

    public = {name for name in vars(Clerk) if not name.startswith("_")}
    assert shell.__name__ == "Clerk"
    assert {name for name in vars(shell) if not name.startswith("_")} == public
