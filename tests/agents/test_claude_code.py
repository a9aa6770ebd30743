"""The `claude` program as an agent: the real one against a loopback service, and stand-ins that end in every bad way."""

from __future__ import annotations

import json
import os
import shutil
import stat
import sys
from pathlib import Path

import pytest

from builders import baseline, problem
from evogit.agents.claude_code import ClaudeCodeAgent
from evogit.agents.edits import RECORD
from evogit.domain.briefing import Briefing
from evogit.domain.plan import Plan
from evogit.domain.proposal import Proposal
from evogit.errors import AgentFailed, ServiceDown, UserError
from evogit.seams import Agent
from loopback_programs.policies import claude_edits
from loopback_programs.server import USAGE, Loopback, Refusal, call, text
from toys import TRAIN

CLAUDE = os.environ.get("EVOGIT_TEST_CLAUDE") or shutil.which("claude") or ""
real = pytest.mark.skipif(not CLAUDE, reason="the program `claude` is not here (EVOGIT_TEST_CLAUDE may name it)")
KEY = "sk-ant-planted-0123456789"
# Dollars of one answer of the loopback service, at what claude-sonnet-4-6 costs a million tokens.
PRICE = (USAGE["input"] * 3 + USAGE["output"] * 15 + USAGE["cache_write"] * 3.75 + USAGE["cache_read"] * 0.3) / 1e6

PLAN = Plan(emitter="local_tuner", parents=("0" * 40,), seeds=(0,), rng=1, instruction="change one constant")
BRIEFING = Briefing(problem=problem(), plan=PLAN, goal="Make it small.", sources={"train.py": TRAIN}, parent=baseline(0.3, 0.31))


@pytest.fixture(autouse=True)
def key(monkeypatch):
    for name in ("ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN", "ANTHROPIC_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    monkeypatch.setenv("CLAUDE_CODE_MAX_RETRIES", "1")


@pytest.fixture
def workspace(tmp_path) -> Path:
    folder = tmp_path / "workspace"
    folder.mkdir()
    (folder / "train.py").write_text(TRAIN)
    (folder / "evaluate.py").write_text("frozen\n")
    return folder


def stand_in(tmp_path: Path, body: str) -> str:
    """A program that takes the place of `claude`; `prompt` is what it was told, `said(...)` prints a result."""
    path = tmp_path / "claude-stand-in"
    path.write_text(f"""#!{sys.executable}
import json, os, sys, time
prompt = sys.stdin.read()
def said(result="", **more):
    whole = {{"type": "result", "subtype": "success", "is_error": False, "result": result, "session_id": "s-1", "total_cost_usd": 0.02,
             "usage": {{"input_tokens": 10, "output_tokens": 2}}, "modelUsage": {{}}, **more}}
    print(json.dumps(whole))
{body}
""")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def propose(tmp_path: Path, workspace: Path, body: str, **options) -> Proposal:
    return ClaudeCodeAgent(program=stand_in(tmp_path, body), **options).propose(BRIEFING, workspace)


EDIT = 'open("train.py", "w").write("LR = 0.5\\n");'


# the real program


@real
def test_the_real_program_edits_the_file_and_its_cost_is_what_the_service_counted(workspace):
    with Loopback(claude_edits()).serving() as service:
        done = ClaudeCodeAgent(program=CLAUDE, base_url=service.url).propose(BRIEFING, workspace)

    assert "LR = 0.09" in (workspace / "train.py").read_text()
    assert (done.summary, done.change, done.hypothesis) == ("lower LR", "hyperparameter", "it overshoots")
    (call_,) = done.calls
    assert (call_.model, call_.hand, call_.who) == ("claude-sonnet-4-6", "claude-code", "agent")
    assert {
        "input": call_.input,
        "output": call_.output,
        "cache_write": call_.cache_write,
        "cache_read": call_.cache_read,
    } == service.counted
    assert call_.usd == pytest.approx(PRICE * service.answered, abs=1e-9)
    assert json.loads(done.answers[RECORD])["files"].keys() == {"train.py"}
    assert KEY not in repr(done)
    assert set(service.keys) == {KEY}


@real
@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("Bash", {"command": "touch {outside}"}),
        ("Write", {"file_path": "{outside}", "content": "x"}),
        ("Read", {"file_path": "/etc/passwd"}),
        ("WebFetch", {"url": "http://127.0.0.1:9/", "prompt": "x"}),
        ("Task", {"description": "x", "prompt": "x", "subagent_type": "general-purpose"}),
    ],
)
def test_the_real_program_can_neither_run_anything_nor_leave_its_folder(workspace, tmp_path, tool, arguments):
    outside = tmp_path / "outside"
    told = {name: value.format(outside=outside) for name, value in arguments.items()}

    with Loopback(claude_edits(also=lambda _: call(tool, **told))).serving() as service:
        ClaudeCodeAgent(program=CLAUDE, base_url=service.url).propose(BRIEFING, workspace)

    assert {t["name"] for t in service.asked[0]["tools"]} <= {"Read", "Edit", "MultiEdit", "Write", "Glob", "Grep"}
    result = service.asked[-1]["messages"][-1]["content"][-1]
    assert result["is_error"] is True
    assert not outside.exists()


@real
def test_the_real_program_sees_nothing_of_the_users_or_the_projects_configuration(workspace, tmp_path, private_home):
    hook = {"hooks": {"UserPromptSubmit": [{"hooks": [{"type": "command", "command": f"touch {tmp_path}/hooked"}]}]}}
    for folder in (private_home / ".claude", workspace / ".claude"):
        folder.mkdir()
        (folder / "settings.json").write_text(json.dumps(hook))
        (folder / "CLAUDE.md").write_text("The secret word is xylophone.")
    (workspace / "CLAUDE.md").write_text("The secret word is xylophone.")
    (workspace / ".mcp.json").write_text(json.dumps({"mcpServers": {"x": {"command": "touch", "args": [f"{tmp_path}/served"]}}}))

    with Loopback(claude_edits()).serving() as service:
        ClaudeCodeAgent(program=CLAUDE, base_url=service.url).propose(BRIEFING, workspace)

    assert not (tmp_path / "hooked").exists() and not (tmp_path / "served").exists()
    assert "xylophone" not in json.dumps(service.asked)
    assert {path.name for path in private_home.iterdir()} >= {".claude"}
    assert [path.name for path in (private_home / ".claude").iterdir()] and not (private_home / ".claude.json").exists()


def refuse(status: int, kind: str, message: str):
    def answer(request):
        raise Refusal(status, kind, message)

    return answer


@real
@pytest.mark.parametrize(
    ("status", "kind", "fault", "words"),
    [
        (401, "authentication_error", UserError, "refused the key"),
        (403, "permission_error", UserError, "refused the key"),
        (404, "not_found_error", UserError, "model"),
        (400, "invalid_request_error", AgentFailed, "claude failed"),
        (529, "overloaded_error", AgentFailed, "529"),
    ],
)
def test_what_the_service_refuses_is_said_and_a_refused_key_stops_the_loop(workspace, status, kind, fault, words):
    with Loopback(refuse(status, kind, "no")).serving() as service, pytest.raises(fault, match=words) as caught:
        ClaudeCodeAgent(program=CLAUDE, base_url=service.url).propose(BRIEFING, workspace)

    assert KEY not in caught.value.message + caught.value.hint


@real
def test_a_service_out_of_reach_keeps_the_plan_in_flight(workspace):
    with pytest.raises(ServiceDown):
        ClaudeCodeAgent(program=CLAUDE, base_url="http://127.0.0.1:9").propose(BRIEFING, workspace)


@real
def test_the_real_program_that_only_talks_is_a_failure_that_was_paid_for(workspace):
    with (
        Loopback(lambda _: [text("I would rather not.")]).serving() as service,
        pytest.raises(AgentFailed, match="changed nothing") as caught,
    ):
        ClaudeCodeAgent(program=CLAUDE, base_url=service.url).propose(BRIEFING, workspace)

    assert caught.value.calls[0].usd == pytest.approx(PRICE)
    assert "I would rather not." in caught.value.answers["claude.json"]


@real
def test_a_run_keeps_to_its_dollars(workspace):
    def read_for_ever(request):
        return [call("Read", file_path=f"{workspace}/train.py")] if request.get("tools") else [text("{}")]

    with Loopback(read_for_ever).serving() as service, pytest.raises(AgentFailed) as caught:
        ClaudeCodeAgent(program=CLAUDE, base_url=service.url, max_usd="0.02").propose(BRIEFING, workspace)

    assert PRICE * service.answered < 0.02 + 2 * PRICE
    assert caught.value.calls[0].usd == pytest.approx(PRICE * service.answered)


# stand-ins


def test_it_fills_the_seam(tmp_path):
    agent = ClaudeCodeAgent(program=stand_in(tmp_path, "said()"))

    assert isinstance(agent, Agent)
    assert (agent.name, agent.edits_in_place) == ("claude-code", True)


def test_the_files_count_and_not_the_end_of_the_program(tmp_path, workspace):
    done = propose(tmp_path, workspace, EDIT + 'said("out of turns", is_error=True, subtype="error_max_turns"); sys.exit(1)')

    assert json.loads(done.answers[RECORD])["files"] == {"train.py": "LR = 0.5\n"}
    assert "out of turns" in done.calls[0].error
    assert done.calls[0].usd == 0.02


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("sys.stderr.write('unknown option --tools'); sys.exit(1)", "exit code 1: unknown option --tools"),
        ("print('Hello')", "no JSON answer"),
        ("pass", "no JSON answer"),
        ("said('fine')", "changed nothing"),
        ('said("", is_error=True, subtype="error_during_execution")', "error_during_execution"),
    ],
)
def test_a_bad_end_without_an_edit_is_a_failure_whose_cost_is_known_or_unknown_and_never_zero(tmp_path, workspace, body, words):
    with pytest.raises(AgentFailed) as caught:
        propose(tmp_path, workspace, body)

    assert words in caught.value.message
    assert [call_.usd for call_ in caught.value.calls] == [0.02 if "said" in body else None]


def test_a_key_that_is_refused_after_it_was_paid_for_loses_neither_edit_nor_cost(tmp_path, workspace):
    use = '{"m": {"inputTokens": 5, "outputTokens": 4, "costUSD": 0.5}}'

    done = propose(tmp_path, workspace, EDIT + f'said("Invalid API key", is_error=True, api_error_status=401, modelUsage={use})')

    assert done.calls[0].usd == 0.5
    assert done.calls[0].error == "claude failed: Invalid API key"


@pytest.mark.parametrize(
    "more",
    [
        'result="API Error: Unable to connect to API (ConnectionRefused)"',
        'result="API Error: Connection refused by somebody (ECONNREFUSED)"',
        'result="in other words", api_error="connection_failed"',
    ],
)
def test_nobody_at_the_other_end_is_known_in_the_words_of_several_versions(tmp_path, workspace, more):
    with pytest.raises(ServiceDown):
        propose(tmp_path, workspace, f"said({more}, is_error=True, api_error_status=None)")


def test_a_hang_is_ended_and_may_have_cost_something(tmp_path, workspace):
    with pytest.raises(AgentFailed, match="ended after") as caught:
        propose(tmp_path, workspace, "time.sleep(600)", timeout_s=0.8)

    assert caught.value.calls[0].usd is None


def test_each_model_that_it_asked_is_a_call(tmp_path, workspace):
    use = '{"inputTokens": 5, "outputTokens": 4, "cacheReadInputTokens": 3, "cacheCreationInputTokens": 2, "costUSD": %s}'
    models = f'{{"big": {use % 0.5}, "small": {use % 0.01}, "odd": 7}}'

    calls = propose(tmp_path, workspace, EDIT + f'said("x", modelUsage={models}, total_cost_usd=0.51)').calls

    assert [(c.model, c.usd) for c in calls] == [("big", 0.5), ("small", 0.01), ("odd", None)]
    assert [c.seconds > 0 for c in calls] == [True, False, False]


def test_words_that_are_no_json_are_the_summary(tmp_path, workspace):
    assert propose(tmp_path, workspace, EDIT + 'said("Raised LR.\\n\\nMore words.")').summary == "Raised LR."


def test_it_gets_the_key_and_no_other_secret_and_keeps_to_its_folder(tmp_path, workspace, monkeypatch):
    monkeypatch.setenv("OTHER_API_KEY", "planted-key-2")
    seen = tmp_path / "seen.json"

    propose(
        tmp_path,
        workspace,
        EDIT
        + f'said(json.dumps(os.environ["ANTHROPIC_API_KEY"])); json.dump([sys.argv, dict(os.environ), os.getcwd(), prompt], open({str(seen)!r}, "w"))',
    )

    argv, env, folder, prompt = json.loads(seen.read_text())
    assert env["ANTHROPIC_API_KEY"] == KEY and "OTHER_API_KEY" not in env
    assert env["CLAUDE_CONFIG_DIR"].startswith(env["HOME"]) and not Path(env["HOME"]).exists()
    assert Path(folder) == workspace
    assert KEY not in " ".join(argv) + prompt
    assert argv[argv.index("--tools") + 1] == "Read,Edit,MultiEdit,Write,Glob,Grep"


def test_a_key_in_its_last_words_is_taken_out(tmp_path, workspace):
    done = propose(tmp_path, workspace, EDIT + 'said("the key is " + os.environ["ANTHROPIC_API_KEY"])')

    assert done.summary == "the key is [ANTHROPIC_API_KEY]"
    assert KEY not in repr(done)


# what a person gets wrong


def test_no_key_is_said_with_the_name_of_the_variable_and_the_agent_that_needs_none(tmp_path, monkeypatch):
    monkeypatch.delenv("ANTHROPIC_API_KEY")

    with pytest.raises(UserError, match="ANTHROPIC_API_KEY") as caught:
        ClaudeCodeAgent(program=stand_in(tmp_path, "said()"))
    assert "--agent offline" in caught.value.hint


def test_no_program_is_said_with_the_way_to_install_it(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)

    with pytest.raises(UserError, match="not installed") as caught:
        ClaudeCodeAgent()
    assert "npm install -g @anthropic-ai/claude-code" in caught.value.hint and "--agent offline" in caught.value.hint
    with pytest.raises(UserError, match="nowhere"):
        ClaudeCodeAgent(program="/nowhere/claude")


def test_the_sdks_own_program_comes_before_the_one_on_the_path(tmp_path, monkeypatch, workspace):
    bundled = tmp_path / "site/claude_agent_sdk/_bundled"
    bundled.mkdir(parents=True)
    (bundled.parent / "__init__.py").write_text("raise ImportError('it is looked at, never imported')\n")
    shutil.copy(stand_in(tmp_path, EDIT + 'said("from the bundle")'), bundled / "claude")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))

    assert ClaudeCodeAgent().propose(BRIEFING, workspace).summary == "from the bundle"
