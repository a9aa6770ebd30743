"""Hooks as a session calls them: a process, JSON on stdin, JSON on stdout."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from evogit.domain.options import LoopOptions
from evogit.domain.proposal import Proposal
from evogit.hooks import autonomy
from evogit.hooks import place as places
from evogit.lab import Lab
from toys import evogit, git, make_toy


def answer(done: subprocess.CompletedProcess[str]) -> dict:
    """What a hook said, {} for nothing."""
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout) if done.stdout.strip() else {}


def context(done: subprocess.CompletedProcess[str]) -> str:
    return answer(done).get("hookSpecificOutput", {}).get("additionalContext", "")


def edit(repo: Path, old: str = "LR = 0.1", new: str = "LR = 0.02") -> None:
    path = repo / "train.py"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def submit(repo: Path, message: str) -> None:
    list(Lab.open(repo, tag="t1").submit(Proposal(summary=message), LoopOptions()))


def test_a_denied_tool_call_is_answered_as_the_protocol_has_it(hook):
    done = hook("pre-tool-use", hook_event_name="PreToolUse", tool_name="Bash", tool_input={"command": "git push", "description": "x"})

    assert answer(done) == {
        "hookSpecificOutput": {
            "hookEventName": "PreToolUse",
            "permissionDecision": "deny",
            "permissionDecisionReason": "evogit: git push: pushing is for the person to do",
        }
    }


def test_an_allowed_tool_call_gets_no_answer(hook):
    for tool, given in (("Bash", {"command": "ls -la"}), ("Read", {"file_path": "/etc/passwd"}), ("mcp__x__y", {"a": 1})):
        done = hook("pre-tool-use", tool_name=tool, tool_input=given)

        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_an_ordinary_command_loads_no_library_of_weight(repo):
    program = (
        "import sys, json, atexit\n"
        "atexit.register(lambda: print(json.dumps(sorted(sys.modules)), file=sys.stderr))\n"
        "sys.argv = ['evogit', 'hook', 'pre-tool-use']\nfrom evogit.cli import main\nmain()"
    )
    given = json.dumps({"cwd": str(repo), "tool_name": "Bash", "tool_input": {"command": "ls -la | head && git status"}})

    done = subprocess.run([sys.executable, "-c", program], input=given, capture_output=True, text=True, check=False, timeout=60)

    loaded = set(json.loads(done.stderr.splitlines()[-1]))
    assert "evogit.hooks.denials" in loaded
    assert not loaded & {"evogit.lab", "pygit2", "git", "numpy", "torch", "msgspec", "rich", "asyncio"}


def test_a_repository_without_a_campaign_gets_no_answer(tmp_path):
    top = make_toy(tmp_path / "toy")
    for name in ("session-start", "user-prompt-submit", "pre-tool-use", "post-tool-use", "stop"):
        given = {"cwd": str(top), "tool_name": "Bash", "tool_input": {"command": "git push"}, "prompt": "go on by yourself"}
        done = subprocess.run(
            [sys.executable, "-m", "evogit.cli", "hook", name],
            input=json.dumps(given),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

        assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), name
    assert not (top / ".git/evogit/autonomy.json").exists()


@pytest.mark.parametrize(
    "text", ["", "{", "[1]", '{"cwd": 3}', '{"tool_input": "x"}', '{"tool_name": "Bash", "tool_input": {"command": 3}}']
)
@pytest.mark.parametrize("name", ["pre-tool-use", "stop", "user-prompt-submit"])
def test_odd_input_breaks_no_session(repo, name, text):
    done = subprocess.run(
        [sys.executable, "-m", "evogit.cli", "hook", name], cwd=repo, input=text, capture_output=True, text=True, check=False, timeout=60
    )

    assert done.returncode == 0
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) <= 1


def test_a_bug_in_a_hook_is_one_line_and_lets_the_session_go_on(repo):
    program = (
        "import sys\nfrom evogit.hooks import events\n"
        "def broken(*given): raise KeyError('nobody foresaw it')\n"
        "events._ANSWERS['stop'] = broken\n"
        "sys.argv = ['evogit', 'hook', 'stop']\nfrom evogit.cli import main\nmain()"
    )

    done = subprocess.run([sys.executable, "-c", program], cwd=repo, input="{}", capture_output=True, text=True, check=False, timeout=60)

    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == "evogit hook: KeyError: 'nobody foresaw it'\n"


def test_a_hook_that_this_evogit_lacks_does_not_deny(repo):
    done = evogit(repo, "hook", "subagent-stop", check=False)

    assert done.returncode == 1  # 2 would mean "denied"
    assert "there is no hook subagent-stop" in done.stderr


def test_hooks_can_be_silenced_for_a_session(repo, hook, monkeypatch):
    monkeypatch.setenv("EVOGIT_HOOKS", "off")

    assert answer(hook("pre-tool-use", tool_name="Bash", tool_input={"command": "git push"})) == {}


def test_a_session_begins_with_the_state_of_the_campaign(repo, hook):
    edit(repo)
    submit(repo, "smaller steps")

    told = context(hook("session-start", hook_event_name="SessionStart", source="startup"))

    assert "evogit campaign t1, problem toy: 2 runs; val_loss, minimize" in told
    assert "incumbent: run 1" in told and "smaller steps" in told
    assert "only train.py may change; evogit alone commits to autoresearch/t1" in told
    assert "autonomy" not in told
    assert len(told.splitlines()) <= 6


def test_a_prompt_switches_autonomy_on_with_its_limits_and_off_again(repo, hook):
    on = context(hook("user-prompt-submit", prompt="Looks good. Go on by yourself for 12 runs or 3.5 hours, please."))
    wish = autonomy.read(places.find(str(repo)))
    off = context(hook("user-prompt-submit", prompt="Stop the loop, I have seen enough"))

    assert on.startswith("evogit: autonomy is on (0 of 12 runs, 3.5 hours).")
    assert (wish.campaign, wish.max_runs, wish.max_hours, wish.runs_before) == ("t1", 12, 3.5, 1)
    assert "autonomy is off" in off
    assert autonomy.read(places.find(str(repo))) is None


def test_another_prompt_changes_nothing(repo, hook):
    assert answer(hook("user-prompt-submit", prompt="what is the incumbent?")) == {}
    assert autonomy.read(places.find(str(repo))) is None


@pytest.mark.parametrize(
    "prompt",
    [
        "go on by yourself",
        "OK, keep going on your own",
        "please carry on without me",
        "Fine.\ndrive by yourself for 3 runs",
        "autonomy on",
        "turn autonomy on",
    ],
)
def test_phrases_that_switch_autonomy_on(prompt):
    assert autonomy.asked(prompt) == "on"


@pytest.mark.parametrize(
    "prompt",
    ["stop the loop", "please stop driving", "autonomy off", "Enough: stop going on by yourself", "go on by yourself? no, stop the loop"],
)
def test_phrases_that_switch_autonomy_off(prompt):
    assert autonomy.asked(prompt) == "off"


@pytest.mark.parametrize(
    "prompt",
    [
        "don't go on by yourself",
        "never go on by yourself",
        'what does "go on by yourself" do?',
        "the loop in train.py must not stop the looping",
        "",
    ],
)
def test_phrases_that_switch_nothing(prompt):
    assert autonomy.asked(prompt) == ""


@pytest.mark.parametrize(
    "prompt, runs, hours",
    [("for 5 runs", 5, 0), ("3 more runs and 90 minutes", 3, 1.5), ("2h", 0, 2), ("overnight", 0, 0), ("1 run", 1, 0)],
)
def test_limits_are_read_from_a_prompt(prompt, runs, hours):
    assert autonomy.limits(prompt) == (runs, hours)


def test_a_stop_is_let_through_while_autonomy_is_off(hook):
    assert answer(hook("stop", hook_event_name="Stop", stop_hook_active=False)) == {}


def test_while_autonomy_is_on_a_stop_brings_the_next_assignment(repo, hook):
    evogit(repo, "hook", "autonomy", "on", "--max-runs", "2")

    said = answer(hook("stop", stop_hook_active=False))

    assert said["decision"] == "block"
    assert said["reason"].startswith("evogit: autonomy is on (0 of 2 runs).")
    assert 'evogit submit --tag t1 -m "what you changed"' in said["reason"]
    assert Lab.open(repo, tag="t1").assignment() is not None


def test_a_stop_after_which_no_run_came_is_not_held_up_again(repo, hook):
    evogit(repo, "hook", "autonomy", "on")
    first = answer(hook("stop", stop_hook_active=False))

    second = answer(hook("stop", stop_hook_active=True))

    assert first["decision"] == "block"
    assert "decision" not in second
    assert "no run came of the last assignment" in second["systemMessage"]


def test_autonomy_goes_on_from_run_to_run_and_ends_with_its_limit(repo, hook):
    evogit(repo, "hook", "autonomy", "--max-runs", "2")
    blocks = []
    for new in ("LR = 0.05", "LR = 0.02", "LR = 0.01"):
        said = answer(hook("stop", stop_hook_active=bool(blocks)))
        blocks.append(said.get("decision"))
        if blocks[-1] != "block":
            break
        git(repo, "checkout", "-q", "--", "train.py")
        edit(repo, "LR = 0.1", new)
        submit(repo, new)

    assert blocks == ["block", "block", None]
    assert "2 of 2 runs are done" in said["systemMessage"]
    assert autonomy.read(places.find(str(repo))) is None


def test_hours_end_autonomy():
    wish = autonomy.Autonomy(since=1000.0, max_hours=2.0)

    assert wish.over(5, 1000.0 + 7199) == ""
    assert wish.over(5, 1000.0 + 7201) == "2 hours are over"


def test_the_state_of_autonomy_is_told_and_taken_back(repo):
    evogit(repo, "hook", "autonomy", "on", "--max-hours", "8")
    on = evogit(repo, "hook", "autonomy").stdout
    off = evogit(repo, "hook", "autonomy", "off").stdout

    assert on == "autonomy is on (8 hours)\n"
    assert off == evogit(repo, "hook", "autonomy").stdout == "autonomy is off\n"


@pytest.mark.parametrize("runner", ["", "python scripts/run_experiment.py --backend local -- "])
def test_a_training_run_by_hand_is_read_and_held_against_the_incumbent(repo, hook, runner):
    edit(repo)
    command = f"{sys.executable} train.py > run.log 2>&1"
    subprocess.run(command, shell=True, cwd=repo, check=True)
    before = git(repo, "for-each-ref")

    said = f"{runner}python train.py > run.log 2>&1"
    told = context(hook("post-tool-use", tool_name="Bash", tool_input={"command": said}, tool_response={"stdout": ""}))

    assert told.startswith("evogit: this run by hand printed val_loss 0.2")
    assert "incumbent run 0" in told and "by hand better by" in told and "times the noise between seeds" in told
    assert "heuristic:" in told
    assert "evogit submit" in told
    assert git(repo, "for-each-ref") == before


def test_the_output_of_tee_is_read_from_what_the_tool_said(repo, hook):
    response = {"stdout": "epoch 1\nMETRIC val_loss=0.31\n", "stderr": "", "interrupted": False}

    told = context(
        hook("post-tool-use", tool_name="Bash", tool_input={"command": "python train.py | tee gone.log"}, tool_response=response)
    )

    assert "printed val_loss 0.3100" in told and "by hand worse by" in told


def test_a_training_run_without_a_number_says_so(hook):
    told = context(hook("post-tool-use", tool_name="Bash", tool_input={"command": "python train.py"}, tool_response="Traceback ..."))

    assert told.startswith("evogit: this run by hand gave no number")


def test_other_commands_are_not_looked_into(hook):
    done = hook("post-tool-use", tool_name="Bash", tool_input={"command": "cat run.log"}, tool_response={"stdout": "METRIC val_loss=0.1"})

    assert answer(done) == {}
