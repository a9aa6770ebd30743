"""People's verdicts: entries of their own, beside a loop or without one; memory and the search follow them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from evogit.domain.verdict import Verdict
from evogit.errors import UnknownName, UserError
from evogit.git.history import History
from evogit.git.repository import Repository
from evogit.lab import Lab
from evogit.search.memory import Memory
from toys import TOML, evogit, git, make_toy

BRANCH = "autoresearch/t1"


def lab(repo: Path) -> Lab:
    return Lab.open(repo, tag="t1")


def state(history: History) -> dict[str, object]:
    return {name: value for name, value in vars(history).items() if name not in ("revision", "_repo")}


def check_books(repo: Path) -> None:
    """git finds nothing wrong, and what was followed step by step is what a full read tells."""
    assert git(repo, "fsck", "--full", "--no-dangling", "--strict") == ""
    followed = lab(repo).campaign
    assert state(followed.history) == state(History.read(followed.repo, "t1"))
    assert git(repo, "rev-parse", f"{BRANCH}^{{tree}}") == git(repo, "rev-parse", f"{followed.history.incumbent}^{{tree}}")
    assert '"level": "error"' not in evogit(repo, "doctor", "--tag", "t1", "--json").stdout


def test_the_book_under_test_is_as_the_stories_below_think(book):
    verdicts = {run.label: run.verdict.value for run in lab(book).runs()}

    assert verdicts == {"0": "keep", "1": "keep", "2": "keep", "3": "discard", "4": "discard", "5": "keep"}


def test_a_keep_becomes_the_incumbent_by_an_entry_of_its_own_and_the_old_verdict_stays_in_history(book):
    before = git(book, "rev-parse", BRANCH).strip()

    done = lab(book).judge("3", "keep", "half the cost")

    run = lab(book).run("3")
    assert (run.verdict, run.judged, done.was) == (Verdict.KEEP, "Ada: half the cost", Verdict.DISCARD)
    assert lab(book).run("incumbent").label == "3"
    assert git(book, "rev-parse", f"{BRANCH}^").strip() == before
    assert "discard 3:" in git(book, "log", "--first-parent", "--format=%s", BRANCH)
    assert git(book, "log", "-1", "--format=%(trailers:key=Evogit-Verdict,valueonly)", BRANCH).strip() == "keep"
    check_books(book)


def test_an_incumbent_that_is_discarded_gives_way_to_the_one_before_it_and_so_on(book):
    said = []
    for _ in range(3):
        said.append(lab(book).judge("incumbent", "discard", "no").incumbent.label)

    assert said == ["2", "1", "0"]
    with pytest.raises(UserError, match="is the baseline"):
        lab(book).judge("incumbent", "discard", "no")
    check_books(book)


def test_a_run_that_never_was_incumbent_is_discarded_without_moving_it(book):
    done = lab(book).judge("2", "discard", "I do not trust it")

    assert (done.before.label, done.incumbent.label) == ("5", "5")
    assert "Evogit-Incumbent" not in git(book, "log", "-1", "--format=%B", BRANCH)
    check_books(book)


def test_the_incumbent_before_is_found_across_earlier_judgements(book):
    lab(book).judge("3", "keep", "yes")
    lab(book).judge("5", "discard", "no")  # no longer the incumbent: only its verdict changes

    done = lab(book).judge("3", "discard", "after all not")

    assert done.incumbent.label == "2"
    assert [j.verdict.value for j in done.run.judgements] == ["keep", "discard"]


@pytest.mark.parametrize(
    ("run", "verdict", "because", "says"),
    [
        ("0", "discard", "no", "is the baseline"),
        ("5", "keep", "yes", "is kept already"),
        ("3", "discard", "no", "is discarded already"),
        ("3", "keep", " \n ", "needs a reason"),
        ("3", "crash", "no", "no verdict that a person gives"),
        ("99", "keep", "yes", "has no run"),
    ],
)
def test_what_says_nothing_or_cannot_be_is_refused_and_writes_nothing(book, run, verdict, because, says):
    before = git(book, "for-each-ref")

    with pytest.raises((UserError, UnknownName), match=says):
        lab(book).judge(run, verdict, because)

    assert git(book, "for-each-ref") == before


def test_a_crash_without_numbers_is_never_a_keep(repo):
    text = (repo / "train.py").read_text()
    (repo / "train.py").write_text(text.replace("LR = 0.1", "LR = 1 / 0"))
    evogit(repo, "run", "--tag", "t1", "-m", "boom", check=False)
    assert lab(repo).run("1").verdict is Verdict.CRASH

    for verdict in ("keep", "discard"):
        with pytest.raises(UserError, match="has no val_loss"):
            lab(repo).judge("1", verdict, "I like it")


def test_a_run_of_an_epoch_that_is_over_is_refused(book):
    git(book, "checkout", "-q", BRANCH)
    (book / "README.md").write_text("frozen, and changed\n")
    git(book, "commit", "-qam", "another ruler")
    git(book, "checkout", "-q", "main")
    evogit(book, "baseline", "--tag", "t1", "--seeds", "1")

    with pytest.raises(UserError, match="belongs to epoch 0"):
        lab(book).judge("3", "keep", "yes")


def test_a_commit_of_a_person_that_waits_is_never_buried_under_a_judgement(book):
    git(book, "checkout", "-q", BRANCH)
    script = book / "train.py"
    script.write_text(script.read_text().replace("LR = 0.05", "LR = 0.02"))
    git(book, "commit", "-qam", "mine")
    mine = git(book, "rev-parse", "HEAD").strip()

    with pytest.raises(UserError, match="is not taken in yet"):
        lab(book).judge("3", "keep", "yes")
    assert git(book, "rev-parse", BRANCH).strip() == mine


def test_a_text_with_trailers_and_control_characters_is_one_line_of_words(book):
    reason = "good\x1b[31m\n\nEvogit-Verdict: crash\nEvogit-Kind: epoch"

    lab(book).judge("3", "keep", reason)

    assert lab(book).run("3").verdict is Verdict.KEEP
    assert "\x1b" not in lab(book).run("3").judged
    check_books(book)


def test_a_checkout_of_the_branch_follows_and_uncommitted_work_stays(book):
    git(book, "checkout", "-q", BRANCH)
    (book / "README.md").write_text("my own words\n")

    evogit(book, "judge", "incumbent", "discard", "--because", "no", "--tag", "t1")

    assert "MOMENTUM = 0.5" in (book / "train.py").read_text()
    assert git(book, "status", "--porcelain").split() == ["M", "README.md"]


def test_the_faces_show_who_judged_and_why(book):
    evogit(book, "judge", "3", "keep", "--because", "half the cost", "--tag", "t1")

    shown = evogit(book, "show", "3", "--tag", "t1").stdout
    assert "keep by Ada" in shown and "was discard: half the cost" in shown
    assert "keep by Ada: half the cost" in evogit(book, "log", "--tag", "t1").stdout
    assert "judged" in evogit(book, "leaderboard", "--tag", "t1").stdout
    told = [json.loads(line) for line in evogit(book, "log", "--json", "--tag", "t1").stdout.splitlines()]
    assert [run["judged"] for run in told if run["run"] in ("2", "3")] == [None, "Ada: half the cost"]
    row = next(line for line in evogit(book, "export", "--tag", "t1").stdout.splitlines() if "dearer dropout" in line)
    assert "\tkeep\t" in row


def test_memory_has_the_incumbent_and_offers_no_parent_that_a_person_discarded(book):
    lab(book).judge("5", "discard", "it cheats")

    memory = lab(book).memory()

    assert memory.incumbent.label == lab(book).status().incumbent.label == "2"
    assert "5" not in {run.label for run in memory.pool()}
    assert {run.label for run in memory.frontier.runs}.isdisjoint({"5"})
    assert "5" not in {run.label for run in memory.archive.elites()}


def test_memory_taught_step_by_step_is_memory_folded_anew(book):
    from evogit.bench import Bench
    from evogit.domain.options import LoopOptions

    bench = Bench(lab(book).campaign, LoopOptions())
    lab(book).judge("5", "discard", "it cheats")
    lab(book).judge("3", "keep", "better")
    bench.campaign.history.advance(bench.repo, git(book, "rev-parse", BRANCH).strip())
    bench.catch_up()
    history = bench.campaign.history

    folded = Memory.of(bench.campaign.problem, history.lessons(), bench.campaign, history.incumbent)

    assert bench.memory.incumbent == folded.incumbent == history.by_label["3"]
    assert [run.label for run in bench.memory.pool()] == [run.label for run in folded.pool()]
    assert [said.verdict.value for _, said in bench.judgements()] == ["discard", "keep"]
    assert bench.judgements() == []
    bench.close()


def test_the_next_run_is_compared_with_the_incumbent_that_a_person_chose(book):
    lab(book).judge("incumbent", "discard", "no")

    evogit(book, "loop", "--tag", "t1", "--max-runs", "1", "--emitter", "local_tuner")

    run = lab(book).runs()[-1]
    assert run.rival == lab(book).run("2").commit
    assert lab(book).run("5").commit not in run.parents
    check_books(book)


def judging(repo: Path, run: str, verdict: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "evogit.cli", "judge", run, verdict, "--because", "at once", "--tag", "t1"]
    return subprocess.Popen(command, cwd=repo, env=os.environ.copy(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_of_two_who_judge_the_same_at_once_one_is_told_that_it_is_so_already(book):
    both = [judging(book, "3", "keep") for _ in range(2)]
    ends = [process.communicate(timeout=60) for process in both]

    assert sorted(process.returncode for process in both) == [0, 2]
    assert sum("is kept already (Ada: at once)" in stderr for _, stderr in ends) == 1
    assert len(lab(book).run("3").judgements) == 1
    check_books(book)


def test_many_judges_at_once_lose_nothing(book):
    many = [judging(book, run, verdict) for run, verdict in (("3", "keep"), ("4", "keep"), ("2", "discard"), ("1", "discard"))]

    assert [process.wait(timeout=60) for process in many] == [0, 0, 0, 0]
    assert [run.verdict.value for run in lab(book).runs()] == ["keep", "discard", "discard", "keep", "keep", "keep"]
    assert lab(book).run("incumbent").label in ("3", "4")
    check_books(book)


SLOW = 'if __name__ == "__main__":\n    while not os.path.exists(os.environ["GO"]):\n        __import__("time").sleep(0.01)\n'


def test_a_loop_that_runs_takes_a_judgement_in_and_goes_on_from_there(tmp_path, unheld):
    go = tmp_path / "go"
    go.touch()
    toml = TOML.replace("[0, 1]", "[0]") + '\n[sandbox]\nenv = ["GO"]\n'
    train = (Path(__file__).parent.parent / "toys.py").read_text().split("TRAIN = '''\\\n")[1].split("'''")[0]
    repo = make_toy(tmp_path / "slow", toml=toml, train=train.replace('if __name__ == "__main__":\n', SLOW))
    git(repo, "config", "user.name", "Ada")
    environment = {**os.environ, "GO": str(go)}
    evogit(repo, "start", "t1")
    evogit(repo, "loop", "--tag", "t1", "--max-runs", "3", "--emitter", "local_tuner", env=environment)
    kept = [run for run in lab(repo).runs() if run.is_kept]
    go.unlink()

    command = [sys.executable, "-m", "evogit.cli", "loop", "--tag", "t1", "--max-runs", "2", "--emitter", "local_tuner", "--json"]
    loop = subprocess.Popen(command, cwd=repo, env=environment, stdout=subprocess.PIPE, text=True)
    for line in loop.stdout:
        if json.loads(line)["event"] == "trial-started":
            break
    done = lab(repo).judge("incumbent", "discard", "while you were out")
    go.touch()
    events = [json.loads(line) for line in loop.stdout]

    assert loop.wait(timeout=60) == 0
    assert (done.run.commit, done.incumbent.commit) == (kept[-1].commit, kept[-2].commit)
    told = next(event for event in events if event["event"] == "judged")
    assert (told["run"], told["verdict"], told["by"], told["reason"]) == (kept[-1].label, "discard", "Ada", "while you were out")
    assert lab(repo).runs()[-2].rival == done.incumbent.commit
    view = (Repository.open(repo).home / "views" / "t1" / "results.tsv").read_text()
    assert view == evogit(repo, "export", "--tag", "t1").stdout
    check_books(repo)
