"""The agent that is any program: Evolyth's contract, and everything that a program can get wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from builders import baseline, problem, run
from evogit.agents.command import CommandAgent
from evogit.agents.edits import RECORD
from evogit.domain.briefing import Attempt, Briefing, Contrast, Lore
from evogit.domain.plan import Aim, Forecast, Plan
from evogit.domain.proposal import Proposal
from evogit.errors import AgentFailed, UserError
from evogit.seams import Agent
from toys import TRAIN
from workers import LOWER_LR, worker

PLAN = Plan(emitter="local_tuner", parents=("0" * 40,), seeds=(0,), rng=1, instruction="change one constant")


def brief(**more) -> Briefing:
    fields = {"problem": problem(), "plan": PLAN, "goal": "Make it small.", "sources": {"train.py": TRAIN}, "parent": baseline(0.3, 0.31)}
    return Briefing(**{**fields, **more})


def workspace_of(tmp_path: Path, briefing: Briefing) -> Path:
    folder = tmp_path / "workspace"
    folder.mkdir(exist_ok=True)
    for name, text in {**briefing.sources, "evaluate.py": "frozen\n"}.items():
        (folder / name).write_text(text)
    return folder


def propose(tmp_path: Path, body: str, *, briefing: Briefing | None = None, **options) -> Proposal:
    briefing = briefing or brief()
    command = worker(tmp_path, body, reads=options.pop("reads", True))
    return CommandAgent(command, **options).propose(briefing, workspace_of(tmp_path, briefing))


def failure(tmp_path: Path, body: str, **options) -> AgentFailed:
    with pytest.raises(AgentFailed) as caught:
        propose(tmp_path, body, **options)
    return caught.value


# the contract


def test_it_fills_the_seam(tmp_path):
    agent = CommandAgent(worker(tmp_path, LOWER_LR))

    assert isinstance(agent, Agent)
    assert (agent.name, agent.edits_in_place) == ("command", True)


def test_a_worker_of_evolyths_contract_runs_unchanged(tmp_path):
    done = propose(tmp_path, LOWER_LR)

    assert (done.summary, done.hypothesis, done.change) == ("lower LR", "it overshoots", "safe_refinement")
    assert done.files == {"train.py": TRAIN.replace("LR = 0.1", "LR = 0.09000000000000001")}
    assert done.calls == ()


def test_the_question_has_the_keys_of_the_contract_and_the_context_is_text(tmp_path):
    body = 'open("train.py", "w").write("# " + json.dumps(asked)); print("{}")'

    propose(tmp_path, body)

    asked = json.loads((tmp_path / "workspace/train.py").read_text()[2:])
    assert asked["rp_path"] == str(tmp_path / "workspace")
    assert asked["mutable_file"] == "train.py"
    assert asked["current_model"] == TRAIN
    assert "change one constant" in asked["context"] and "Make it small." in asked["context"]
    assert asked["briefing"]["assignment"]["emitter"] == "local_tuner"


def test_the_briefing_says_all_there_is_to_say_in_values_of_json(tmp_path):
    sibling = run("4", 0.2, 0.21)
    full = brief(
        plan=Plan(
            emitter="contrarian", parents=("0" * 40,), seeds=(0,), rng=1, forecast=Forecast(mean=0.2, spread=0.1),
            aims=(Aim(gene="train.py:LR", value=0.2),),
        ),
        siblings=(sibling,),
        contrast=Contrast(run="3", before={"train.py": "a"}, after={"train.py": "b"}, gain=0.1),
        attempts=(Attempt(files={"train.py": "("}, refusal="train.py:1 is not Python"),),
        lore=Lore(incumbent=sibling, elites=(("lr", sibling),), conjectures=("raising LR helps",), ideas=("cosine",), runs=9, left="3 runs"),
    )  # fmt: skip
    propose(tmp_path, 'open("train.py", "w").write("# " + json.dumps(asked)); print("{}")', briefing=full)

    told = json.loads((tmp_path / "workspace/train.py").read_text()[2:])["briefing"]
    assert set(told) == {"goal", "contract", "assignment", "sources", "parent", "siblings", "contrast", "attempts", "lore"}
    assert told["assignment"]["forecast"] == {"mean": 0.2, "spread": 0.1}
    assert told["parent"]["metrics"] == {"val_loss": pytest.approx(0.305)}
    assert told["siblings"][0]["readings"] == {"val_loss": [0.2, 0.21]}
    assert told["attempts"][0]["refusal"] == "train.py:1 is not Python"
    assert (told["lore"]["elites"][0]["niche"], told["lore"]["runs"]) == ("lr", 9)


def test_several_files_come_back_and_paths_below_the_folder_may_be_absolute(tmp_path):
    body = 'print(json.dumps({"mutation_summary": "two", "files": {asked["rp_path"] + "/train.py": "LR = 1\\n", "./new.py": "x = 1\\n"}}))'

    done = propose(tmp_path, body, briefing=brief(problem=problem(mutable=("*.py",))))

    assert done.files == {"train.py": "LR = 1\n", "new.py": "x = 1\n"}


def test_an_edit_in_place_counts_even_where_nothing_is_said(tmp_path):
    done = propose(tmp_path, 'open("train.py", "a").write("# more\\n")')

    assert done.files == {}
    assert done.summary == "edit train.py"
    assert json.loads(done.answers[RECORD]) == {"files": {"train.py": TRAIN + "# more\n"}, "deleted": []}


def test_the_record_makes_the_same_edit_again(tmp_path):
    body = 'os.remove("train.py"); open("new.py", "wb").write(b"x = \\xff\\n"); print(json.dumps({"files": {"b.py": "b = 1\\n"}}))'

    done = propose(tmp_path, body, briefing=brief(problem=problem(mutable=("*.py",))))

    record = json.loads(done.answers[RECORD])
    assert record == {"files": {"b.py": "b = 1\n", "new.py": "x = \udcff\n"}, "deleted": ["train.py"]}
    assert record["files"]["new.py"].encode("utf-8", "surrogateescape") == b"x = \xff\n"


def test_words_around_the_answer_and_foreign_bytes_are_passed_over(tmp_path):
    body = 'os.write(1, b"\\xff\\xfe loading {weights}\\n"); os.write(1, b"\\x1b[1m")' + LOWER_LR + 'print("bye {now}")'

    assert propose(tmp_path, body).summary == "lower LR"


def test_summaries_come_out_on_one_line_without_control_characters(tmp_path):
    body = 'print(json.dumps({"mutation_summary": "a\\u001b[31m\\nb\\ud800", "hypothesis": 7, "files": {"train.py": "x = 1\\n"}}))'

    done = propose(tmp_path, body)

    assert (done.summary, done.hypothesis) == ("a b?", "")


# money


def test_what_a_worker_says_that_it_cost_is_a_call(tmp_path):
    usage = '{"input_tokens": 900, "output_tokens": 80, "cache_read_input_tokens": 70, "cache_creation_input_tokens": 6}'
    body = LOWER_LR.replace("print(", f'answer |= {{"cost_usd": 0.0125, "model": "m-1", "usage": {usage}}}\nprint(')

    done = propose(tmp_path, body)

    (call,) = done.calls
    assert (call.who, call.hand, call.model, call.usd) == ("agent", "command", "m-1", 0.0125)
    assert (call.input, call.output, call.cache_read, call.cache_write) == (900, 80, 70, 6)
    assert call.seconds > 0
    assert call.answer in done.answers


@pytest.mark.parametrize("cost", ['"free"', "-1", "NaN", "Infinity", "true", "null"])
def test_a_cost_that_is_no_amount_is_unknown_and_never_zero(tmp_path, cost):
    text = f'{{"cost_usd": {cost}, "files": {{"train.py": "x = 1\\\\n"}}}}'

    done = propose(tmp_path, f"print({text!r})")

    assert done.calls[0].usd is None


def test_what_a_failure_cost_comes_along(tmp_path):
    failed = failure(tmp_path, 'print(json.dumps({"cost_usd": 0.5, "usage": {}})); sys.exit(4)')

    assert failed.calls[0].usd == 0.5
    assert "exit code 4" in failed.calls[0].error


# faults


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("print('{\"mutation_summary\": ')", "no JSON object"),
        ("print('Sorry, I cannot.')", "Sorry, I cannot"),
        ("print('[1, 2]')", "no JSON object"),
        ("os.write(1, b'\\xff\\xfe\\x00')", "no JSON object"),
        ("pass", "changed nothing"),
        ("print('{}')", "changed nothing"),
        ('print(json.dumps({"model_py": asked["current_model"]}))', "changed nothing"),
        ("sys.stderr.write('Traceback\\nValueError: no \\x1b[31mmodel\\n'); sys.exit(3)", "exit code 3: Traceback ValueError: no model"),
        ("import signal; os.kill(os.getpid(), signal.SIGKILL)", "died of SIGKILL"),
        ('print(json.dumps({"files": {"../up.py": "x"}}))', "leads out of the problem's folder"),
        ('print(json.dumps({"files": {"/etc/passwd": "x"}}))', "leads out of the problem's folder"),
        ('print(json.dumps({"files": {"a/../../up.py": "x"}}))', "leads out of the problem's folder"),
        ('print(json.dumps({"files": {"": "x"}}))', "leads out of the problem's folder"),
        ('print(json.dumps({"files": {"train.py": 7}}))', "is no text"),
        ('print(json.dumps({"files": {"train.py": "\\ud800"}}))', "is no text"),
        ('print(json.dumps({"files": ["train.py"]}))', "no object of path and text"),
        ('open("train.py", "w").write("x" * (5 << 20))', "more than 4096 KiB"),
    ],
)  # fmt: skip
def test_a_fault_is_said_in_one_line(tmp_path, body, words):
    failed = failure(tmp_path, body)

    assert words in failed.message
    assert "\n" not in failed.message and "\x1b" not in failed.message


def test_a_hang_is_ended_and_what_it_said_is_kept(tmp_path):
    failed = failure(tmp_path, "sys.stderr.write('thinking'); sys.stderr.flush(); time.sleep(600)", timeout_s=0.6)

    assert "ended after" in failed.message and "thinking" in failed.message
    assert failed.answers == {"stderr.txt": "thinking"}


def test_an_answer_behind_megabytes_of_noise_is_found(tmp_path):
    done = propose(tmp_path, "print(('x' * 99 + '\\n') * 300_000)" + LOWER_LR)

    assert done.summary == "lower LR"
    assert len(done.answers["stdout.txt"]) <= 64 << 10


def test_an_edit_of_a_frozen_file_is_left_to_the_host_which_strips_it(tmp_path):
    done = propose(tmp_path, 'open("evaluate.py", "w").write("print(0)"); print(json.dumps({"mutation_summary": "cheat"}))')

    assert done.summary == "cheat"
    assert json.loads(done.answers[RECORD]) == {"files": {}, "deleted": []}


# keys


def test_a_key_that_is_let_through_reaches_the_program_and_nothing_else(tmp_path, monkeypatch):
    monkeypatch.setenv("WORKER_API_KEY", "planted-key-1")
    monkeypatch.setenv("OTHER_API_KEY", "planted-key-2")
    body = 'sys.stderr.write(str(dict(os.environ))); answer_to = os.environ["WORKER_API_KEY"]' + LOWER_LR.replace('"lower LR"', "answer_to")

    done = propose(tmp_path, body, env="WORKER_API_KEY")

    kept = "\n".join([done.summary, done.transcript, *done.answers.values()])
    assert done.summary == "[WORKER_API_KEY]"
    assert "planted-key" not in kept
    assert "OTHER_API_KEY" not in kept


@pytest.mark.parametrize(
    "body",
    [
        'open("train.py", "a").write("# " + os.environ["WORKER_API_KEY"])',
        'open("notes.txt", "w").write(os.environ["WORKER_API_KEY"])',
        'print(json.dumps({"files": {"train.py": os.environ["WORKER_API_KEY"]}}))',
        'print(json.dumps({"files": {"train.py": "x = 1"}})); sys.stderr.write(os.environ["WORKER_API_KEY"]); sys.exit(1)',
    ],
    ids=["mutable", "frozen", "returned", "failed"],
)
def test_a_key_that_is_written_down_is_refused_and_kept_nowhere(tmp_path, monkeypatch, body):
    monkeypatch.setenv("WORKER_API_KEY", "planted-key-1")

    failed = failure(tmp_path, body, env="WORKER_API_KEY")

    assert "WORKER_API_KEY" in failed.message
    assert "planted" not in failed.message + "".join(failed.answers.values())


# what a person gets wrong


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "has no program to run"),
        ({"command": "no-such-worker --fast"}, "there is no program 'no-such-worker'"),
        ({"command": "./nowhere.sh"}, "nowhere.sh"),
        ({"command": "python 'worker"}, "cannot be read"),
        ({"command": "python w.py", "timeout_s": "soon"}, "no number of seconds"),
        ({"command": "python w.py", "timeout_s": "0"}, "no number of seconds"),
        ({"command": "python w.py", "env": "HF-TOKEN"}, "no name of a variable"),
    ],
)
def test_options_that_mean_nothing_are_refused_when_it_is_made(options, words):
    with pytest.raises(UserError, match=".") as caught:
        CommandAgent(**options)

    assert words in caught.value.message
    assert caught.value.hint


def test_a_script_beside_the_user_is_found_from_the_workspace(tmp_path, monkeypatch):
    worker(tmp_path, LOWER_LR)
    monkeypatch.chdir(tmp_path)

    assert CommandAgent("python3 worker.py").propose(brief(), workspace_of(tmp_path, brief())).summary == "lower LR"
    monkeypatch.chdir("/")
    assert CommandAgent("python3 worker.py", folder=str(tmp_path)).propose(brief(), workspace_of(tmp_path, brief())).summary == "lower LR"


def test_a_script_that_is_nowhere_stops_the_loop(tmp_path):
    with pytest.raises(UserError, match="there is no script 'nowhere.py'"):
        CommandAgent("python3 nowhere.py").propose(brief(), workspace_of(tmp_path, brief()))
