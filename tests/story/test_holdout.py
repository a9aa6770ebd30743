"""Kept runs are looked at on held-out data, once each, whatever is killed meanwhile; a person sees the scores, and nobody else."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from evogit.backends.local import LocalBackend
from evogit.cli.group import evogit as command_line
from evogit.domain.options import LoopOptions
from evogit.lab import Lab
from faults.runner import until
from holdouts import FILES, HELD_TOML, HELD_TRAIN, SECRET, book, looked, make_held, spoken, waiting, write_looks
from loopback import Loopback
from toys import TRAIN, evogit, git, make_toy


@pytest.fixture(scope="module")
def searched(tmp_path_factory) -> Path:
    """A campaign of six runs whose kept ones were looked at, with its home: what each story begins with."""
    with pytest.MonkeyPatch.context() as patch:
        home = tmp_path_factory.mktemp("searched-home")
        patch.setenv("HOME", str(home))
        patch.setenv("XDG_CACHE_HOME", str(home / "cache"))
        patch.setenv("XDG_STATE_HOME", str(home / "state"))
        (home / ".gitconfig").write_text("[user]\n\tname = Ada\n\temail = ada@example.org\n")
        top = make_held(home / "toy")
        evogit(top, "start", "t1")
        evogit(top, "loop", "--tag", "t1", "--max-runs", "6")
        evogit(top, "holdout", "--tag", "t1")
        return top


@pytest.fixture
def repo(searched, tmp_path, private_home) -> Path:
    """That campaign again, with its looks."""
    shutil.copytree(searched.parent / "state", private_home / "state")
    return Path(shutil.copytree(searched, tmp_path / "toy", symlinks=True))


@pytest.fixture
def begun(tmp_path) -> Path:
    """A campaign that has not run yet."""
    top = make_held(tmp_path / "toy")
    evogit(top, "start", "t1")
    return top


def ask(repo: Path, *args: str, **more) -> subprocess.CompletedProcess[str]:
    return evogit(repo, "holdout", *args, "--tag", "t1", **more)


def kept(repo: Path) -> list[str]:
    return [run.label for run in Lab.open(repo, tag="t1").runs(verdict="keep")]


# what a person sees --------------------------------------------------------------------------------------------------


def test_every_kept_run_is_looked_at_once_and_scored_with_the_model_that_it_had_trained(repo):
    found = spoken(ask(repo, "--json").stdout)

    looks = book(repo).looks()
    assert len(kept(repo)) > 1
    assert [row["run"] for row in found["rows"]] == kept(repo) == looked(repo)
    assert {(look.how, look.asked, look.look, look.reason) for look in looks} == {("kept", "loop", 1, "")}
    assert all(look.metrics["val_loss"] == pytest.approx(7316429 + look.validation["val_loss"]) for look in looks)
    assert waiting(repo) == []
    base = git(repo, "rev-parse", f"{Lab.open(repo, tag='t1').run('0').commit}^{{tree}}").strip()
    assert {look.ruler for look in looks} == {base} and all(look.sandbox and look.seconds > 0 for look in looks)


def test_the_table_says_gap_and_looks_and_whether_the_gap_grows(repo):
    said = ask(repo).stdout

    assert said.splitlines()[0].split() == ["run", "verdict", "validation", "held-out", "gap", "looks", "when"]
    assert SECRET in said
    assert "kept runs have a look" in said or "no sign that the gap" in said
    assert f"{len(kept(repo))} looks so far, at {len(kept(repo))} runs" in said


def test_a_person_may_look_again_and_that_look_counts(repo):
    done = ask(repo, "look", "0", "--json")

    told = json.loads(done.stdout)
    assert (told["label"], told["look"], told["asked"], told["how"]) == ("0", 2, "person", "trained")
    assert "trained again" in done.stderr
    [row] = [row for row in spoken(ask(repo, "--json").stdout)["rows"] if row["run"] == "0"]
    assert row["looks"] == 2


def test_looks_are_exported_to_where_no_agent_reads(repo, tmp_path):
    inside = ask(repo, "export", "--json", "looks.jsonl", check=False)
    ask(repo, "export", "--json", str(tmp_path / "looks.jsonl"))

    lines = [json.loads(line) for line in (tmp_path / "looks.jsonl").read_text().splitlines()]
    assert [line["label"] for line in lines] == kept(repo)
    assert inside.returncode == 2 and "lies in the repository" in inside.stderr
    assert ask(repo, "export").stdout.count("\n") == len(lines) + 1
    again = ask(repo, "export", "--json", str(tmp_path / "looks.jsonl"), check=False)
    assert again.returncode == 2 and "exists" in again.stderr


def test_an_unknown_run_is_named_before_any_look_is_taken(repo):
    done = ask(repo, "look", "0", "77", check=False)

    assert done.returncode == 2 and "no run '77'" in done.stderr
    assert looked(repo) == kept(repo) and waiting(repo) == []


def test_a_problem_without_held_out_data_says_how_to_declare_some(tmp_path):
    top = make_toy(tmp_path / "plain")
    evogit(top, "start", "t1")

    for words in (["holdout"], ["holdout", "look", "0"], ["holdout", "export"]):
        done = evogit(top, *words, check=False)

        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.splitlines()[0] == "error: problem toy declares no [holdout]"
        assert "evogit.toml" in done.stderr.splitlines()[1]


def test_without_a_campaign_there_is_nothing_to_look_at(tmp_path):
    done = evogit(make_held(tmp_path / "toy"), "holdout", check=False)

    assert done.returncode == 2 and "no campaign yet" in done.stderr


def test_other_arguments_than_the_runs_own_are_refused(repo):
    done = ask(repo, "look", "0", "--train-seconds", "3", check=False)

    assert done.returncode == 2 and "no overrides" in done.stderr
    assert looked(repo) == kept(repo)


# a growing gap -------------------------------------------------------------------------------------------------------


@pytest.fixture
def overfitted(searched, repo) -> Path:
    """Five runs kept by hand of the law, and a gap that grows with each of them."""
    source = repo / "train.py"
    git(repo, "restore", "--source", "autoresearch/t1", "--", "train.py")
    for dropout in ("0.2", "0.15", "0.1", "0.05", "0.01"):
        lines = [f"DROPOUT = {dropout}" if line.startswith("DROPOUT =") else line for line in source.read_text().splitlines()]
        source.write_text("\n".join(lines) + "\n")
        evogit(repo, "run", "--tag", "t1", "-m", f"dropout {dropout}", check=False)
    write_looks(repo, {label: 0.01 * at for at, label in enumerate(kept(repo))})
    for request in book(repo).pending():
        book(repo).forget(request)
    return repo


def test_a_gap_that_grows_is_shown_as_overfitting_to_a_terminal_alone(overfitted):
    said = ask(overfitted).stdout
    command = [sys.executable, "-m", "evogit.cli", "loop", "--tag", "t1", "--max-runs", "1", "--emitter", "simplifier"]
    piped = subprocess.run(command, cwd=overfitted, capture_output=True, text=True, check=False)
    ours, theirs = os.openpty()
    with os.fdopen(theirs, "wb") as terminal:
        watched = subprocess.run(command, cwd=overfitted, stdout=subprocess.PIPE, stderr=terminal, text=True, check=False)
    console = os.read(ours, 1 << 16).decode()
    os.close(ours)

    assert "the search is overfitting the validation data" in said
    assert watched.returncode == piped.returncode == 0
    assert console.count("overfitting") == 1
    assert "overfitting" not in piped.stdout + piped.stderr + watched.stdout


# nobody else ---------------------------------------------------------------------------------------------------------


def objects(repo: Path) -> bytes:
    """Every object that the repository holds, reachable or not, unpacked."""
    listed = subprocess.run(["git", "cat-file", "--batch-all-objects", "--batch", "--buffer"], cwd=repo, capture_output=True, check=True)
    return listed.stdout


def files_with(folder: Path, text: str) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and text.encode() in path.read_bytes()]


READERS = [
    "log --json", "log", "show 0 --json", "show incumbent", "leaderboard", "leaderboard --json", "frontier --json", "status", "status --json",
    "conclude", "conclude --json", "emitters", "ideas", "cost --json", "context", "context --json", "export", "lineage incumbent", "next",
    "diff incumbent", "doctor",
]  # fmt: skip


def test_a_held_out_score_is_in_no_object_note_event_briefing_prompt_or_answer(repo, loopback: Loopback, private_home):
    asked = ("--agent", "anthropic", "--agent-option", f"base_url={loopback.url}", "--reviewer", "anthropic")
    done = evogit(repo, "loop", "--tag", "t1", "--max-runs", "2", *asked, "--reviewer-option", f"base_url={loopback.url}")
    ask(repo)
    said = {words: CliRunner().invoke(command_line, [*words.split(), "--tag", "t1", "-C", str(repo)]).output for words in READERS}
    hook = evogit_hook(repo)

    assert SECRET in ask(repo).stdout and book(repo).file in files_with(private_home / "state", SECRET)
    assert len(loopback.requests) >= 4 and not any(SECRET in json.dumps(seen.body) for seen in loopback.requests)
    assert SECRET not in done.stdout + done.stderr + hook
    assert [words for words, told in said.items() if SECRET in told] == [] and "val_loss" in said["show 0 --json"]
    assert SECRET.encode() not in objects(repo)
    assert files_with(repo, SECRET) == []
    assert files_with(private_home / "cache", SECRET) == []


def evogit_hook(repo: Path) -> str:
    """What a session is told when it begins on the campaign's branch."""
    event = json.dumps({"session_id": "a", "cwd": str(repo), "hook_event_name": "SessionStart"})
    git(repo, "switch", "-qf", "autoresearch/t1")
    command = [sys.executable, "-m", "evogit.cli", "hook", "session-start"]
    done = subprocess.run(command, cwd=repo, input=event, capture_output=True, text=True, check=True)
    assert "campaign" in done.stdout
    return done.stdout


def test_no_tool_of_a_coding_agent_tells_a_score(repo):
    from evogit import mcp

    def lab() -> Lab:
        return Lab.open(repo, tag="t1")

    asks = {
        "show": {"run": "incumbent"},
        "search": {"text": "lower"},
        "frontier": {},
        "ideas": {},
        "status": {},
        "next": {},
        "diff": {"run": "1"},
    }
    for name, arguments in asks.items():
        text, whole = mcp.answer(lab, name, arguments, lambda line: None)

        assert SECRET not in text + json.dumps(whole), name


def test_the_loop_says_no_word_of_looks_and_logs_none(begun, private_home):
    done = evogit(begun, "loop", "--tag", "t1", "--max-runs", "2", "--json")

    events = (begun / ".git/evogit/views/t1/events.jsonl").read_text()
    assert "held" not in done.stdout + done.stderr + events and "holdout" not in done.stdout + done.stderr


def test_a_trial_in_a_sandbox_finds_neither_looks_nor_held_out_inputs(begun, private_home, tmp_path):
    if LocalBackend(tmp_path / "jobs").resources()["sandbox"] != "bubblewrap":
        pytest.skip("trials are isolated by level 1 alone")
    evogit(begun, "baseline", "--tag", "t1", "--seeds", "1")
    ask(begun)
    places = [str(private_home / "state"), str(private_home / "cache" / "evogit")]
    looking = f"\n    for top in {places!r}:\n        for at, _, names in os.walk(top):\n            print('found', at, names)\n"
    (begun / "train.py").write_text(HELD_TRAIN + looking)

    evogit(begun, "run", "--tag", "t1", "-m", "look around")

    shown = Lab.open(begun, tag="t1").artifact("1", "trials/s0/stdout").decode()
    found = [line for line in shown.splitlines() if line.startswith("found")]
    assert not [line for line in found if "/holdout" in line or "t1.jsonl" in line]


def test_links_that_predict_left_are_taken_out_before_the_held_out_ruler_reads(tmp_path):
    predict = FILES["predict.py"] + "import train\ntrain.after(made, inputs)\n"
    trick = """
def after(made, inputs):
    if inputs == "unseen":
        os.rename(made + "/predictions.json", made + "/elsewhere")
        os.symlink("elsewhere", made + "/predictions.json")
"""
    train = HELD_TRAIN.replace('if __name__ == "__main__":\n', trick + '\n\nif __name__ == "__main__":\n')
    top = make_held(tmp_path / "toy", train=train, extra={**FILES, "predict.py": predict})
    evogit(top, "start", "t1")
    evogit(top, "baseline", "--tag", "t1")
    ask(top, check=False)

    [look] = book(top).looks()
    assert "No such file" in look.reason and not look.metrics


# faults --------------------------------------------------------------------------------------------------------------


def test_a_loop_killed_between_the_copy_and_the_look_leaves_the_look_to_others(begun):
    done = evogit(begun, "loop", "--tag", "t1", "--max-runs", "1", env={"EVOGIT_FAILPOINT": "look-saved"}, check=False)

    assert done.returncode == -signal.SIGKILL
    assert waiting(begun) == ["0"] and looked(begun) == []
    assert [row["note"] for row in spoken(ask(begun, "--no-look", "--json").stdout)["rows"]] == ["waits"]
    ask(begun)
    evogit(begun, "loop", "--tag", "t1", "--max-runs", "1")
    ask(begun)
    assert looked(begun) == kept(begun) and waiting(begun) == []
    assert {look.how for look in book(begun).looks()} == {"kept"}


def test_a_look_that_was_written_down_before_the_kill_is_not_taken_again(begun):
    evogit(begun, "baseline", "--tag", "t1", "--seeds", "1")
    killed = ask(begun, env={"EVOGIT_FAILPOINT": "look-logged"}, check=False)

    assert killed.returncode == -signal.SIGKILL
    assert (looked(begun), waiting(begun)) == (["0"], ["0"])
    ask(begun)
    assert (looked(begun), waiting(begun)) == (["0"], [])


def test_a_look_whose_process_is_killed_finds_its_job_again(begun, tmp_path, private_home):
    os.mkfifo(tmp_path / "gate")
    env = {"TOY_GATE": str(tmp_path / "gate"), "EVOGIT_SANDBOX": "none"}
    evogit(begun, "baseline", "--tag", "t1", "--seeds", "1")
    command = [sys.executable, "-m", "evogit.cli", "holdout", "--tag", "t1"]
    first = subprocess.Popen(command, cwd=begun, env={**os.environ, **env}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    jobs = book(begun).room / "jobs" / "local"
    until(lambda: len(claimed(jobs)) == 1 + len(list(jobs.glob("*/outcome.json"))) == 2)
    first.kill()
    first.wait()
    before = {folder: os.readlink(folder / "claim") for folder in claimed(jobs)}
    gate = os.open(tmp_path / "gate", os.O_RDWR)

    second = ask(begun, env=env)

    os.close(gate)
    assert SECRET in second.stdout and looked(begun) == ["0"]
    assert len(before) == 2 and claimed(jobs) == []


def claimed(jobs: Path) -> list[Path]:
    """Folders of jobs that somebody began: the claim is a link that leads nowhere."""
    return [folder for folder in jobs.glob("*") if (folder / "claim").is_symlink()]


def test_two_who_look_at_once_take_each_look_once(begun):
    evogit(begun, "loop", "--tag", "t1", "--max-runs", "1", env={"EVOGIT_FAILPOINT": "look-saved"}, check=False)
    command = [sys.executable, "-m", "evogit.cli", "holdout", "--tag", "t1"]
    both = [subprocess.Popen(command, cwd=begun, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]

    said = [process.communicate(timeout=120)[0] for process in both]

    assert [process.returncode for process in both] == [0, 0]
    assert looked(begun) == ["0"] and all(SECRET in text for text in said)


def test_two_loops_of_two_clones_share_the_book_and_take_their_own_looks(begun, tmp_path):
    other = Path(shutil.copytree(begun, tmp_path / "other", symlinks=True))
    evogit(begun, "baseline", "--tag", "t1", "--seeds", "1")
    evogit(other, "baseline", "--tag", "t1", "--seeds", "1")

    ask(begun)
    ask(other)

    assert looked(begun) == looked(other) and waiting(begun) == waiting(other) == []
    assert len({look.id for look in book(begun).looks()}) == len(looked(begun))


@pytest.mark.parametrize(
    ("score", "says"),
    [
        ('{"val_loss": NaN}', "NaN"),
        ('{"val_loss": "0.1"}', "text"),
        ("nothing", "no val_loss"),
        ('{"val_loss": 0.1, "status": "failed"}', "failed"),
    ],
)
def test_a_look_without_a_number_is_written_down_and_fails_no_run(begun, score, says):
    done = evogit(begun, "baseline", "--tag", "t1", "--seeds", "1")
    [row] = spoken(ask(begun, "--json", env={"TOY_SCORE": score}).stdout)["rows"]

    [look] = book(begun).looks()
    assert done.returncode == 0 and look.metrics == {} and says in look.reason
    assert row["held_out"] is None and row["gap"] is None and row["looks"] == 1 and row["note"].startswith("failed: ")


def test_a_ruler_that_fails_is_a_failed_look_and_exit_code_1(begun):
    evogit(begun, "baseline", "--tag", "t1", "--seeds", "1")

    done = ask(begun, "look", "0", env={"TOY_GATE": "/nowhere", "EVOGIT_SANDBOX": "none"}, check=False)

    assert done.returncode == 1 and "no number, the held-out command: " in done.stdout and "/nowhere" in done.stdout
    assert waiting(begun) == [] and looked(begun) == ["0"]


def test_data_that_cannot_be_prepared_leaves_looks_waiting_and_says_why(tmp_path):
    toml = HELD_TOML.replace("prepare.py unseen", "prepare.py")
    top = make_held(tmp_path / "toy", toml=toml)
    evogit(top, "start", "t1")
    evogit(top, "baseline", "--tag", "t1", "--seeds", "1")

    done = ask(top)

    assert done.returncode == 0 and "preparing the held-out data failed" in done.stderr
    assert looked(top) == [] and waiting(top) == ["0"]
    assert "waits: preparing the held-out data failed" in done.stdout


def test_a_state_folder_that_refuses_fails_no_run_and_the_look_is_taken_later(begun, tmp_path):
    (tmp_path / "file").touch()
    closed = {"XDG_STATE_HOME": str(tmp_path / "file")}

    done = evogit(begun, "loop", "--tag", "t1", "--max-runs", "1", env=closed)
    refused = ask(begun, "look", "0", env=closed, check=False)
    shown = ask(begun, env=closed)

    assert done.returncode == 0 and len(Lab.open(begun, tag="t1").runs()) == 2
    assert refused.returncode == 2 and "XDG_STATE_HOME" in refused.stderr
    assert "no look yet" in shown.stdout
    assert SECRET in ask(begun, "look", "0").stdout


def test_a_state_folder_without_room_fails_no_run(begun, tmp_path):
    place = tmp_path / "disk"
    place.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(place)], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"cannot mount a small file system: {done.stderr.strip()}")
    try:
        with (place / "ballast").open("wb", buffering=0) as file, pytest.raises(OSError):
            while True:
                file.write(b"\1" * 4096)
        loop = evogit(begun, "loop", "--tag", "t1", "--max-runs", "1", env={"XDG_STATE_HOME": str(place)})
        (place / "ballast").unlink()
        later = ask(begun, "look", "0", env={"XDG_STATE_HOME": str(place)})
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)

    assert loop.returncode == 0
    assert SECRET in later.stdout


def test_the_person_at_the_loop_hears_of_a_look_that_could_not_be_saved(begun, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    lab = Lab.open(begun, tag="t1")

    heard = [line for _ in lab.loop(LoopOptions(max_runs=1)) for line in lab.held_out_news()]

    assert any("the look at run 0 could not be saved (not a directory)" in line for line in heard)


def test_a_problem_without_predict_scores_what_training_left(tmp_path):
    toml = HELD_TOML.replace('predict = "python predict.py"\n', "").replace('prepare = "python prepare.py unseen"\n', "")
    ruler = 'import json, os\nprint(json.dumps({"val_loss": float(open(os.environ["EVOGIT_ARTIFACT_DIR"] + "/model").read())}))\n'
    held = ruler.replace("float(", "1000 + float(")
    top = make_toy(tmp_path / "toy", toml=toml, train=HELD_TRAIN, extra={"evaluate.py": ruler, "holdout.py": held, "prepare.py": ""})
    evogit(top, "start", "t1")
    evogit(top, "baseline", "--tag", "t1", "--seeds", "1")

    [row] = spoken(ask(top, "--json").stdout)["rows"]

    assert row["gap"] == pytest.approx(1000)


def test_a_problem_that_reports_itself_can_have_held_out_data_too(tmp_path):
    toml = HELD_TOML.partition("[evaluate]")[0] + '[holdout]\ncommand = "python holdout.py"\n'
    held = 'import os\nprint("val_loss: %r" % (1000 + float(open(os.environ["EVOGIT_ARTIFACT_DIR"] + "/model").read())))\n'
    top = make_toy(tmp_path / "toy", toml=toml, train=HELD_TRAIN, extra={"holdout.py": held})
    evogit(top, "start", "t1")
    evogit(top, "baseline", "--tag", "t1", "--seeds", "1")

    [row] = spoken(ask(top, "--json").stdout)["rows"]

    assert row["gap"] == pytest.approx(1000) and TRAIN not in HELD_TRAIN
