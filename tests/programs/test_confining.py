"""A coding program in its room: what it sees, what it may write, as whom it runs."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from evogit.backends.local import LocalBackend
from evogit.errors import UserError
from evogit.programs import confining, process

LOOK = f"""#!{sys.executable}
import json, os
def can_write(path):
    try:
        open(os.path.join(path, "x"), "w").close()
    except OSError:
        return False
    return True
def can_read(path):
    try:
        return bool(open(path).read())
    except OSError:
        return False
told = {{"uid": os.getuid(), "writes": [p for p in asked["write"] if can_write(p)], "reads": [p for p in asked["read"] if can_read(p)],
        "home": can_write(os.environ["HOME"]), "pids": sum(name.isdigit() for name in os.listdir("/proc"))}}
print(json.dumps(told))
"""


@pytest.fixture
def room(monkeypatch):
    monkeypatch.setenv("EVOGIT_SANDBOX", "bubblewrap")
    if not confining.works():
        pytest.skip("bubblewrap does not work here")


def look(tmp_path: Path, read: list[str], write: list[str]) -> dict:
    """What a program reports that is confined to tmp_path/work."""
    work, program = tmp_path / "work", tmp_path / "bin" / "look"
    program.parent.mkdir()
    work.mkdir()
    work.chmod(0o777)
    asked = {"read": read, "write": write}
    program.write_text(LOOK.replace("import json, os\n", f"import json, os\nasked = {asked!r}\n"))
    program.chmod(0o755)
    with process.private_home() as home:
        ended = process.run([str(program)], stdin="", cwd=work, env=process.clean_env(home), timeout_s=30, room=home)
    assert ended.code == 0, ended.stderr
    return json.loads(ended.stdout)


def test_programs_have_a_room_wherever_trials_have_one(monkeypatch, tmp_path):
    monkeypatch.setenv("EVOGIT_SANDBOX", "bubblewrap")
    backend = LocalBackend(tmp_path / "jobs")
    level = backend.level
    backend.close()

    assert confining.works() == (level == "bubblewrap")


def test_it_writes_in_the_workspace_and_its_home_and_reads_nothing_else(room, tmp_path):
    (tmp_path / "secret.txt").write_text("labels")
    (tmp_path / "repo").mkdir()
    home = Path(os.environ["HOME"])

    told = look(
        tmp_path,
        read=[str(tmp_path / "secret.txt"), str(home / ".gitconfig"), "/etc/shadow"],
        write=[str(tmp_path / "work"), str(tmp_path), str(tmp_path / "bin"), str(home), "/usr", "/etc"],
    )

    assert told["writes"] == [str(tmp_path / "work")]
    assert (told["reads"], told["home"]) == ([], True)
    assert told["uid"] != 0 and told["pids"] < 10


def test_a_program_that_root_alone_may_start_is_said_with_what_to_do(room, tmp_path):
    program = tmp_path / "claude"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o700)
    if os.geteuid() != 0:
        pytest.skip("only root runs it as somebody else")

    with process.private_home() as home, pytest.raises(UserError, match="by its owner alone") as caught:
        process.run([str(program)], stdin="", cwd=tmp_path, env=process.clean_env(home), timeout_s=30, room=home)

    assert "chmod o+rx" in caught.value.hint


def test_where_a_weaker_level_is_asked_for_it_runs_as_it_is(monkeypatch, tmp_path):
    monkeypatch.setenv("EVOGIT_SANDBOX", "landlock")

    assert confining.confined(["claude", "-p"], tmp_path, tmp_path) == ["claude", "-p"]
