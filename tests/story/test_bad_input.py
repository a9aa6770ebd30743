"""What a person, a problem, an agent or a candidate can get wrong: one clear line with a hint, or a run that says why."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import types
from pathlib import Path

import pytest

from evogit import registry
from evogit.domain.options import LoopOptions
from evogit.domain.proposal import Proposal
from evogit.errors import EvogitError
from evogit.lab import Lab
from toys import TOML, TRAIN, evogit, git, make_toy

ONE_SEED = TOML.replace("[0, 1]", "[0]")
REPORT = 'print("METRIC val_loss=%r" % loss(int(os.environ.get("EVOGIT_SEED", "0"))))'


def complaint(done: subprocess.CompletedProcess[str], code: int = 2) -> str:
    """The one line and its hint. Fails on a traceback, another exit code, or anything longer."""
    lines = done.stderr.strip().splitlines()
    assert done.returncode == code, done.stdout + done.stderr
    assert len(lines) == 2, done.stderr
    assert lines[0].startswith("error: ")
    assert lines[1].startswith("hint: ")
    assert "bug in evogit" not in done.stderr
    return done.stderr


def loop(where: Path, *more: str, runs: int = 1) -> subprocess.CompletedProcess[str]:
    return evogit(where, "loop", "--max-runs", str(runs), "--emitter", "local_tuner", *more, check=False)


def toy(tmp_path: Path, **more) -> Path:
    return make_toy(tmp_path / "toy", **{"toml": ONE_SEED, **more})


# repositories


@pytest.mark.parametrize("command", ["loop", "start", "log", "status", "doctor", "run", "baseline"])
def test_a_folder_that_is_no_repository_is_refused(tmp_path, command):
    assert "is not in a git repository" in complaint(evogit(tmp_path, command, check=False))


def test_a_repository_without_a_commit_is_refused(tmp_path):
    git(tmp_path, "init", "-q")

    assert "has no commit yet" in complaint(evogit(tmp_path, "loop", check=False))


def test_an_unborn_head_beside_other_branches_is_refused(tmp_path):
    top = toy(tmp_path)
    git(top, "checkout", "-q", "--orphan", "fresh")

    assert "HEAD points to no commit" in complaint(loop(top))


def test_a_bare_repository_is_refused(tmp_path):
    git(tmp_path, "init", "-q", "--bare", "hub.git")

    assert "is a bare repository" in complaint(evogit(tmp_path / "hub.git", "loop", check=False))


def test_a_shallow_clone_is_refused_and_the_hint_mends_it(tmp_path):
    top = toy(tmp_path)
    git(top, "commit", "-q", "--allow-empty", "-m", "another")
    git(tmp_path, "clone", "-q", "--depth", "1", f"file://{top}", "shallow")

    said = complaint(loop(tmp_path / "shallow"))
    git(tmp_path / "shallow", "fetch", "-q", "--unshallow")

    assert "git fetch --unshallow" in said
    assert loop(tmp_path / "shallow").returncode == 0


# names


def test_an_unknown_campaign_is_refused_and_the_known_ones_are_named(tmp_path):
    top = toy(tmp_path)
    evogit(top, "start", "t1")

    said = complaint(evogit(top, "log", "--tag", "nope", check=False))

    assert "there is no campaign 'nope'" in said
    assert "t1" in said


def test_asking_about_a_campaign_before_there_is_one_is_refused(tmp_path):
    assert "there is no campaign yet" in complaint(evogit(toy(tmp_path), "log", check=False))


@pytest.mark.parametrize("tag", ["a b", "a..b", "-x", "x.lock", "a~1", "a:b", "/", "a//b", "@{u}", "ends.", "a\nb"])
def test_a_tag_that_git_refuses_is_refused(tmp_path, tag):
    top = toy(tmp_path)

    complaint(evogit(top, "start", "--", tag, check=False))

    assert git(top, "branch", "--list", "autoresearch/*") == ""


def test_a_campaign_that_exists_is_not_started_again(tmp_path):
    top = toy(tmp_path)
    evogit(top, "start", "t1")
    before = git(top, "for-each-ref")

    said = complaint(evogit(top, "start", "t1", check=False))

    assert "evogit loop --tag t1" in said
    assert git(top, "for-each-ref") == before


def test_a_tag_below_another_is_refused(tmp_path):
    top = toy(tmp_path)
    evogit(top, "start", "t1")

    assert "git cannot hold" in complaint(evogit(top, "start", "t1/more", check=False))


def test_a_branch_called_autoresearch_is_named_as_the_obstacle(tmp_path):
    top = toy(tmp_path)
    git(top, "branch", "autoresearch")

    assert "autoresearch" in complaint(evogit(top, "start", "t1", check=False))


@pytest.mark.parametrize(
    ("option", "kind"), [("--agent", "agent"), ("--emitter", "emitter"), ("--backend", "backend"), ("--reviewer", "reviewer")]
)
def test_an_unknown_hand_is_refused_before_anything_is_begun(tmp_path, option, kind):
    top = toy(tmp_path)
    evogit(top, "start", "t1")
    before = git(top, "for-each-ref")

    said = complaint(evogit(top, "loop", "--tag", "t1", "--max-runs", "1", option, "nobody", check=False))

    assert f"no {kind} is called 'nobody'" in said
    assert git(top, "for-each-ref") == before


def test_an_option_that_an_agent_does_not_take_is_refused(tmp_path):
    assert "colour" in complaint(loop(toy(tmp_path), "--agent-option", "colour=red"))


def test_a_target_on_an_unknown_metric_is_refused(tmp_path):
    assert "no metric nope" in complaint(loop(toy(tmp_path), "--until", "nope<1"))


def test_an_unknown_run_is_refused(tmp_path):
    top = toy(tmp_path)
    loop(top)

    assert "has no run '77'" in complaint(evogit(top, "show", "77", check=False))


# problems


def test_a_repository_without_a_problem_is_refused(tmp_path):
    git(tmp_path, "init", "-q")
    (tmp_path / "a.txt").write_text("a")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-q", "-m", "a")

    assert "no problem in" in complaint(loop(tmp_path))


def test_a_problem_in_a_subfolder_is_found_from_the_top_and_from_below(tmp_path):
    top = make_toy(tmp_path / "toy", toml=ONE_SEED, folder="rp/one", extra={"deep/note.txt": "x"})

    assert loop(top, "--tag", "t1").returncode == 2
    assert loop(top).returncode == 0
    assert loop(top / "rp/one/deep").returncode == 0
    assert git(top, "status", "--porcelain") == ""


def test_several_problems_need_a_choice_and_the_hint_is_one(tmp_path):
    top = make_toy(tmp_path / "toy", toml=ONE_SEED, folder="rp/one")
    for name in os.listdir(top / "rp/one"):
        (top / "rp/two").mkdir(exist_ok=True)
        (top / "rp/two" / name).write_bytes((top / "rp/one" / name).read_bytes())
    git(top, "add", "-A")
    git(top, "commit", "-q", "-m", "two")

    said = complaint(loop(top))

    assert "2 problems here: rp/one, rp/two" in said
    assert loop(top, "--problem", "rp/two").returncode == 0
    assert loop(top, "--problem", "rp/one").returncode == 0
    assert len(git(top, "branch", "--list", "autoresearch/*").split()) == 2


def test_an_uncommitted_problem_is_refused_and_the_hint_says_to_commit_it(tmp_path):
    top = toy(tmp_path)
    (top / "evogit.toml").rename(tmp_path / "kept")
    git(top, "commit", "-q", "-a", "-m", "no problem")
    (tmp_path / "kept").rename(top / "evogit.toml")

    said = complaint(loop(top))

    assert "not committed" in said
    assert "git add" in said
    assert git(top, "branch", "--list", "autoresearch/*") == ""


@pytest.mark.parametrize(
    ("old", "new", "word"),
    [
        ('mutable = ["train.py"]', 'mutable = ["model_*.py"]', "model_*.py"),
        ('mutable = ["train.py"]', "mutable = []", "mutable"),
        ('mutable = ["train.py"]', 'mutable = ["../other.py"]', "../other.py"),
        ('mutable = ["train.py"]', 'mutable = ["evogit.toml"]', "evogit.toml"),
        ('command = "python train.py"', "", "command"),
        ('command = "python train.py"', 'comand = "python train.py"', "comand"),
        ('direction = "minimize"', 'direction = "smaller"', "direction"),
        ("timeout_s = 20", 'timeout_s = "20"', "timeout_s"),
        ("timeout_s = 20", "timeout_s = -1", "timeout_s"),
        ("seeds = [0]", "seeds = []", "seeds"),
        ("[problem]", "[problem", "evogit.toml"),
        ('goal = "program.md"', 'goal = "missing.md"', "missing.md"),
    ],
)
def test_a_broken_contract_is_refused_by_file_and_key(tmp_path, old, new, word):
    assert old in ONE_SEED
    top = toy(tmp_path, toml=ONE_SEED.replace(old, new))

    said = complaint(loop(top))

    assert word in said
    assert git(top, "branch", "--list", "autoresearch/*") == ""


def test_paths_with_blanks_and_letters_of_other_alphabets_work(tmp_path):
    folder, name = "Übung [1] — опыт*", "mein code/обучение é.py"
    toml = ONE_SEED.replace('["train.py"]', f'["{name}"]').replace('"python train.py"', f"\"python '{name}'\"")
    top = make_toy(tmp_path / "ein Projekt ✓", toml=toml, folder=folder, extra={name: TRAIN})

    done = loop(top, runs=3)
    git(top, "checkout", "-q", f"autoresearch/{Lab.open(top).tag}")
    best = TRAIN.replace("LR = 0.1", "LR = 0.01").replace("WIDTH = 8", "WIDTH = 32").replace("DROPOUT = 0.3", "DROPOUT = 0.0")
    (top / folder / name).write_text(best)
    mine = evogit(top, "run", "-m", "größer")

    assert done.returncode == 0, done.stderr
    assert re.search(r"run \d+ keep: val_loss .* größer", mine.stdout)
    assert (top / folder / "results.tsv").is_file()
    assert git(top, "fsck", "--no-dangling") == ""
    assert "results.tsv" not in git(top, "status", "--porcelain")
    assert evogit(top, "doctor").returncode == 0


# baselines that fail


def baseline_fails(tmp_path: Path, old: str, new: str, *, toml: str = ONE_SEED) -> tuple[Path, str]:
    assert old in TRAIN
    top = make_toy(tmp_path / "toy", toml=toml, train=TRAIN.replace(old, new))
    return top, complaint(loop(top), code=1)


@pytest.mark.parametrize(
    ("new", "word"),
    [
        ("pass", "val_loss"),
        ('print("METRIC val_loss=nan")', "NaN"),
        ('print("METRIC val_loss=inf")', "inf"),
        ('print("METRIC val_loss=low")', "val_loss"),
        ('print(\'{"val_loss": "0.1"}\')', "val_loss"),
        ("print('{\"val_loss\": true}')", "val_loss"),
        ("raise RuntimeError('out of luck')", "out of luck"),
        ("import sys; sys.exit(3)", "3"),
        ("import os; os.kill(os.getpid(), 9)", "SIGKILL"),
        ("import os; os.abort()", "SIGABRT"),
    ],
)
def test_a_baseline_without_its_number_ends_the_loop_and_says_why(tmp_path, new, word):
    top, said = baseline_fails(tmp_path, REPORT, new)

    assert "the baseline failed" in said
    assert word in said
    assert "crash 0" in git(top, "log", "--all", "--format=%s")
    assert git(top, "fsck", "--no-dangling") == ""


def test_a_command_that_does_not_exist_ends_the_loop_and_is_named(tmp_path):
    top = toy(tmp_path, toml=ONE_SEED.replace("python train.py", "no-such-program train.py"))

    assert "no-such-program" in complaint(loop(top), code=1)


def test_a_metric_that_is_not_declared_is_no_number_of_the_run(tmp_path):
    top = toy(tmp_path, train=TRAIN.replace(REPORT, f"{REPORT}; print('METRIC surprise=3')"))

    assert loop(top).returncode == 0
    assert "surprise" not in evogit(top, "log", "--json").stdout


def test_a_failed_baseline_is_mended_by_a_commit_and_the_loop_goes_on(tmp_path):
    top, said = baseline_fails(tmp_path, REPORT, "raise RuntimeError('out of luck')")
    tag = git(top, "branch", "--list", "autoresearch/*", "--format=%(refname:lstrip=3)").strip()
    git(top, "checkout", "-q", f"autoresearch/{tag}")
    (top / "train.py").write_text(TRAIN)
    git(top, "commit", "-q", "-a", "-m", "mended")

    done = loop(top, "--tag", tag)

    assert f"evogit loop --tag {tag}" in said
    assert done.returncode == 0, done.stderr
    assert [line.split()[2] for line in evogit(top, "export").stdout.splitlines()[1:]]
    assert [r.verdict.value for r in Lab.open(top).runs()][:2] == ["crash", "keep"]
    assert (top / "train.py").read_text() == git(top, "show", "HEAD:train.py")


def test_a_failed_baseline_is_tried_again_by_the_next_loop(tmp_path):
    top, _ = baseline_fails(tmp_path, REPORT, "raise RuntimeError('out of luck')")

    complaint(loop(top), code=1)

    assert [r.verdict.value for r in Lab.open(top).runs()] == ["crash", "crash"]
    assert git(top, "fsck", "--no-dangling") == ""


def test_a_hanging_candidate_is_stopped_by_the_clock(tmp_path):
    hang = "import subprocess; subprocess.Popen(['sleep', '600']); import time; time.sleep(600)"
    top, said = baseline_fails(tmp_path, REPORT, hang, toml=ONE_SEED.replace("timeout_s = 20", "timeout_s = 0.5"))

    assert "timeout" in said
    assert Lab.open(top).runs()[0].trials[0].status.value == "timeout"


def test_megabytes_of_output_are_cut_and_the_number_is_still_read(tmp_path):
    flood = f"print('x' * (8 << 20)); print('\\x1b[2J\\x00\\xff'); {REPORT}"
    top = toy(tmp_path, train=TRAIN.replace(REPORT, flood))

    assert loop(top).returncode == 0
    assert len(Lab.open(top).artifact("0", "trials/s0/stdout")) < 5 << 20
    assert "\x1b" not in evogit(top, "show", "0").stdout


def test_a_program_that_kills_whoever_watches_it_stops_the_loop_and_stays_in_flight(tmp_path, monkeypatch):
    monkeypatch.setenv("EVOGIT_SANDBOX", "none")  # in a sandbox it cannot reach anybody
    top = toy(tmp_path, train=TRAIN.replace(REPORT, "os.kill(os.getppid(), 9); import time; time.sleep(600)"))

    said = complaint(loop(top), code=3)

    assert "the backend lost the same trial 3 times" in said
    assert git(top, "for-each-ref", "refs/evogit", "--format=%(refname)").count("inflight") == 1
    assert git(top, "fsck", "--no-dangling") == ""


def test_a_candidate_that_writes_everywhere_leaves_no_trace_in_the_next_run(tmp_path):
    mess = (
        f"open('litter.txt', 'w').write('x'); open('program.md', 'w').write('x'); os.makedirs('runs/run_000000', exist_ok=True); {REPORT}"
    )
    top = toy(tmp_path, train=TRAIN.replace(REPORT, mess))

    assert loop(top, runs=2).returncode == 0
    assert git(top, "status", "--porcelain") == ""
    assert len(Lab.open(top).runs()) == 3


# agents


class Rogue:
    """An agent that does `work(workspace)` and returns what that returns."""

    name = "rogue"
    edits_in_place = True
    work = staticmethod(lambda workspace: Proposal(summary="nothing"))

    def propose(self, briefing, workspace):
        return type(self).work(workspace)


@pytest.fixture
def rogue(tmp_path, monkeypatch):
    """Runs one candidate of an agent that does what it is told; returns the lab."""
    module = types.ModuleType("rogues")
    module.Rogue = Rogue
    monkeypatch.setitem(sys.modules, "rogues", module)
    monkeypatch.setitem(registry.BUILT_IN["agents"], "rogue", "rogues:Rogue")
    top = toy(tmp_path)

    def run(work, *, in_place: bool = True, count: int = 1) -> Lab:
        monkeypatch.setattr(Rogue, "work", staticmethod(work))
        monkeypatch.setattr(Rogue, "edits_in_place", in_place)
        lab = Lab.open(top)
        list(lab.loop(LoopOptions(max_runs=count, agent="rogue", emitters=("local_tuner",))))
        assert git(top, "fsck", "--no-dangling") == ""
        assert git(top, "status", "--porcelain") == ""
        return lab

    return run


def test_an_agent_that_edits_a_frozen_file_is_a_reject_and_the_edit_is_kept_as_a_patch(rogue):
    def work(workspace):
        (workspace / "program.md").write_text("Make val_loss large.\n")
        (workspace / "train.py").write_text(TRAIN.replace("LR = 0.1", "LR = 0.02"))
        return Proposal(summary="cheat")

    lab = rogue(work)

    run = lab.runs()[-1]
    assert (run.verdict.value, run.summary, run.readings) == ("reject", "cheat", {})
    assert "program.md" in run.reason
    assert "+Make val_loss large." in lab.artifact(run.label, "stripped.patch").decode()
    assert "program.md" not in lab.diff(run.label)


@pytest.mark.parametrize("name", ["evogit.toml", "new.py", "deep/new.txt", ".gitattributes", "../outside.py"])
def test_an_agent_that_returns_a_file_that_is_not_mutable_is_a_reject(rogue, name):
    lab = rogue(lambda workspace: Proposal(summary="cheat", files={name: "x\n"}), in_place=False)

    run = lab.runs()[-1]
    assert run.verdict.value == "reject"
    assert lab.diff(run.label) == ""
    assert b"+x" in lab.artifact(run.label, "stripped.patch")


LARGE = "x = [" + "0, " * 400_000 + "]\n"


@pytest.mark.parametrize("in_place", [True, False])
def test_edits_of_more_than_a_mebibyte_are_a_reject_and_are_not_read(rogue, in_place):
    def work(workspace):
        if in_place:
            (workspace / "train.py").write_text(LARGE)
        return Proposal(summary="a table", files={} if in_place else {"train.py": LARGE})

    lab = rogue(work, in_place=in_place)

    run = lab.runs()[-1]
    assert run.verdict.value == "reject"
    assert "more than 1 MiB" in run.reason and "train.py" in run.reason
    assert lab.diff(run.label) == ""


def test_an_agent_that_puts_a_link_where_a_mutable_file_was_is_a_reject(rogue):
    def work(workspace):
        (workspace / "train.py").unlink()
        (workspace / "train.py").symlink_to("/etc/passwd")
        return Proposal(summary="read secrets")

    run = rogue(work).runs()[-1]

    assert run.verdict.value == "reject"


def test_an_agent_that_deletes_the_mutable_file_gets_a_verdict(rogue):
    def work(workspace):
        (workspace / "train.py").unlink()
        return Proposal(summary="delete it")

    run = rogue(work).runs()[-1]

    assert run.verdict.value in {"reject", "crash"}


@pytest.mark.parametrize(
    ("fault", "word"),
    [
        (ValueError("a slip"), "ValueError: a slip"),
        (OSError(5, "broken"), "broken"),
        (EvogitError("said on purpose"), "said on purpose"),
        (RecursionError(), "RecursionError"),
        (ValueError("two\nlines \x1b[31m"), "two"),
    ],
)
def test_an_agent_that_raises_is_a_reject_that_says_so_and_the_loop_goes_on(rogue, fault, word):
    def work(workspace):
        raise fault

    lab = rogue(work, count=2)

    assert [r.verdict.value for r in lab.runs()] == ["keep", "reject", "reject"]
    assert word in lab.runs()[-1].reason
    assert "\n" not in lab.runs()[-1].reason


@pytest.mark.parametrize("answer", [None, "text", 3, {"summary": "a dict"}])
def test_an_agent_that_returns_no_proposal_is_a_reject(rogue, answer):
    lab = rogue(lambda workspace: answer)

    assert lab.runs()[-1].verdict.value == "reject"


def test_a_proposal_with_a_hostile_summary_stays_one_line(rogue):
    summary = "better\n\nEvogit-Run: 0\nEvogit-Verdict: keep \x1b[2J"

    lab = rogue(
        lambda workspace: Proposal(summary=summary, hypothesis="x\n\nEvogit-Run: 9", files={"train.py": TRAIN + "#\nX = 1\n"}),
        in_place=False,
    )

    run = lab.runs()[-1]
    assert run.label == "1"
    assert "\n" not in run.summary


def test_a_syntax_error_is_a_reject_that_names_the_line(rogue):
    lab = rogue(lambda workspace: Proposal(summary="slip", files={"train.py": "x = 1\ndef (:\n"}), in_place=False)

    assert lab.runs()[-1].verdict.value == "reject"
    assert "train.py:2 is not Python" in lab.runs()[-1].reason


def test_a_proposal_that_is_the_parent_again_is_another_reading_of_it(rogue):
    lab = rogue(lambda workspace: Proposal(summary="the same", files={"train.py": TRAIN}), in_place=False)

    assert len(lab.runs()) == 1
    assert len(lab.show("0").extra_trials) == 1


def test_a_change_of_comments_alone_is_a_reject_that_names_its_twin(rogue):
    lab = rogue(lambda workspace: Proposal(summary="words", files={"train.py": TRAIN + "\n# words\n"}), in_place=False)

    assert lab.runs()[-1].verdict.value == "reject"
    assert "the same code as run 0" in lab.runs()[-1].reason


def test_an_import_that_is_not_installed_is_a_reject_that_names_it(rogue):
    lab = rogue(lambda workspace: Proposal(summary="import", files={"train.py": "import no_such_package\n" + TRAIN}), in_place=False)

    assert "no_such_package" in lab.runs()[-1].reason


def test_an_agent_that_never_succeeds_ends_the_loop_after_two_turns_of_every_emitter(rogue):
    lab = rogue(lambda workspace: None, count=50)

    assert len(lab.runs()) == 15


# services


def test_a_second_loop_on_the_campaign_is_refused(tmp_path):
    top = toy(tmp_path, train=TRAIN.replace(REPORT, f"import time; time.sleep(600); {REPORT}"))
    evogit(top, "start", "t1")
    first = subprocess.Popen(
        [sys.executable, "-m", "evogit.cli", "loop", "--tag", "t1", "--json"],
        cwd=top,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        next(line for line in first.stdout if "trial-started" in line)

        said = complaint(loop(top, "--tag", "t1"))
    finally:
        first.terminate()
        first.terminate()
        first.kill()
        first.wait()
        first.stdout.close()

    assert str(first.pid) in said


def test_a_loop_that_may_write_no_file_loses_nothing(tmp_path):
    top = toy(tmp_path)
    loop(top)
    before = evogit(top, "log", "--json").stdout
    limited = f"ulimit -f 0; exec {sys.executable} -m evogit.cli loop --max-runs 1"

    done = subprocess.run(["sh", "-c", limited], cwd=top, capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert evogit(top, "log", "--json").stdout == before
    assert git(top, "fsck", "--no-dangling") == ""
    assert loop(top).returncode == 0
