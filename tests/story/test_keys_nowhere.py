"""A key is planted, an agent prints it and puts it wherever it can: it is in no git object, no file of the git directory, no trial."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

import paying_hands
from evogit import keys
from evogit.lab import Lab
from toys import evogit, git

KEY = "sk-ant-planted-0123456789abcdef"
TAIL = "0123456789abcdefABCDEF0123456789abcd"


@pytest.fixture
def planted(repo, tmp_path, monkeypatch) -> Path:
    """A campaign whose problem has a key in an untracked `.env` beside it."""
    paying_hands.install(tmp_path / "plugins", monkeypatch)
    for name in keys.NAMES:
        monkeypatch.delenv(name, raising=False)
    (repo / ".env").write_text(f"ANTHROPIC_API_KEY={KEY}\nnot a pair\n")
    return repo


def objects(repo: Path) -> bytes:
    """Every object that the repository holds, reachable or not, unpacked."""
    listed = subprocess.run(["git", "cat-file", "--batch-all-objects", "--batch", "--buffer"], cwd=repo, capture_output=True, check=True)
    return listed.stdout


def files_with(folder: Path, text: str) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and text.encode() in path.read_bytes()]


def loop(repo: Path, what: str, *more: str) -> subprocess.CompletedProcess[str]:
    asked = ("--agent", "paid", "--agent-option", f"what={what}", "--emitter", "local_tuner", "--max-runs", "2")
    return evogit(repo, "loop", "--tag", "t1", *asked, *more)


def test_a_key_that_an_agent_prints_and_returns_is_nowhere_in_git_or_beside_it(planted, private_home):
    done = loop(planted, "leak")

    assert KEY in done.stdout  # what the agent itself printed on the terminal
    assert KEY.encode() not in objects(planted)
    assert files_with(planted / ".git", KEY) == []
    assert files_with(private_home / "cache", KEY) == []
    assert files_with(planted, KEY) == [planted / ".env"]


def test_what_was_taken_out_is_marked_by_its_name(planted):
    loop(planted, "leak")

    book = Lab.open(planted, tag="t1")
    run = book.runs()[-1]
    assert run.summary == "use <ANTHROPIC_API_KEY>"
    assert run.hypothesis == "<ANTHROPIC_API_KEY>"
    assert book.artifact(run.label, "transcript.txt") == b"<ANTHROPIC_API_KEY>"
    assert book.artifact(run.label, "answers/1.json") == b"<ANTHROPIC_API_KEY>"
    assert b"+<ANTHROPIC_API_KEY>" in book.artifact(run.label, "stripped.patch")
    assert b'+print("<ANTHROPIC_API_KEY>")' in book.artifact(run.label, "stripped.patch")


def test_code_that_holds_a_secret_is_refused_and_not_altered(planted):
    loop(planted, "leak")

    run = Lab.open(planted, tag="t1").runs()[-1]
    assert run.verdict.value == "reject"
    assert re.search(r"train.py: line \d+ holds <ANTHROPIC_API_KEY>, and history is for ever", run.reason)
    assert git(planted, "show", f"{run.commit}:train.py") == git(planted, "show", f"{run.commit}^:train.py")


def test_what_is_only_shaped_like_a_secret_is_nowhere_either(planted, private_home):
    git(planted, "switch", "-q", "autoresearch/t1")
    with (planted / "train.py").open("a") as file:
        file.write(f'\nprint("ghp" + "_" + {TAIL!r}); print("hf" + "_" + "Ab" * 17)\n')
    git(planted, "commit", "-q", "-am", "it prints tokens")
    git(planted, "switch", "-q", "main")

    loop(planted, "edit")

    book = Lab.open(planted, tag="t1")
    [mine] = [run.label for run in book.runs() if run.emitter == "person"]
    assert book.artifact(mine, "trials/s0/stdout").splitlines()[-2:] == [b"<github-token>", b"<hf-token>"]
    assert f"ghp_{TAIL}".encode() not in objects(planted)
    assert files_with(private_home / "cache", f"ghp_{TAIL}") == []


def test_a_person_is_told_before_a_secret_is_committed_for_them(planted):
    git(planted, "switch", "-q", "autoresearch/t1")
    with (planted / "train.py").open("a") as file:
        file.write(f'\nTOKEN = "ghp_{TAIL}"\n')

    done = evogit(planted, "run", "--tag", "t1", "-m", "mine", check=False)

    assert done.returncode == 2
    assert re.match(r"error: train.py: line \d+ holds <github-token>\n", done.stderr)
    assert f"ghp_{TAIL}".encode() not in objects(planted)


def test_an_idea_loses_its_secret(planted):
    evogit(planted, "ideas", "add", f"load the data with ghp_{TAIL}", "--tag", "t1")

    assert "load the data with <github-token>" in evogit(planted, "ideas", "--tag", "t1", "--json").stdout
    assert f"ghp_{TAIL}".encode() not in objects(planted)


def test_a_trial_sees_no_key_that_the_loop_has(planted, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-from-the-shell-0123456789")
    git(planted, "switch", "-q", "autoresearch/t1")
    with (planted / "train.py").open("a") as file:
        file.write('\nprint("env:", sorted(os.environ), KEY in repr(dict(os.environ)))\n'.replace("KEY", '"sk-"'))
    git(planted, "commit", "-q", "-am", "look around")
    git(planted, "switch", "-q", "main")

    loop(planted, "edit")

    book = Lab.open(planted, tag="t1")
    [mine] = [run.label for run in book.runs() if run.emitter == "person"]
    [said] = [line for line in book.artifact(mine, "trials/s0/stdout").decode().splitlines() if line.startswith("env:")]
    assert said.endswith("False")
    assert "API_KEY" not in said


def test_a_bad_line_of_a_dotenv_is_one_warning_without_its_text(planted):
    done = loop(planted, "edit")

    assert f"warning: {planted}/.env: line 2 is not KEY=VALUE, and left out" in done.stdout
    assert "not a pair" not in done.stdout + done.stderr


def test_an_error_on_the_terminal_names_no_key(planted, monkeypatch):
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)

    done = evogit(planted, "show", f"no-{KEY}", "--tag", "t1", check=False)

    assert KEY not in done.stderr
    assert "no-<ANTHROPIC_API_KEY>" in done.stderr
