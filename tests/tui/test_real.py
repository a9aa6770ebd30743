"""The screen over real repositories, while others change them, damage them or take them away. It goes on, and says what it cannot show."""

from __future__ import annotations

import json
import shutil
import subprocess
import time

import pytest

from evogit.domain import event as events
from evogit.domain.flight import Flight, FlightState, JobRecord
from evogit.domain.options import LoopOptions
from evogit.domain.plan import Plan
from evogit.errors import RepositoryError
from evogit.git import flights
from evogit.lab import Lab
from evogit.tui.book import Book
from stills import stage
from toys import TOML, git, make_toy

ONE_SEED = TOML.replace("[0, 1]", "[0]")


def at(repo):
    return {"open_lab": lambda tag: Lab.open(repo, tag=tag or None)}


async def read(on) -> None:
    await on.until(lambda: on.app.book is not None and on.app.book.is_whole and on.app.status is not None, "the campaign is read")


# beginnings -------------------------------------------------------------------------------------------------------------------


def test_a_campaign_that_starts_is_noticed_and_its_runs_come_in_as_they_are_decided(tmp_path, monkeypatch):
    top = make_toy(tmp_path / "toy", toml=ONE_SEED)
    monkeypatch.chdir(top)

    async def act(on):
        await on.until(lambda: "waiting for a campaign" in on.text, "the words")
        Lab.open(top).start("t1")
        await on.until(lambda: on.app.book is not None and on.app.book.campaign == "t1", "the campaign")
        is_empty = "no run is decided yet" in on.text
        list(Lab.open(top).loop(LoopOptions(max_runs=1)))
        await on.until(lambda: len(on.app.book) == 2 and " 2 runs" in on.text, "two runs")
        await on.press("5")
        await on.until(lambda: "run 1 plan" in on.text, "the events")
        return is_empty

    assert stage(act, **at(top))


def test_a_folder_that_is_no_repository_ends_the_screen_with_the_reason(tmp_path):
    async def act(on):
        await on.until(lambda: on.app.return_value is not None, "it ends")
        return on.app.return_value

    assert isinstance(stage(act, **at(tmp_path)), RepositoryError)


# others at work ---------------------------------------------------------------------------------------------------------------


def test_a_judgement_of_another_process_shows(repo):
    async def act(on):
        await read(on)
        best = on.app.book.run(on.app.book.incumbent)
        Lab.open(repo).judge(best.label, "discard", "it fits noise")
        await on.until(lambda: "it fits noise" in on.text, "the judgement")
        return best.commit, on.app.book.incumbent

    before, after = stage(act, size=(200, 60), **at(repo))

    assert before != after


def test_a_judgement_of_this_very_screen_shows_in_table_and_plot(repo):
    lab = Lab.open(repo)

    async def act(on):
        await read(on)
        run = next(r for r in on.app.book.runs if r.verdict.value == "discard" and not r.near_miss)
        on.app.selected = run.commit
        await on.pilot.pause()
        await on.press("J")
        await on.write("half the size")
        await on.press("enter")
        await on.until(lambda: "half the size" in on.text and "keep by" in on.text, "the judgement")
        return on.app.book.run(run.commit).is_kept, on.app.book.incumbent == run.commit, on.app.book.kind(on.app.book.run(run.commit))

    assert stage(act, size=(200, 60), open_lab=lambda tag: lab) == (True, True, "incumbent")


def test_a_branch_that_is_deleted_leaves_what_was_read_and_comes_back(repo):
    async def act(on):
        await read(on)
        tip = git(repo, "rev-parse", "autoresearch/big").strip()
        git(repo, "update-ref", "-d", "refs/heads/autoresearch/big")
        await on.until(lambda: "cannot be read any more" in on.text, "the words")
        still = "60 runs" in on.text and "branch was deleted" in on.text
        git(repo, "update-ref", "refs/heads/autoresearch/big", tip)
        await on.until(lambda: not on.app.trouble, "it is back")
        return still

    assert stage(act, **at(repo))


def test_another_campaign_is_not_shown_in_place_of_one_that_is_gone(repo):
    git(repo, "branch", "autoresearch/other", "main")

    async def act(on):
        await read(on)
        git(repo, "update-ref", "-d", "refs/heads/autoresearch/big")
        await on.until(lambda: "there is no campaign 'big' here" in on.text, "the words")
        return on.app.book.campaign, len(on.app.book)

    assert stage(act, **at(repo)) == ("big", 60)


def test_another_campaign_is_read_where_a_person_asks_for_it(repo):
    tip = git(repo, "rev-parse", "autoresearch/big").strip()

    async def act(on):
        await read(on)
        Lab.open(repo).start("second")
        on.app.open_campaign("second")
        await on.until(lambda: on.app.book.campaign == "second", "the other one")
        on.app.open_campaign("big")
        await on.until(lambda: on.app.book.campaign == "big" and len(on.app.book) == 60, "the first one")
        return git(repo, "rev-parse", "autoresearch/big").strip()

    assert stage(act, **at(repo)) == tip


def test_a_repository_that_is_removed_leaves_what_was_read(repo):
    async def act(on):
        await read(on)
        shutil.rmtree(repo)
        await on.until(lambda: on.app.trouble, "the words")
        await on.press("3", "1")
        return on.text

    text = stage(act, **at(repo))

    assert "cannot be read any more" in text and "60 runs" in text


def test_a_repack_that_prunes_is_not_noticed(repo):
    async def act(on):
        await read(on)
        git(repo, "gc", "-q", "--prune=now", "--aggressive")
        Lab.open(repo).judge("incumbent", "discard", "after the gc")
        await on.until(lambda: "after the gc" in on.text, "what came later")
        on.app.open_run(on.app.book.runs[3].commit)
        await on.until(lambda: "hypothesis" in on.text and "train.py" in on.text, "a run's diff")
        return on.app.trouble

    assert stage(act, size=(200, 60), **at(repo)) == ""


# what cannot be read ------------------------------------------------------------------------------------------------------------


def test_a_note_that_nobody_can_read_is_said_and_the_rest_is_shown(repo):
    run = Lab.open(repo).run("5")
    garbage = subprocess.run(
        ["git", "hash-object", "-w", "--stdin"], cwd=repo, input=b"\xff\xfe no json\n{}\n", capture_output=True, check=True
    )
    git(repo, "notes", "--ref=evogit/reviews", "add", "-f", "-C", garbage.stdout.decode().strip(), run.commit)

    async def act(on):
        await read(on)
        on.app.open_run(run.commit)
        await on.until(lambda: "hypothesis" in on.text, "the run")
        return on.text

    text = stage(act, size=(120, 60), **at(repo))

    assert "lines of its reviews' note cannot be read" in text and "numbers" in text


def test_a_run_whose_files_are_lost_is_told_and_the_screen_goes_on(repo):
    run = Lab.open(repo).run("7")
    git(repo, "unpack-objects", "-q", check=False)
    tree = git(repo, "rev-parse", f"{run.commit}^{{tree}}").strip()
    _lose(repo, tree)

    async def act(on):
        await read(on)
        on.app.open_run(run.commit)
        await on.until(lambda: tree[:12] in on.text or "missing" in on.text or "not found" in on.text, "the complaint")
        on.app.open_run(on.app.book.runs[9].commit)
        await on.until(lambda: "run 9" in on.text and "hypothesis" in on.text, "another run")
        return on.app.book is not None

    assert stage(act, **at(repo))


def _lose(repo, name: str) -> None:
    """Take one object out of the repository."""
    packs = list((repo / ".git/objects/pack").glob("*.pack"))
    for pack in packs:
        data = pack.read_bytes()
        for end in (".pack", ".idx", ".rev"):
            pack.with_suffix(end).unlink(missing_ok=True)
        subprocess.run(["git", "unpack-objects", "-q", "-r"], cwd=repo, input=data, check=True, capture_output=True)
    (repo / ".git/objects" / name[:2] / name[2:]).unlink()


# looks of the lab ---------------------------------------------------------------------------------------------------------------


def test_the_newest_runs_are_those_that_the_whole_history_ends_with(repo):
    early, whole = Lab.open(repo).newest(20), Lab.open(repo).runs()

    assert [r.commit for r in early.runs] == [r.commit for r in whole[-20:]]
    assert [(r.verdict, r.readings, r.label, r.seq) for r in early.runs] == [(r.verdict, r.readings, r.label, r.seq) for r in whole[-20:]]
    assert not early.is_whole and early.problem == "made-up"


def test_a_judgement_among_the_newest_holds_in_them(repo):
    lab = Lab.open(repo)
    done = lab.judge("incumbent", "discard", "no")

    early = Lab.open(repo).newest(20)

    assert next(r for r in early.runs if r.commit == done.run.commit).verdict.value == "discard"


def test_a_short_campaign_is_whole_at_once(repo):
    assert Lab.open(repo).newest(100).is_whole


def test_nothing_is_shown_early_where_the_campaign_would_have_to_be_searched(repo):
    git(repo, "branch", "autoresearch/other", "main")

    assert Lab.open(repo).newest() is None
    assert Lab.open(repo, tag="big").newest() is not None


def test_the_portfolio_comes_in_pieces_and_later_only_the_new_is_folded(repo):
    lab = Lab.open(repo)

    first = list(lab.portfolio())
    again = list(lab.portfolio())

    assert first[-1] == again[-1] and first[:-1] == [None] * (len(first) - 1)
    tries = {role.emitter: role.tries for role in first[-1].roles}
    assert sum(tries.values()) == 60
    assert first[-1].window == 0
    earning = [role for role in first[-1].roles if role.rate > 0]
    assert earning and all(len(role.earned) == 15 and max(role.earned) >= role.rate for role in earning)
    assert dict(first[-1].elites).keys() and first[-1].faults


def test_catching_up_tells_new_runs_from_a_history_that_is_told_anew(repo):
    lab = Lab.open(repo)
    lab.whole()
    nothing = lab.catch_up()
    Lab.open(repo).judge("incumbent", "discard", "no")

    caught = lab.catch_up()

    assert (nothing.runs, nothing.is_retold) == ((), False)
    assert (caught.runs, caught.is_retold) == ((), True)


def test_what_the_lab_itself_took_in_meanwhile_is_told_all_the_same(repo):
    tip = git(repo, "rev-parse", "autoresearch/big").strip()
    git(repo, "update-ref", "refs/heads/autoresearch/big", f"{tip}~3")
    lab = Lab.open(repo)
    known = lab.whole().runs
    git(repo, "update-ref", "refs/heads/autoresearch/big", tip)

    taken = lab.refresh()  # as a message to the loop does before it is sent
    caught = lab.catch_up()
    lab.judge(next(r.label for r in reversed(known) if r.verdict.value == "discard"), "keep", "mine")

    assert taken and (caught.runs, caught.is_retold) == (tuple(taken), False)
    assert lab.catch_up().is_retold
    assert not lab.catch_up().is_retold


def test_the_log_of_a_decided_run_is_what_its_first_trial_kept(repo):
    lab = Lab.open(repo)
    run = next(r for r in reversed(lab.runs()) if r.is_measured)

    tail = lab.log_tail(run.label, size=20)

    assert tail.stream == "trials/s0/train/stdout" and not tail.is_live
    assert tail.data == lab.artifact(run.label, tail.stream)[-20:] and tail.size > 20


def test_events_are_read_from_where_one_left_off_and_broken_lines_are_left_out(repo):
    from evogit import views

    lab = Lab.open(repo)
    for n in range(3):
        views.log(lab.repo, "big", events.Warned(message=f"m{n}"))
    first, end = lab.events(-1000)
    with (views.folder(lab.repo, "big") / views.EVENTS).open("ab") as file:
        file.write(b"\xff\xfe no event\n" + b'{"event": "warning", "message": "half')
    second, there = lab.events(end)
    views.log(lab.repo, "big", events.Warned(message="whole"))

    assert [e.message for e in first] == ["m0", "m1", "m2"]
    assert second == [] and lab.events(there)[0] == []
    assert lab.stir().said > there


def test_a_book_of_real_runs_says_what_the_lab_says(repo):
    lab = Lab.open(repo)
    whole = lab.whole()
    book = Book("big", "made-up", lab.problem.metrics, spread=whole.spread)
    book.extend(whole.runs)

    measured = [r for r in whole.runs if r.mean("val_loss") is not None and r.verdict.value != "crash"]
    assert book.values("val_loss")[-1] == whole.runs[-1].mean("val_loss")
    assert {r.commit for r in lab.leaderboard(0)} == {r.commit for r in measured}
    assert book.best_so_far("val_loss")[-1][1] == book.run(whole.incumbent).mean("val_loss")


@pytest.mark.parametrize("said", ["NVIDIA H200, 93, 61000, 143771\nOdd, name, 5, 10, [N/A]\n", "", "no devices were found\n"])
def test_cards_are_told_as_their_tool_tells_them(said, tmp_path, monkeypatch):
    from evogit import gauging

    tool = tmp_path / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\ncat <<'E'\n{said}E\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")

    told = gauging.machine()

    assert [(g.name, g.busy, g.total_mib) for g in told.gpus] == (
        [("NVIDIA H200", 0.93, 143771), ("Odd, name", 0.05, 0)] if "H200" in said else []
    )
    assert told.cpus >= 1 and 0 <= told.used_mib <= told.total_mib


@pytest.mark.parametrize("has_handle", [True, False], ids=["by-handle", "by-key"])
def test_the_log_of_a_run_in_the_air_elsewhere_is_what_its_backend_tells(repo, has_handle):
    lab = Lab.open(repo)
    parent = lab.runs()[0].commit
    plan = Plan(emitter="simplifier", parents=(parent,), seeds=(0,), rng=1)
    said = Flight(campaign="big", number=900, label="900", clone=lab.repo.clone, state=FlightState.RUNNING, plan=plan, backend="slurm")
    shared = lab.repo.cache / "campaigns" / "big" / "jobs" / "slurm" / "job"
    (shared / "job").mkdir(parents=True)
    (shared / "request.json").touch()
    (shared / "job" / "stdout").write_text("hello from a node\n")
    handle = json.dumps({"key": "job", "folder": str(shared)}) if has_handle else ""
    flights.update(lab.repo, flights.create(lab.repo, said), jobs=[JobRecord(key="job", seed=0, step="train", handle=handle)])

    deadline = time.monotonic() + 60
    while not lab.log_tail("900").data and time.monotonic() < deadline:
        time.sleep(0.02)

    assert lab.log_tail("900", size=5).data == b"node\n"
    assert [(f.run, f.backend) for f in lab.flying()] == [("900", "slurm")]
