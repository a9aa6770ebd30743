"""Whole campaigns whose agent and reviewer are programs: everything is recorded, nothing is lost, no key is left anywhere."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from evogit.backends.processes import birth
from loopback_programs.policies import claude_edits, codex_edits
from loopback_programs.server import USAGE, Loopback
from toys import TOML, TRAIN, evogit, git, make_toy, unlike_their_record
from workers import REVIEW, worker

ONE_SEED = TOML.replace("[0, 1]", "[0]")
KEY = "planted-key-0123456789"
GUIDE = Path(__file__).resolve().parents[2] / "docs/guide.md"

# Another LR at every call; what it costs is counted in a file beside it.
WANDER = """
import random
count = int(open(here + "/calls").read() or 0) + 1 if os.path.exists(here + "/calls") else 1
open(here + "/calls", "w").write(str(count))
def answer(**more):
    text = asked["current_model"]
    new = re.sub(r"^LR = .*$", "LR = %r" % random.Random(count).uniform(0.001, 0.5), text, flags=re.M)
    return {"mutation_type": "hyperparameter", "mutation_summary": "move LR, try %d" % count, "hypothesis": "it is off",
            "changed_files": ["train.py"], "model_py": new, "cost_usd": 0.01, "model": "worker-1", **more}
"""
GOOD = "print(json.dumps(answer()))\n"
THIRD_FAILS = """
kind = count % 12
if kind == 0: sys.exit(3)
if kind == 3: print("Sorry"); sys.exit(0)
if kind == 6: time.sleep(600)
if kind == 9: open("evaluate.py", "w").write("cheat")
print(json.dumps(answer()))
"""


def wanderer(folder: Path, rest: str = GOOD) -> str:
    return worker(folder, f"here = {str(folder)!r}\n" + WANDER + rest)


def book(repo: Path) -> list[dict]:
    return [json.loads(line) for line in evogit(repo, "log", "--tag", "t1", "--json").stdout.splitlines()]


def campaign(where: Path, **problem) -> Path:
    """A problem with one seed, and a campaign of it that has not begun."""
    repo = make_toy(where / "toy", **{"toml": ONE_SEED, **problem})
    evogit(repo, "start", "t1")
    return repo


def loop(repo: Path, *options: str, runs: int = 20, check: bool = True, **more) -> subprocess.CompletedProcess[str]:
    return evogit(repo, "loop", "--tag", "t1", "--max-runs", str(runs), *options, check=check, **more)


def everything_kept(*places: Path) -> bytes:
    """All bytes below some folders, git's objects unpacked."""
    found = []
    for place in places:
        for path in place.rglob("*"):
            if path.is_file() and not path.is_symlink():
                found.append(path.read_bytes())
        if (place / ".git").is_dir():
            batch = ["git", "cat-file", "--batch-all-objects", "--batch", "--unordered"]
            found.append(subprocess.run(batch, cwd=place, capture_output=True, check=True).stdout)
    return b"\n".join(found)


def test_a_campaign_of_twenty_runs_by_a_worker_records_every_run_and_its_cost(tmp_path):
    repo = campaign(tmp_path)
    reviewer = worker(tmp_path, REVIEW, name="reviewer.py")

    loop(repo, "--agent", "command", "--agent-command", wanderer(tmp_path), "--reviewer", "command", "--reviewer-command", reviewer)

    runs = book(repo)[1:]
    asked = [run for run in runs if run["agent"] == "command" and run["change"] != "recombination"]
    assert len({run["run"] for run in runs}) == len(runs) <= 20
    assert len(asked) == int((tmp_path / "calls").read_text())
    assert all(run["cost_usd"] == pytest.approx(0.01) for run in asked)
    assert {run["verdict"] for run in runs} <= {"keep", "discard", "crash", "reject"}
    shown = json.loads(evogit(repo, "show", asked[0]["run"], "--tag", "t1", "--json").stdout)
    assert {"calls.jsonl", "answers/stdout.txt", "answers/edits.json", "transcript.txt"} <= set(shown["files"])
    assert shown["review"]["reviewer"] == "command" and not shown["review"]["fallback"]
    assert unlike_their_record(repo, runs, "--tag", "t1") == []
    assert git(repo, "fsck", "--strict", "--no-dangling") == ""


def test_with_a_third_of_the_calls_failing_no_run_is_lost_or_doubled(tmp_path):
    repo = campaign(tmp_path, extra={"evaluate.py": "frozen\n"})
    command = wanderer(tmp_path, THIRD_FAILS)

    loop(repo, "--agent", "command", "--agent-command", command, "--agent-option", "timeout_s=2", runs=13)

    runs = book(repo)[1:]
    asked = [run for run in runs if run["agent"] == "command" and run["change"] != "recombination"]
    assert len(asked) == int((tmp_path / "calls").read_text())
    assert len({run["run"] for run in runs}) == len(runs)
    reasons = " ".join(git(repo, "log", "--first-parent", "--format=%B", "autoresearch/t1").split())
    for words in ("exit code 3", "no JSON object", "ended after 2 s", "edited evaluate.py"):
        assert words in reasons, words
    assert git(repo, "for-each-ref", "refs/evogit/t1/inflight") == ""


def test_a_planted_key_is_nowhere_once_the_campaign_is_over(tmp_path, private_home):
    train = TRAIN.replace('if __name__ == "__main__":\n', 'if __name__ == "__main__":\n    print(sorted(os.environ.items()))\n')
    repo = campaign(tmp_path, train=train)
    leak = """
key = os.environ["WORKER_API_KEY"]
sys.stderr.write("using " + key)
print("log: " + key)
if count == 2: sys.exit("refused: " + key)
if count == 3: open("train.py", "a").write("# " + key); sys.exit(0)
if count == 4: open("notes.txt", "w").write(key)
print(json.dumps(answer(mutation_summary="with " + key, hypothesis=key, model=key)))
"""
    reviewer = worker(
        tmp_path, 'key = os.environ["WORKER_API_KEY"]; print(json.dumps({"observation": key})); sys.exit(key)', name="reviewer.py"
    )
    options = ["--agent", "command", "--agent-command", wanderer(tmp_path, leak), "--agent-option", "env=WORKER_API_KEY"]
    options += ["--reviewer", "command", "--reviewer-command", reviewer, "--reviewer-option", "env=WORKER_API_KEY"]

    done = loop(repo, *options, runs=6, env={"WORKER_API_KEY": KEY})

    kept = everything_kept(repo, private_home)
    assert [p for p in (*repo.rglob("*"), *private_home.rglob("*")) if p.is_file() and KEY.encode() in p.read_bytes()] == []
    assert int((tmp_path / "calls").read_text()) >= 4
    assert b"[WORKER_API_KEY]" in kept and b"EVOGIT_SEED" in kept
    assert KEY.encode() not in kept
    assert KEY not in done.stdout + done.stderr


def test_the_worker_of_the_guide_works(tmp_path):
    repo = campaign(tmp_path)
    text = GUIDE.read_text()
    (repo / "worker.py").write_text(re.search(r"```python\n(# worker\.py\n.*?)```", text, re.DOTALL)[1])

    loop(repo, "--agent", "command", "--agent-command", f"{sys.executable} worker.py", "--emitter", "local_tuner", runs=2)

    assert any("becomes LR = " in run["summary"] for run in book(repo))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--agent", "command"], "has no program to run"),
        (["--agent", "command", "--agent-command", "no-such-worker"], "no-such-worker"),
        (["--reviewer", "command", "--reviewer-command", "no-such-reviewer"], "no-such-reviewer"),
        (["--agent-command", "cat"], "--agent-command goes with --agent command"),
        (["--reviewer-command", "cat"], "--reviewer-command goes with --reviewer command"),
        (["--model", "m"], "neither agent offline nor reviewer heuristic takes it"),
        (["--agent", "command", "--agent-command", "cat", "--base-url", "http://127.0.0.1:9"], "--base-url"),
        (["--agent", "claude-code", "--agent-option", "program=/nowhere/claude"], "/nowhere/claude"),
        (["--agent", "claude-code", "--agent-option", "program=/bin/cat"], "ANTHROPIC_API_KEY"),
        (["--reviewer", "claude-code", "--reviewer-option", "program=/bin/cat"], "ANTHROPIC_API_KEY"),
        (["--agent", "codex", "--agent-option", "program=/bin/cat"], "OPENAI_API_KEY"),
    ],
)
def test_what_is_missing_is_said_before_anything_is_begun(tmp_path, options, words, monkeypatch):
    for name in (
        "ANTHROPIC_API_KEY",
        "ANTHROPIC_AUTH_TOKEN",
        "CLAUDE_CODE_OAUTH_TOKEN",
        "OPENAI_API_KEY",
        "CODEX_API_KEY",
        "OPENAI_BASE_URL",
    ):
        monkeypatch.delenv(name, raising=False)
    repo = make_toy(tmp_path / "toy")

    done = evogit(repo, "loop", "--max-runs", "1", *options, check=False)

    assert done.returncode == 2
    assert words in done.stderr
    assert git(repo, "for-each-ref", "refs/heads/autoresearch", "refs/evogit") == ""


def test_a_refused_key_ends_the_loop_at_once_and_a_valid_one_goes_on(repo, tmp_path, unheld):
    claude = tmp_path / "claude"
    claude.write_text(f"""#!{sys.executable}
import json, os, sys
text = sys.stdin.read()
open({str(tmp_path / "calls")!r}, "a").write("x")
if os.environ["ANTHROPIC_API_KEY"] != "sk-valid-0123456789":
    print(json.dumps({{"type": "result", "is_error": True, "api_error_status": 401, "result": "Invalid API key", "total_cost_usd": 0}}))
    sys.exit(1)
open("train.py", "a").write("# looked at\\nDEPTH = 2\\n")
print(json.dumps({{"type": "result", "is_error": False, "result": "added a depth", "total_cost_usd": 0.03, "usage": {{}}}}))
""")
    claude.chmod(0o755)
    options = ["--agent", "claude-code", "--agent-option", f"program={claude}", "--emitter", "local_tuner"]

    done = loop(repo, *options, runs=5, check=False, env={"ANTHROPIC_API_KEY": "sk-expired-0123456"})

    assert done.returncode == 2
    assert "refused the key" in done.stderr
    assert (tmp_path / "calls").read_text() == "x"
    assert len(book(repo)) == 1
    loop(repo, *options, runs=1, env={"ANTHROPIC_API_KEY": "sk-valid-0123456789"})
    assert [(run["summary"], run["cost_usd"]) for run in book(repo)[1:]] == [("added a depth", 0.03)]


@pytest.mark.parametrize(
    ("deed", "verdict"),
    [
        ("import shutil; shutil.rmtree(asked['rp_path'])", "reject"),
        ("import shutil; shutil.rmtree(asked['rp_path']); open(asked['rp_path'], 'w').close()", "reject"),
        ("import shutil; shutil.rmtree(asked['rp_path']); os.symlink('/', asked['rp_path'])", "reject"),
        ("os.remove('train.py'); os.mkfifo('train.py')", "reject"),
        ("os.remove('train.py'); os.symlink('/etc/passwd', 'train.py')", "reject"),
        ("os.symlink('/', 'root')", "reject"),
        ("os.mkdir('.git'); open('.git/config', 'w').write('[core]')", "reject"),
        ("os.chmod('train.py', 0); os.chmod('.', 0o500)", "reject"),
        ("open('train.py', 'wb').write(b'x = 1 \\xff\\n')", "reject"),
    ],
)
def test_whatever_a_worker_does_to_its_workspace_the_loop_goes_on(repo, tmp_path, deed, verdict):
    bad = worker(tmp_path, deed)

    loop(repo, "--agent", "command", "--agent-command", bad, "--emitter", "local_tuner", runs=1)
    loop(repo, "--agent", "command", "--agent-command", wanderer(tmp_path), "--emitter", "local_tuner", runs=1)

    first, second = book(repo)[1:]
    assert first["verdict"] == verdict
    assert second["verdict"] in {"keep", "discard"}
    assert git(repo, "status", "--porcelain") == ""


def test_a_person_who_insists_ends_the_worker_as_well(repo, tmp_path):
    hang = f"open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid())); time.sleep(600)"
    argv = ["loop", "--tag", "t1", "--agent", "command", "--agent-command", worker(tmp_path, hang), "--emitter", "local_tuner"]
    process = subprocess.Popen([sys.executable, "-m", "evogit.cli", *argv], cwd=repo, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    pid = await_text(tmp_path / "pid", process)

    for line in range(3):
        process.send_signal(signal.SIGINT)
        process.stderr.readline() if line < 2 else None

    assert process.wait(30) == 130
    process.communicate()
    assert birth(int(pid)) is None


def await_text(path: Path, process: subprocess.Popen[bytes]) -> str:
    """What is written into a file, once it is."""
    while process.poll() is None:
        if path.exists() and (text := path.read_text()):
            return text
    raise AssertionError(process.communicate()[1].decode())


def test_a_persons_own_run_may_be_reviewed_by_a_program(repo, tmp_path):
    (repo / "train.py").write_text((repo / "train.py").read_text().replace("LR = 0.1", "LR = 0.02"))

    evogit(repo, "run", "--tag", "t1", "-m", "lower", "--reviewer", "command", "--reviewer-command", worker(tmp_path, REVIEW))

    assert json.loads(evogit(repo, "show", "1", "--tag", "t1", "--json").stdout)["review"]["observation"].startswith("score -0.")


CLAUDE = os.environ.get("EVOGIT_TEST_CLAUDE") or shutil.which("claude") or ""
CODEX = os.environ.get("EVOGIT_TEST_CODEX") or shutil.which("codex") or ""
PRICE = (USAGE["input"] * 3 + USAGE["output"] * 15 + USAGE["cache_write"] * 3.75 + USAGE["cache_read"] * 0.3) / 1e6


def calls_of(repo: Path, run: dict) -> list[dict]:
    done = evogit(repo, "show", run["run"], "--tag", "t1", "--file", "calls.jsonl", check=False)
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.slow
@pytest.mark.skipif(not CLAUDE, reason="the program `claude` is not here (EVOGIT_TEST_CLAUDE may name it)")
def test_a_campaign_of_twenty_runs_by_the_real_claude_costs_what_the_service_counted(tmp_path, private_home):
    repo = campaign(tmp_path)
    numbers = iter(range(1, 1000))
    with Loopback(lambda request: claude_edits(0.9 + next(numbers) / 1000)(request)).serving() as service:
        options = ["--agent", "claude-code", "--reviewer", "claude-code", "--base-url", service.url]
        options += ["--agent-option", f"program={CLAUDE}", "--reviewer-option", f"program={CLAUDE}"]
        loop(repo, *options, env={"ANTHROPIC_API_KEY": KEY}, timeout=280)

    runs = book(repo)
    calls = [call for run in runs for call in calls_of(repo, run)]
    assert len(runs) >= 15 and len({run["run"] for run in runs}) == len(runs)
    assert sum(call["usd"] for call in calls) == pytest.approx(PRICE * service.answered, abs=0.005)
    assert sum(run["cost_usd"] for run in runs) == pytest.approx(PRICE * service.answered, abs=0.005)
    assert {name: sum(call.get(name, 0) for call in calls) for name in USAGE} == service.counted
    assert {call["who"] for call in calls} == {"agent", "reviewer"}
    assert unlike_their_record(repo, runs, "--tag", "t1") == []
    assert KEY.encode() not in everything_kept(repo, private_home)


@pytest.mark.slow
@pytest.mark.skipif(not CODEX, reason="the program `codex` is not here (EVOGIT_TEST_CODEX may name it)")
def test_a_campaign_of_twenty_runs_by_the_real_codex_uses_the_tokens_that_the_service_counted(tmp_path, private_home):
    repo = campaign(tmp_path)
    numbers = iter(range(1, 1000))
    with Loopback(lambda request: codex_edits(0.9 + next(numbers) / 1000)(request)).serving() as service:
        options = ["--agent", "codex", "--base-url", f"{service.url}/v1", "--model", "m", "--agent-option", f"program={CODEX}"]
        loop(repo, *options, env={"OPENAI_API_KEY": KEY}, timeout=280)

    runs = book(repo)
    calls = [call for run in runs for call in calls_of(repo, run)]
    assert len(runs) >= 15 and len({run["run"] for run in runs}) == len(runs)
    assert {name: sum(call.get(name, 0) for call in calls) for name in ("input", "output", "cache_read")} == {
        name: service.counted[name] for name in ("input", "output", "cache_read")
    }
    assert unlike_their_record(repo, runs, "--tag", "t1") == []
    assert KEY.encode() not in everything_kept(repo, private_home)
