"""The `codex` program as an agent: the real one against a loopback service, and stand-ins that end in every bad way."""

from __future__ import annotations

import json
import os
import shutil
import stat
import sys
from pathlib import Path

import pytest

from builders import baseline, problem
from evogit.agents.codex import CodexAgent
from evogit.agents.edits import RECORD
from evogit.domain.briefing import Briefing
from evogit.domain.plan import Plan
from evogit.domain.proposal import Proposal
from evogit.errors import AgentFailed, ServiceDown, UserError
from evogit.programs import confining, process
from evogit.seams import Agent
from loopback_programs.policies import codex_edits
from loopback_programs.server import USAGE, Loopback, Refusal, call, text
from toys import TRAIN

CODEX = os.environ.get("EVOGIT_TEST_CODEX") or shutil.which("codex") or ""
real = pytest.mark.skipif(not CODEX, reason="the program `codex` is not here (EVOGIT_TEST_CODEX may name it)")
KEY = "sk-planted-0123456789"

PLAN = Plan(emitter="local_tuner", parents=("0" * 40,), seeds=(0,), rng=1, instruction="change one constant")
BRIEFING = Briefing(problem=problem(), plan=PLAN, goal="Make it small.", sources={"train.py": TRAIN}, parent=baseline(0.3, 0.31))


@pytest.fixture(autouse=True)
def key(monkeypatch):
    for name in ("CODEX_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


@pytest.fixture
def workspace(tmp_path) -> Path:
    folder = tmp_path / "workspace"
    folder.mkdir()
    (folder / "train.py").write_text(TRAIN)
    return folder


def stand_in(tmp_path: Path, body: str) -> str:
    """A program that takes the place of `codex`; `event(...)` prints one, `end()` a good end."""
    path = tmp_path / "codex-stand-in"
    path.write_text(f"""#!{sys.executable}
import json, os, sys, time
prompt = sys.stdin.read()
def event(type, **more):
    print(json.dumps({{"type": type, **more}}), flush=True)
def end(text="done", usage={{"input_tokens": 10, "cached_input_tokens": 4, "output_tokens": 2}}):
    event("item.completed", item={{"type": "agent_message", "text": text}})
    event("turn.completed", usage=usage)
event("thread.started", thread_id="t-1")
{body}
""")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def propose(tmp_path: Path, workspace: Path, body: str, **options) -> Proposal:
    return CodexAgent(program=stand_in(tmp_path, body), **options).propose(BRIEFING, workspace)


EDIT = 'open("train.py", "w").write("LR = 0.5\\n");'


@real
def test_the_real_program_edits_the_file_and_its_tokens_are_what_the_service_counted(workspace):
    with Loopback(codex_edits()).serving() as service:
        done = CodexAgent(program=CODEX, base_url=f"{service.url}/v1", model="gpt-5.2-codex").propose(BRIEFING, workspace)

    assert "LR = 0.09" in (workspace / "train.py").read_text()
    assert (done.summary, done.change) == ("lower LR", "hyperparameter")
    (call_,) = done.calls
    assert (call_.hand, call_.model, call_.usd) == ("codex", "gpt-5.2-codex", None)
    assert (call_.input, call_.output, call_.cache_read) == tuple(service.counted[name] for name in ("input", "output", "cache_read"))
    assert set(service.keys) == {f"Bearer {KEY}"}
    assert KEY not in repr(done)


@real
def test_what_the_real_program_runs_is_held_to_its_folder_and_sees_no_key(workspace, tmp_path):
    command = f"touch {tmp_path}/outside /tmp/evogit-outside; env; touch inside.txt; echo end"

    with Loopback(codex_edits(also=lambda _: call("exec_command", cmd=command))).serving() as service:
        CodexAgent(program=CODEX, base_url=f"{service.url}/v1", model="m").propose(BRIEFING, workspace)

    told = json.dumps(service.asked[-1]["input"][-1])
    assert "end" in told and "Read-only file system" in told
    assert KEY not in told
    assert not (tmp_path / "outside").exists() and not Path("/tmp/evogit-outside").exists()
    assert (workspace / "inside.txt").exists()


@real
def test_the_real_program_sees_nothing_of_the_users_or_the_projects_configuration(workspace, private_home):
    (private_home / ".codex").mkdir()
    (private_home / ".codex/AGENTS.md").write_text("The secret word is xylophone.")
    (private_home / ".codex/config.toml").write_text('model = "users-own"\n')
    (workspace / ".codex").mkdir()
    served = f'[mcp_servers.x]\ncommand = "touch"\nargs = ["{workspace.parent}/served"]\n'
    (workspace / ".codex/config.toml").write_text('model = "projects-own"\n' + served)
    (workspace / "AGENTS.md").write_text("The secret word is xylophone.")

    with Loopback(codex_edits()).serving() as service:
        CodexAgent(program=CODEX, base_url=f"{service.url}/v1", model="m").propose(BRIEFING, workspace)

    assert "xylophone" not in json.dumps(service.asked)
    assert not (workspace.parent / "served").exists()
    assert {request["model"] for request in service.asked} == {"m"}
    assert sorted(path.name for path in (private_home / ".codex").iterdir()) == ["AGENTS.md", "config.toml"]


@real
@pytest.mark.parametrize(
    ("status", "fault", "words"),
    [(401, UserError, "refused the key"), (404, UserError, "404 Not Found"), (400, AgentFailed, "codex failed")],
)
def test_what_the_service_refuses_is_said_and_a_refused_key_stops_the_loop(workspace, status, fault, words):
    def answer(request):
        raise Refusal(status, "some_error", f"no, {KEY} will not do")

    with Loopback(answer).serving() as service, pytest.raises(fault, match=words) as caught:
        CodexAgent(program=CODEX, base_url=f"{service.url}/v1", model="m").propose(BRIEFING, workspace)

    assert KEY not in caught.value.message


@real
def test_a_service_out_of_reach_keeps_the_plan_in_flight(workspace):
    with pytest.raises(ServiceDown):
        CodexAgent(program=CODEX, base_url="http://127.0.0.1:9/v1", model="m", timeout_s=6).propose(BRIEFING, workspace)


@real
def test_the_real_program_that_only_talks_is_a_failure_whose_tokens_are_known(workspace):
    with (
        Loopback(lambda _: [text("I would rather not.")]).serving() as service,
        pytest.raises(AgentFailed, match="changed nothing") as caught,
    ):
        CodexAgent(program=CODEX, base_url=f"{service.url}/v1", model="m").propose(BRIEFING, workspace)

    assert caught.value.calls[0].output == USAGE["output"] * service.answered


def test_it_fills_the_seam(tmp_path):
    agent = CodexAgent(program=stand_in(tmp_path, "end()"))

    assert isinstance(agent, Agent)
    assert (agent.name, agent.edits_in_place) == ("codex", True)


def test_the_files_count_and_not_the_end_of_the_program(tmp_path, workspace):
    done = propose(tmp_path, workspace, EDIT + 'event("turn.failed", error={"message": "stream cut"}); sys.exit(1)')

    assert json.loads(done.answers[RECORD])["files"] == {"train.py": "LR = 0.5\n"}
    assert "stream cut" in done.calls[0].error


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("sys.stderr.write('no such option'); sys.exit(2)", "exit code 2: no such option"),
        ("event('error', message='rate limited'); sys.exit(1)", "exit code 1: rate limited"),
        ("pass", "no answer"),
        ("print('{broken'); print('[1]'); end()", "changed nothing"),
        ("event('turn.failed', error='odd')", "codex failed"),
        ("event('turn.failed', error={'message': 7})", "codex failed"),
        (
            "event('item.completed', item={'type': 'command_execution', 'exit_code': 1, 'aggregated_output': 'bwrap: no'}); end()",
            "every command of codex failed (does its sandbox start here?): bwrap: no",
        ),
    ],
)
def test_a_bad_end_without_an_edit_is_a_failure(tmp_path, workspace, body, words):
    with pytest.raises(AgentFailed) as caught:
        propose(tmp_path, workspace, body)

    assert words in caught.value.message
    assert caught.value.calls[0].usd is None


def test_what_it_read_from_the_cache_is_not_counted_twice(tmp_path, workspace):
    (call_,) = propose(tmp_path, workspace, EDIT + "end(); end()").calls

    assert (call_.input, call_.cache_read, call_.output) == (12, 8, 4)


@pytest.mark.parametrize(("confines", "sandbox"), [(False, "workspace-write"), (True, "danger-full-access")])
def test_its_own_sandbox_is_off_only_where_evogits_is_on(tmp_path, workspace, monkeypatch, confines, sandbox):
    monkeypatch.setattr(confining, "works", lambda: confines)
    monkeypatch.setattr(process, "confined", lambda argv, cwd, room: list(argv))  # what the stand-in tells lies outside of any room
    seen = tmp_path / "seen.json"

    propose(tmp_path, workspace, EDIT + f'end(); json.dump([sys.argv, dict(os.environ)], open({str(seen)!r}, "w"))')

    argv, env = json.loads(seen.read_text())
    assert argv[argv.index("--sandbox") + 1] == sandbox
    assert env["CODEX_HOME"].startswith(env["HOME"]) and not Path(env["HOME"]).exists()
    assert env["CODEX_API_KEY"] == KEY and "OPENAI_API_KEY" not in env
    assert KEY not in " ".join(argv)


def test_no_key_and_no_program_are_said_with_what_to_do(tmp_path, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(UserError, match="OPENAI_API_KEY") as caught:
        CodexAgent(program=stand_in(tmp_path, "end()"))
    assert "--agent offline" in caught.value.hint

    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="not installed") as caught:
        CodexAgent()
    assert "npm install -g @openai/codex" in caught.value.hint
    with pytest.raises(UserError, match="nowhere"):
        CodexAgent(program="/nowhere/codex")


def test_a_service_of_ones_own_needs_no_key(tmp_path, workspace, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY")

    assert propose(tmp_path, workspace, EDIT + 'end("fine")', base_url="http://127.0.0.1:11434/v1").summary == "fine"
