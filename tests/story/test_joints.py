"""Where the parts of the story meet: what each of them leaves for the others."""

from __future__ import annotations

import json

import pytest

from loopback import minds
from toys import TOML, TRAIN, evogit, make_toy
from workers import LOWER_LR, worker


def log(repo) -> list[dict]:
    return [json.loads(line) for line in evogit(repo, "log", "--json").stdout.splitlines()]


@pytest.fixture
def begun(tmp_path):
    top = make_toy(tmp_path / "toy")
    evogit(top, "start", "t1")
    evogit(top, "baseline")
    return top


def test_an_incumbent_that_cannot_be_read_again_is_not_tried_for_ever(tmp_path):
    breaks = 'if os.environ.get("EVOGIT_SEED") == "2" and LR != 0.1:\n        raise SystemExit("no third seed")\n    '
    train = TRAIN.replace("gauss(0, 0.002)", "gauss(0, 0.02)").replace('print("METRIC val_loss', breaks + 'print("METRIC val_loss')
    top = make_toy(tmp_path / "toy", train=train)
    evogit(top, "start", "t1")
    evogit(top, "baseline", "--seeds", "3")

    done = evogit(top, "loop", "--max-runs", "12", "--emitter", "local_tuner", timeout=100)

    assert "12 runs decided" in done.stdout
    assert done.stdout.count("the new incumbent, once more") <= len(log(top))


def test_a_command_that_asks_no_agent_leaves_a_plan_to_the_loop_whose_agent_was_to_carry_it_out(loopback, begun):
    loopback.faults = lambda seen: "500"
    asked = ["--agent", "anthropic", f"--agent-option=base_url={loopback.url}", "--agent-option=retries=0"]
    down = evogit(begun, "loop", "--max-runs", "1", *asked, env=loopback.env, check=False)

    evogit(begun, "baseline", "--seeds", "5")

    assert down.returncode == 3
    assert [run["run"] for run in log(begun)] == ["0"]
    loopback.faults = []
    evogit(begun, "loop", "--max-runs", "1", *asked, env=loopback.env)
    assert log(begun)[1]["agent"] == "anthropic"


def test_a_job_that_nobody_collects_any_more_holds_no_money_back(loopback, tmp_path):
    top = make_toy(tmp_path / "toy", toml=TOML.replace("seeds = [0, 1]", "seeds = [0]"))
    evogit(top, "loop", "--max-runs", "1", env={"EVOGIT_FAILPOINT": "branch"}, check=False)
    asked = ["--agent", "anthropic", f"--agent-option=base_url={loopback.url}"]

    done = evogit(top, "loop", "--max-runs", "9", "--max-cost", "0.05", *asked, env=loopback.env, timeout=60)

    assert "could pass --max-cost 0.05" in done.stdout


def test_a_repair_that_came_to_nothing_is_no_part_of_the_replay(loopback, begun):
    loopback.mind = minds.script(minds.change("LR = 0.1", "LR = 0.1 +"), minds.refusal)
    asked = ["--agent", "anthropic", f"--agent-option=base_url={loopback.url}"]
    evogit(begun, "loop", "--max-runs", "1", *asked, env=loopback.env)

    run = log(begun)[1]
    done = evogit(begun, "replay", run["run"], check=False)

    assert run["verdict"] == "reject"
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_placeholder_for_a_key_is_a_word_like_others(loopback, begun):
    loopback.key = "none"
    loopback.mind = minds.change("LR = 0.1", 'LR = 0.09\nMODE = "none"')
    asked = ["--agent", "openai", f"--agent-option=base_url={loopback.url}/v1", "--agent-option=model=m"]
    evogit(begun, "loop", "--max-runs", "1", *asked, env={**loopback.env, "OPENAI_API_KEY": "none"})

    assert evogit(begun, "replay", log(begun)[1]["run"], check=False).returncode == 0


def test_a_program_that_tells_tokens_and_a_model_has_a_price(tmp_path, begun):
    told = LOWER_LR.replace('"model_py": text}', '"model_py": text, "model": "claude-sonnet-4-6", "usage": {"input_tokens": 1000}}')
    evogit(begun, "loop", "--max-runs", "1", "--agent", "command", "--agent-command", worker(tmp_path, told))

    assert log(begun)[1]["cost_usd"] == pytest.approx(0.003)


CLAUDE = """#!/bin/sh
echo "$@" >> "{log}"
sed -i 's/^LR = .*/LR = 0.0'$(wc -l < "{log}")'/' train.py
echo '{{"type": "result", "subtype": "success", "is_error": false, "result": "{{}}", "total_cost_usd": 0.4, "session_id": "s", "modelUsage": {{"m": {{"inputTokens": 10, "outputTokens": 5, "costUSD": 0.4}}}}}}'
"""


def test_claude_gets_what_is_left_of_the_cap_as_its_own_limit_and_the_loop_ends_at_the_cap(tmp_path, begun, unheld):
    log_file, program = tmp_path / "asked", tmp_path / "claude"
    program.write_text(CLAUDE.format(log=log_file))
    program.chmod(0o755)
    asked = ["--agent", "claude-code", f"--agent-option=program={program}"]

    done = evogit(begun, "loop", "--max-runs", "9", "--max-cost", "1", *asked, env={"ANTHROPIC_API_KEY": "sk-ant-0123456789"})

    limits = [line.rpartition("--max-budget-usd ")[2] for line in log_file.read_text().splitlines()]
    assert limits == ["1", "0.6", "0.2"]
    assert "--max-cost 1" in done.stdout


def test_a_campaign_with_a_reading_in_the_middle_is_repeated_whole(tmp_path):
    top = make_toy(tmp_path / "toy")
    evogit(top, "start", "t1")
    evogit(top, "loop", "--tag", "t1", "--max-runs", "1")
    evogit(top, "loop", "--tag", "t1", "--max-runs", "1", "--agent", "noop")
    evogit(top, "loop", "--tag", "t1", "--max-runs", "2")
    evogit(top, "start", "t2")

    evogit(top, "loop", "--tag", "t2", "--max-runs", "9", "--agent", "replay:t1")

    first, second = ([run["summary"] for run in runs_of(top, tag)] for tag in ("t1", "t2"))
    assert second == first


def runs_of(top, tag: str) -> list[dict]:
    return [json.loads(line) for line in evogit(top, "log", "--tag", tag, "--json").stdout.splitlines()]
