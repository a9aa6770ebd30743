"""A run's candidate is made again from its record to the byte, without a call; a campaign's proposals are repeated in order."""

from __future__ import annotations

import json

import pytest

import paying_hands
from evogit.domain.options import LoopOptions
from evogit.errors import UnknownName, UserError
from evogit.lab import Lab
from paying_hands import calls
from toys import TOML, TRAIN, evogit, git, make_toy
from workers import LOWER_LR, worker

ONE_SEED = TOML.replace("[0, 1]", "[0]")


@pytest.fixture
def log(tmp_path, monkeypatch):
    return paying_hands.install(tmp_path / "plugins", monkeypatch)


def loop(repo, tag="t1", **options) -> Lab:
    book = Lab.open(repo, tag=tag)
    list(book.loop(LoopOptions(**options)))
    return Lab.open(repo, tag=tag)


def test_a_models_candidate_is_rebuilt_from_its_answer_without_a_call(repo, log):
    book = loop(repo, agent="paid", max_runs=3, emitters=("local_tuner",))

    said = [book.replay(run.label) for run in book.runs()[1:]]

    assert [(one.is_equal, one.how, one.diff) for one in said] == [(True, "answers", "")] * 3
    assert len(calls(log)) == 3


def test_every_run_of_the_offline_agent_is_rebuilt_from_its_plan(repo):
    book = loop(repo, max_runs=8, workers=2)
    runs = [run for run in book.runs() if run.parents and not (run.verdict.value == "reject" and run.lines == (0, 0))]

    assert len(runs) >= 5
    assert [run.label for run in runs if not book.replay(run.label).is_equal] == []


def test_what_an_agent_without_replay_left_is_recorded_and_rebuilt_to_the_byte(repo, log):
    book = loop(repo, agent="mute", max_runs=2, emitters=("local_tuner",))

    run = book.runs()[-1]
    recorded = json.loads(book.artifact(run.label, "answers/files.json"))
    assert list(recorded) == ["train.py"]
    assert b"caf\xe9" in book.repo.blob(run.commit, "train.py")
    assert [book.replay(r.label).is_equal for r in book.runs()[1:]] == [True, True]
    assert book.replay(run.label).how == "files.json"


def test_an_answer_of_megabytes_is_kept_by_its_ends_and_the_run_is_rebuilt_from_its_files(repo, log):
    book = loop(repo, agent="paid", agent_options={"what": "ramble"}, max_runs=1, emitters=("local_tuner",))

    run = book.runs()[-1]
    kept = book.artifact(run.label, "answers/cut-1.json")
    [call] = map(json.loads, book.artifact(run.label, "calls.jsonl").splitlines())
    said = evogit(repo, "replay", run.label, "--tag", "t1").stdout
    assert len(kept) < 70_000 and b"characters left out" in kept and kept.startswith(b'{"lr"')
    assert call["answer"] == "cut-1.json"
    assert "the same tree to the byte" in said and "too long to be kept whole and cannot be replayed" in said
    assert book.replay(run.label).how == "cut"


def test_an_answer_that_was_tampered_with_differs_and_the_diff_shows_where(repo, log):
    from evogit.git import artifacts

    book = loop(repo, agent="paid", max_runs=1, emitters=("local_tuner",))
    run = book.runs()[-1]
    artifacts.add(book.repo, "t1", run.commit, {"answers/1.json": b'{"lr": 77.0}'})

    done = evogit(repo, "replay", run.label, "--tag", "t1", check=False)

    assert done.returncode == 1
    assert "differs" in done.stdout
    assert "+LR = 77.0" in done.stdout


@pytest.mark.parametrize("label", ["0", "incumbent"])
def test_a_baseline_has_no_answer_to_replay(repo, label):
    done = evogit(repo, "replay", label, "--tag", "t1", check=False)

    assert done.returncode == 2
    assert "baseline" in done.stderr


def test_without_artifacts_there_is_nothing_to_replay_and_the_hint_fetches_them(repo):
    loop(repo, max_runs=1)
    git(repo, "update-ref", "-d", "refs/evogit/t1/artifacts")

    done = evogit(repo, "replay", "1", "--tag", "t1", check=False)

    assert done.returncode == 2
    assert "refs/evogit/t1/artifacts" in done.stderr


def test_a_reject_without_a_candidate_has_nothing_to_replay(repo, log):
    book = loop(repo, agent="paid", agent_options={"what": "fail"}, max_runs=1)

    with pytest.raises(UserError, match="has no candidate"):
        book.replay("1")


def test_measure_runs_it_again_and_compares_the_numbers(repo):
    loop(repo, max_runs=1)

    done = evogit(repo, "replay", "1", "--measure", "--json", "--tag", "t1")

    said = json.loads(done.stdout.splitlines()[-1])
    assert (said["is_equal"], said["is_within_noise"]) == (True, True)
    assert said["before"] == said["after"]  # the toy's noise is its seed's
    assert len(Lab.open(repo, tag="t1").campaign.history.replicates[said["commit"]]) == 1


def test_numbers_that_noise_does_not_explain_are_an_exit_code_of_one(tmp_path, unheld):
    count = f"    with open({str(tmp_path / 'count')!r}, 'a+') as file:\n        file.write('x')\n        seed += file.tell()\n"
    repo = make_toy(tmp_path / "drifting", toml=ONE_SEED, train=TRAIN.replace("    noise =", f"{count}    noise =").replace("0.002", "2.0"))
    evogit(repo, "start", "t1")
    loop(repo, max_runs=1)

    done = evogit(repo, "replay", "1", "--measure", "--tag", "t1", check=False)

    assert done.returncode == 1
    assert "the same tree to the byte" in done.stdout
    assert "further apart than noise explains" in done.stdout


# a whole campaign


def test_a_campaigns_proposals_are_repeated_in_order_with_the_same_trees(repo, log):
    old = loop(repo, max_runs=6)
    evogit(repo, "start", "again")

    new = loop(repo, tag="again", agent="replay:t1")

    theirs, ours = old.runs(), new.runs()
    assert [new.repo.tree_of(run.commit) for run in ours] == [old.repo.tree_of(run.commit) for run in theirs]
    assert [run.summary for run in ours] == [run.summary for run in theirs]
    assert {run.agent for run in ours[1:]} == {"replay:t1"}
    label = {run.commit: run.label for run in theirs}
    mine = {run.commit: run.label for run in ours}
    assert [[mine[p] for p in run.parents] for run in ours] == [[label[p] for p in run.parents] for run in theirs]


def test_a_repeated_campaign_ends_when_it_is_repeated_and_costs_no_call(repo, log):
    loop(repo, agent="paid", max_runs=2, emitters=("local_tuner",))
    evogit(repo, "start", "again")

    done = evogit(repo, "loop", "--tag", "again", "--agent", "replay:t1")

    assert "every proposal of campaign t1 is repeated" in done.stdout
    assert len(calls(log)) == 2
    assert Lab.open(repo, tag="again").status().cost_usd == 0.0


def test_a_repetition_that_was_stopped_goes_on_where_it_was(repo):
    old = loop(repo, max_runs=4)
    evogit(repo, "start", "again")
    loop(repo, tag="again", agent="replay:t1", max_runs=2)

    new = loop(repo, tag="again", agent="replay:t1")

    assert [run.summary for run in new.runs()] == [run.summary for run in old.runs()]


def test_a_repeated_run_is_itself_replayed_from_its_files(repo):
    loop(repo, max_runs=2)
    evogit(repo, "start", "again")
    new = loop(repo, tag="again", agent="replay:t1")

    assert [new.replay(run.label).is_equal for run in new.runs()[1:]] == [True] * (len(new.runs()) - 1)


def test_a_campaign_in_which_a_file_was_taken_away_is_repeated_to_the_byte(tmp_path):
    two = ONE_SEED.replace('mutable = ["train.py"]', 'mutable = ["train.py", "parts/*.py"]')
    top = make_toy(tmp_path / "two", toml=two, extra={"parts/idle.py": "IDLE = 1\n", "parts/kept.py": "KEPT = 1\n"})
    tidy = worker(tmp_path, 'os.path.exists("parts/idle.py") and os.remove("parts/idle.py")\n' + LOWER_LR)
    evogit(top, "start", "old")
    old = loop(top, tag="old", agent="command", agent_options={"command": tidy}, max_runs=2)
    evogit(top, "start", "again")

    new = loop(top, tag="again", agent="replay:old")

    theirs, ours = old.runs(), new.runs()
    assert [old.repo.blob(run.commit, "parts/idle.py") for run in theirs[1:]] == [None, None]
    assert [new.repo.tree_of(run.commit) for run in ours] == [old.repo.tree_of(run.commit) for run in theirs]
    assert [(new.replay(run.label).is_equal, old.replay(run.label).is_equal) for run in ours[1:]] == [(True, True)] * 2


@pytest.mark.parametrize(("agent", "kind", "words"), [("replay:nope", UnknownName, "nope"), ("replay:t1", UserError, "t1")])
def test_a_campaign_that_is_not_there_or_is_the_same_cannot_be_repeated(repo, agent, kind, words):
    loop(repo, max_runs=1)

    with pytest.raises(kind, match=words):
        loop(repo, agent=agent)
