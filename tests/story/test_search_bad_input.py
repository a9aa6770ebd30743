"""What goes wrong in the middle of a search: metrics that vanish, a problem that changes, nothing to edit, ideas that are none.

Each is said plainly, and the campaign goes on.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from evogit.domain.event import Warned
from evogit.domain.idea import IdeaStatus
from evogit.domain.options import LoopOptions
from evogit.domain.run import Run
from evogit.lab import Lab
from toys import TOML, TRAIN, evogit, git, make_toy

BRANCH = "autoresearch/t1"
ONE_SEED = TOML.replace("[0, 1]", "[0]")
NUMBER = 'int(os.environ["ACR_RUN_ID"].removeprefix("run_"))'
REPORT = '    print("METRIC val_loss=%r" % loss(int(os.environ.get("EVOGIT_SEED", "0"))))\n'
PARAMS = '    print("METRIC params=%d" % (WIDTH * 10))\n'
FORGETFUL = TRAIN.replace(PARAMS, f"    if {NUMBER} < 4:\n    {PARAMS}")
IDEAS = ("notes", "--ref=evogit/ideas")


def lab_of(top: Path) -> Lab:
    return Lab.open(top, tag="t1")


def runs(top: Path) -> list[Run]:
    return lab_of(top).runs()


def begun(tmp_path: Path, **more) -> Path:
    top = make_toy(tmp_path / "toy", **{"toml": ONE_SEED, **more})
    evogit(top, "start", "t1")
    return top


def loop(top: Path, count: int, *more: str) -> subprocess.CompletedProcess[str]:
    """A loop that ends well and says nothing but its events."""
    done = evogit(top, "loop", "--tag", "t1", "--max-runs", str(count), *more)
    assert "Traceback" not in done.stdout + done.stderr
    assert "\x1b" not in done.stdout + done.stderr
    return done


def warned(done: subprocess.CompletedProcess[str], words: str) -> list[str]:
    return [line for line in done.stdout.splitlines() if line.startswith("warning: ") and words in line]


def status(top: Path) -> dict:
    return json.loads(evogit(top, "status", "--tag", "t1", "--json").stdout)


def kinds(top: Path) -> list[str]:
    return [warning["kind"] for warning in status(top)["warnings"]]


def commit_on_the_branch(top: Path, name: str, old: str, new: str) -> None:
    git(top, "checkout", "-q", BRANCH)
    text = (top / name).read_text()
    assert old in text
    (top / name).write_text(text.replace(old, new, 1))
    git(top, "commit", "-q", "-am", f"another {name}")
    git(top, "checkout", "-q", "main")


# metrics that vanish


@pytest.fixture(scope="module")
def forgetful(tmp_path_factory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """Twelve runs of a script that reports params until run 3. Only read in these tests."""
    with pytest.MonkeyPatch.context() as patch:
        home = tmp_path_factory.mktemp("forgetful-home")
        patch.setenv("HOME", str(home))
        patch.setenv("XDG_CACHE_HOME", str(home / "cache"))
        (home / ".gitconfig").write_text("[user]\n\tname = Ada\n\temail = ada@example.org\n")
        top = begun(tmp_path_factory.mktemp("forgetful"), toml=TOML, train=FORGETFUL)
        return top, loop(top, 12)


def test_a_metric_that_is_reported_no_more_stops_nothing_and_is_told_once_by_a_loop(forgetful):
    top, done = forgetful

    (line,) = warned(done, "params is reported no more")
    assert "run 3 had it" in line
    assert "evogit show" in line and "--tag t1" in line
    assert all(bool(run.readings.get("params")) is (int(run.label) <= 3) for run in runs(top))
    assert all(run.is_measured for run in runs(top))


def test_status_goes_on_warning_of_a_metric_that_is_reported_no_more(forgetful):
    top, _ = forgetful

    (found,) = [warning for warning in status(top)["warnings"] if warning["kind"] == "metrics"]

    assert list(found) == ["kind", "message", "hint"]
    assert "params is reported no more" in found["message"]
    printed = evogit(top, "status", "--tag", "t1").stdout
    assert f"  ! {found['message']}\n    {found['hint']}\n" in printed


def test_runs_without_a_metric_are_ranked_by_the_one_they_have(forgetful):
    top, _ = forgetful
    lab = lab_of(top)

    best = lab.leaderboard()
    table = evogit(top, "leaderboard", "--tag", "t1").stdout.splitlines()

    assert [run.mean("val_loss") for run in best] == sorted(run.mean("val_loss") for run in runs(top))
    assert len(table) == 2 + len(best)  # a word on self-reported numbers, and the titles
    assert not best[0].readings.get("params")


def test_the_frontier_over_both_metrics_holds_runs_that_have_both_and_is_drawn(forgetful):
    top, _ = forgetful
    lab = lab_of(top)

    front = lab.frontier(("val_loss", "params"))

    assert front
    assert {run.label for run in front} <= {"0", "1", "2", "3"}
    assert [run.label for run in lab.frontier(("val_loss",))] == [lab.leaderboard()[0].label]
    assert "val_loss" in evogit(top, "frontier", "--tag", "t1").stdout


def test_a_candidate_that_does_not_report_the_primary_metric_is_a_crash_and_the_search_goes_on(tmp_path):
    top = begun(tmp_path, train=TRAIN.replace(REPORT, f"    if {NUMBER} not in (2, 3):\n    {REPORT}"))

    loop(top, 5, "--emitter", "local_tuner")

    found = runs(top)
    assert [run.verdict.value for run in found[2:4]] == ["crash", "crash"]
    assert all(run.crash.startswith("no-metric: ") and "val_loss" in run.crash for run in found[2:4])
    assert [run.is_measured for run in found[4:]] == [True, True]
    assert not {"2", "3"} & {run.label for run in lab_of(top).leaderboard()}


def test_the_same_crash_again_and_again_is_told_once_by_a_loop_and_stays_in_status(tmp_path):
    top = begun(tmp_path, train=TRAIN.replace(REPORT, f"    if {NUMBER} < 2:\n    {REPORT}"))

    done = loop(top, 9, "--emitter", "local_tuner")

    assert len(warned(done, "crash alike")) == 1
    assert "no-metric" in warned(done, "crash alike")[0]
    assert kinds(top) == ["noise", "crashes"]


# a problem that changes in mid-campaign


def test_a_direction_that_is_turned_round_opens_an_epoch_and_nothing_old_is_compared(tmp_path):
    top = begun(tmp_path)
    loop(top, 8)
    before = runs(top)
    taught = lab_of(top).memory()
    commit_on_the_branch(top, "evogit.toml", '"minimize"', '"maximize"')

    done = loop(top, 4, "--emitter", "local_tuner")

    lab = lab_of(top)
    new = lab.runs()[len(before) :]
    assert "a new epoch begins with run" in done.stdout
    assert lab.runs()[: len(before)] == before
    assert {run.epoch for run in before} == {0} and {run.epoch for run in new} == {1}
    assert (new[0].emitter, new[0].hypothesis) == ("baseline", "evogit.toml changed")
    assert [o["run"] for o in map(json.loads, evogit(top, "log", "--tag", "t1", "--json").stdout.splitlines())] == [
        run.label for run in (*before, *new)
    ]
    ranked = [run.mean("val_loss") for run in lab.leaderboard()]
    assert ranked == sorted((run.mean("val_loss") for run in new if run.mean("val_loss") is not None), reverse=True)
    assert {run.epoch for run in lab.frontier()} == {1}
    assert lab.run("incumbent").epoch == 1
    assert taught.conjectures.standing() or taught.portfolio.tally()


def test_what_was_learnt_before_a_new_epoch_is_not_believed_in_it(tmp_path):
    top = begun(tmp_path)
    loop(top, 12)
    taught = lab_of(top).memory()
    commit_on_the_branch(top, "evogit.toml", '"minimize"', '"maximize"')

    evogit(top, "baseline", "--tag", "t1", "--seeds", "1")

    lab = lab_of(top)
    memory = lab.memory()
    (baseline,) = [run for run in lab.runs() if run.epoch == 1]
    assert len(taught.recent) == 13 and sum(account.runs for account in taught.portfolio.tally()) == 12
    assert [run.label for run in memory.recent] == [baseline.label]
    assert (memory.conjectures.standing(), memory.dead_ends.closed(), memory.faults.signatures()) == ([], [], [])
    assert sum(account.runs for account in memory.portfolio.tally()) == 0
    assert memory.pool() == [memory.by_commit[baseline.commit]] == [memory.incumbent]
    assert not memory.ideas.all(IdeaStatus.QUEUED)
    assert set(memory.tried.values()) == set(taught.tried.values())  # what ran needs not run again


def test_status_says_which_runs_are_not_compared_and_keeps_their_count(tmp_path):
    top = begun(tmp_path)
    loop(top, 2)
    commit_on_the_branch(top, "evogit.toml", '"minimize"', '"maximize"')
    loop(top, 1)

    found = status(top)
    printed = evogit(top, "status", "--tag", "t1").stdout

    assert (found["epoch"], found["runs"]) == (1, 5)
    assert found["metric"]["direction"] == "maximize"
    assert f"epoch     1: runs before run {found['baseline']['run']} are kept, and not compared" in printed


@pytest.mark.parametrize("is_committed", [True, False])
def test_a_contract_that_changes_on_main_alone_is_said_to_count_for_nothing(tmp_path, is_committed):
    top = begun(tmp_path)
    loop(top, 1)
    (top / "evogit.toml").write_text(ONE_SEED.replace("minimize", "maximize"))
    if is_committed:
        git(top, "commit", "-q", "-am", "up is better")

    done = loop(top, 1)

    (line,) = warned(done, "evogit.toml")
    assert "campaign t1 goes on under its own" in line
    assert f"commit it on {BRANCH}" in line
    assert {run.epoch for run in runs(top)} == {0}
    assert lab_of(top).metric.direction.value == "minimize"


def test_a_checkout_with_a_contract_that_the_campaign_has_or_had_is_no_reason_to_warn(tmp_path):
    top = begun(tmp_path)
    commit_on_the_branch(top, "evogit.toml", "timeout_s = 20", "timeout_s = 15")

    done = [loop(top, 1), loop(top, 1)]
    git(top, "checkout", "-q", BRANCH)
    (top / "evogit.toml").write_bytes((top / "evogit.toml").read_bytes().replace(b"\n", b"\r\n"))

    assert not warned(done[0], "evogit.toml") and not warned(done[1], "evogit.toml")
    assert lab_of(top).campaign.contract_beside() == ""


# nothing to mutate

NOTHING = {
    "an empty file": ("", {"main.py": "import train\n\nprint('METRIC val_loss=0.5')\nprint('METRIC params=1')\n"}),
    "a literal": ('"""Nothing to turn here."""\n\nprint("METRIC val_loss=0.5")\nprint("METRIC params=1")\n', {}),
    "comments": ("# LR = 0.1\n", {"main.py": "import train\n\nprint('METRIC val_loss=0.5')\nprint('METRIC params=1')\n"}),
}


def barren(tmp_path: Path, what: str) -> Path:
    train, extra = NOTHING[what]
    return begun(tmp_path, toml=ONE_SEED.replace("python train.py", "python main.py") if extra else ONE_SEED, train=train, extra=extra)


@pytest.mark.parametrize("what", NOTHING)
def test_a_file_with_nothing_to_mutate_ends_the_loop_with_one_line_and_a_hint(tmp_path, what):
    top = barren(tmp_path, what)

    done = loop(top, 50)

    (line,) = warned(done, "candidates were refused before they ran")
    assert "no untried edit is left" in line
    assert "name more constants in train.py" in line and "--agent" in line
    assert done.stdout.splitlines()[-1].startswith("stopped after 14 runs: 14 candidates in a row were refused before they ran")
    assert {run.verdict.value for run in runs(top)[1:]} == {"reject"}
    assert "refusals" in kinds(top)
    assert not lab_of(top).ideas()


def test_a_file_that_is_no_python_ends_the_loop_with_one_line_and_a_hint(tmp_path):
    toml = ONE_SEED.replace('"train.py"]', '"numbers.txt"]').replace("python train.py", "cat numbers.txt")
    top = begun(tmp_path, toml=toml, extra={"numbers.txt": "METRIC val_loss=0.5\nMETRIC params=1\n"})

    done = loop(top, 50)

    (line,) = warned(done, "candidates were refused before they ran")
    assert "the offline agent edits Python, and no mutable file is Python" in line


def test_a_barren_campaign_goes_on_once_a_person_gives_it_something_to_mutate(tmp_path):
    top = barren(tmp_path, "a literal")
    loop(top, 50)
    git(top, "checkout", "-q", BRANCH)
    (top / "train.py").write_text(TRAIN)
    git(top, "commit", "-q", "-am", "constants")
    git(top, "checkout", "-q", "main")

    loop(top, 4, "--emitter", "local_tuner")

    searched = [run for run in runs(top) if run.emitter == "local_tuner"][-3:]
    assert [run.is_measured for run in searched] == [True, True, True]
    assert "refusals" not in kinds(top)


# ideas that are none

HOSTILE = {
    "punctuation": "?!?!?!?!",
    "one endless word": "x" * 300,
    "control characters alone": "\x1b[2J\x07\x00\x1b]0;\x07",
    "letters of no alphabet": "\ue000\ue001\ufff0" * 40,
    "blanks": " \t\n\u2003",
}


@pytest.mark.parametrize("what", HOSTILE)
def test_gibberish_is_refused_as_an_idea_with_a_hint(repo, what):
    text = HOSTILE[what].replace("\x00", "")

    done = evogit(repo, "ideas", "--tag", "t1", "add", "--", text, check=False)

    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 2
    assert done.stderr.startswith("error: the idea ")
    assert "\nhint: " in done.stderr
    assert "\x1b" not in done.stderr
    assert not [told for told in lab_of(repo).ideas() if told.idea.is_persons]


def test_a_sentence_with_escapes_in_it_loses_them_and_is_carried_out(repo):
    evogit(repo, "ideas", "--tag", "t1", "add", "\x1b[31mset\x1b[0m DROPOUT = 0.05\x07 \u202ereversed")

    done = loop(repo, 1)
    shown = [
        evogit(repo, name, *more, "--tag", "t1").stdout for name, *more in (["ideas"], ["log"], ["show", "1"], ["conclude"], ["status"])
    ]

    run = runs(repo)[-1]
    assert [(move.gene, move.new) for move in run.moves] == [("train.py:DROPOUT", 0.05)]
    assert not set("\x1b\x07\u202e") & set("".join([*shown, done.stdout, git(repo, "log", "-1", "--format=%B", run.commit)]))


@pytest.mark.parametrize("said", ["LR = 1e999", "WIDTH = -1e400", "LR = 0.0000000000000000000000000000000000000000000000000001e-400"])
def test_a_number_that_no_machine_holds_is_not_taken_at_its_word(repo, said):
    evogit(repo, "ideas", "--tag", "t1", "add", f"set {said}")

    loop(repo, 1)

    run = runs(repo)[-1]
    assert run.verdict.value in {"keep", "discard", "crash"} or run.reason.startswith("needs a model: ")
    assert "inf" not in (lab_of(repo).campaign.sources(runs(repo)[-1].commit)["train.py"])


def by_hand(repo: Path, *lines: str) -> None:
    """Put lines on the baseline as a person would who knows git and has read half of FORMAT.md."""
    run = lab_of(repo).run("0").commit
    path = repo.parent / "note"
    path.write_text("".join(f"{line}\n" for line in lines), errors="surrogateescape")
    git(repo, *IDEAS, "append", "-F", str(path), run)


def written(number: int, description: object, **more: object) -> str:
    said = {"v": 1, "id": f"{number:016x}", "time": f"{number:05}", "by": "Eve", "mutation_type": "other", "description": description}
    return json.dumps({**said, **more})


def test_lines_of_wrong_types_in_a_note_are_told_and_the_good_one_among_them_is_carried_out(repo):
    by_hand(
        repo,
        "not json at all",
        "[1, 2, 3]",
        "null",
        written(1, 17),
        written(2, ["a", "list"]),
        written(3, "wider net", priority="high"),
        written(4, "wider net", v="1"),
        written(5, "wider net", id=5),
        written(6, "set DROPOUT = 0.05"),
    )

    done = loop(repo, 1)

    (line,) = warned(done, "ideas")
    assert line.startswith("warning: the ideas on run 0 hold 8 lines that nobody can read as an idea (")
    assert 'evogit ideas add "try a cosine schedule" --tag t1' in line
    assert [(move.gene, move.new) for move in runs(repo)[-1].moves] == [("train.py:DROPOUT", 0.05)]
    assert kinds(repo) == ["noise", "ideas"]
    assert "hold 8 lines" in evogit(repo, "ideas", "--tag", "t1").stderr


def test_hostile_fields_of_a_note_reach_no_terminal_raw(repo):
    bad = "\x1b]0;owned\x07\x1b[2J\u202e"
    by_hand(repo, written(1, f"{bad}try a cosine schedule{bad}", by=bad + "Eve", mutation_type=bad + "schedule", time=bad), written(2, bad))

    done = loop(repo, 1)
    shown = [
        evogit(repo, name, *more, "--tag", "t1") for name, *more in (["ideas"], ["ideas", "--json"], ["status"], ["log"], ["conclude"])
    ]

    assert not set("\x1b\x07\u202e") & set("".join([done.stdout, *(each.stdout + each.stderr for each in shown)]))
    assert "Eve" in shown[0].stdout and "try a cosine schedule" in shown[0].stdout
    assert len(warned(done, "an idea on run 0")) == 1


def test_an_enormous_idea_is_cut_told_and_carried_out(repo):
    by_hand(repo, written(1, "set DROPOUT = 0.05 and then " + "say no more " * 90_000))

    done = loop(repo, 1)

    (line,) = warned(done, "characters: the first 2000 count")
    assert len(line) < 300
    run = runs(repo)[-1]
    assert [(move.gene, move.new) for move in run.moves] == [("train.py:DROPOUT", 0.05)]
    assert len(git(repo, "log", "-1", "--format=%B", run.commit)) < 10_000
    assert max(map(len, evogit(repo, "ideas", "--tag", "t1").stdout.splitlines())) < 2200


def test_five_thousand_ideas_in_one_note_are_told_in_one_line_and_taken_in_turn(repo):
    by_hand(repo, *(written(number, f"set DROPOUT = {number / 20_000}") for number in range(1, 5001)))

    done = loop(repo, 2)

    (line,) = warned(done, "ideas of people found no room")
    assert "4860" in line and "140" in line
    assert [run.idea for run in runs(repo)[1:]] == [f"{1:016x}", f"{2:016x}"]
    listed = evogit(repo, "ideas", "--tag", "t1", "--json").stdout.splitlines()
    assert len([told for told in map(json.loads, listed) if told["by"] == "Eve"]) == 140


def test_five_thousand_lines_of_gibberish_are_told_in_one_line(repo):
    by_hand(repo, *(written(number, "%" * 50) for number in range(1, 5001)))

    done = loop(repo, 1)

    (line,) = warned(done, "idea")
    assert "(5000 such ideas)" in line
    assert runs(repo)[-1].is_measured


# seeds that are ignored


def test_seeds_that_change_nothing_are_told_once_by_a_loop_and_stay_in_status(tmp_path):
    top = begun(tmp_path, toml=TOML, train=TRAIN.replace('int(os.environ.get("EVOGIT_SEED", "0"))', "7"))

    done = loop(top, 6)

    (line,) = warned(done, "seeds change nothing")
    assert "EVOGIT_SEED" in line
    assert kinds(top) == ["seeds"]


def test_a_candidate_that_ignores_its_seeds_among_others_is_named(tmp_path):
    top = begun(tmp_path, toml=TOML.replace("[0, 1]", "[0, 1, 2]"))
    evogit(top, "baseline", "--tag", "t1", "--seeds", "5")
    commit_on_the_branch(top, "train.py", 'int(os.environ.get("EVOGIT_SEED", "0"))', "7")
    commit_on_the_branch(top, "train.py", "LR = 0.1", "LR = 0.02")

    done = loop(top, 3, "--emitter", "local_tuner")

    deaf = [run.label for run in runs(top) if len(set(run.readings["val_loss"])) == 1 < len(run.readings["val_loss"])]
    assert deaf
    assert len(warned(done, "gave one number under every seed")) == ("seeds" in kinds(top)) == 1


# warnings of one loop


def test_a_loop_tells_each_warning_once_also_when_it_folds_its_memory_anew(repo):
    by_hand(repo, written(1, "%%%%"), "no json")
    seen: list[str] = []
    for event in lab_of(repo).loop(LoopOptions(max_runs=4, emitters=("local_tuner",))):
        if isinstance(event, Warned):
            seen.append(event.message)
        if len(runs(repo)) == 3 and git(repo, "log", "-1", "--format=%s", "main").strip() != "another README.md":
            work = repo.parent / "theirs"
            git(repo.parent, "clone", "-q", "-b", BRANCH, str(repo), str(work))
            (work / "README.md").write_text("Another toy.\n")
            git(work, "commit", "-q", "-am", "another README.md")
            git(work, "push", "-q")
            git(repo, "commit", "-q", "--allow-empty", "-m", "another README.md")

    assert {run.epoch for run in runs(repo)} == {0, 1}
    assert len(seen) == len(set(seen)) == 3
