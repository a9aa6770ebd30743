"""Which keep made a secondary metric worse: found by git's own bisection, beyond noise, without touching anybody's checkout."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from evogit.errors import UnknownName, UserError
from evogit.lab import Lab
from toys import TOML, TRAIN, by_hand, evogit, git, make_toy


def lab(repo: Path) -> Lab:
    return Lab.open(repo, tag="t1")


def test_the_keep_that_made_it_worse_is_found_and_the_checkout_is_as_it_was(book):
    git(book, "bisect", "start")  # a bisection of the person's own
    before = (git(book, "for-each-ref"), git(book, "status"), git(book, "worktree", "list"))

    found = lab(book).bisect("params")

    assert (found.culprit.label, found.before.label, found.how) == ("2", "1", "decision")
    assert (found.good_value, found.bad_value, found.noise, found.is_mixed) == (80, 160, 0.0, False)
    assert found.asked >= 1
    assert (git(book, "for-each-ref"), git(book, "status"), git(book, "worktree", "list")) == before
    assert git(book, "fsck", "--full", "--no-dangling") == ""


def test_the_command_prints_the_run_and_an_object(book):
    text = evogit(book, "bisect", "params", "--tag", "t1").stdout
    told = json.loads(evogit(book, "bisect", "params", "--json", "--tag", "t1").stdout)

    assert "it came with run 2: twice the width: params 160, was 80 in run 1" in text
    assert (told["culprit"]["run"], told["before"]["run"], told["suspects"]) == ("2", "1", [])


def test_ends_can_be_named_and_a_person_who_made_it_the_incumbent_is_named(book):
    lab(book).judge("incumbent", "discard", "no")
    lab(book).judge("incumbent", "discard", "no")
    lab(book).judge("5", "keep", "all the same")

    found = lab(book).bisect("params", good="1")

    assert (found.culprit.label, found.before.label, found.how) == ("5", "1", "judge")


@pytest.mark.parametrize(
    ("metric", "ends", "says"),
    [
        ("nope", {}, "has no metric 'nope'"),
        ("val_loss", {}, "is not worse beyond noise"),
        ("params", {"good": "2"}, "is not worse beyond noise"),
        ("params", {"good": "3"}, "was never the incumbent"),
        ("params", {"good": "5", "bad": "1"}, "was not the incumbent after"),
        ("params", {"good": "5", "bad": "5"}, "was not the incumbent after"),
    ],
)
def test_where_there_is_nothing_to_find_it_says_so(book, metric, ends, says):
    with pytest.raises((UserError, UnknownName), match=says):
        lab(book).bisect(metric, **ends)

    assert len(git(book, "worktree", "list").splitlines()) == 1


# a metric that wavers by 30 from seed to seed; the first step makes it worse by 50, which two readings cannot tell from luck
NOISY = TRAIN.replace(
    'print("METRIC params=%d" % (WIDTH * 10))',
    'print("METRIC params=%d" % (WIDTH * 10 + (-30, 30, 0)[int(os.environ.get("EVOGIT_SEED", "0")) % 3]))',
)


@pytest.fixture
def wavering(tmp_path) -> Path:
    repo = make_toy(tmp_path / "toy", toml=TOML, train=NOISY)
    evogit(repo, "start", "t1")
    evogit(repo, "baseline", "--tag", "t1", "--seeds", "3")
    by_hand(repo, "WIDTH = 8", "WIDTH = 13", "wider")
    by_hand(repo, "WIDTH = 13", "WIDTH = 32", "wide")
    return repo


def test_where_noise_leaves_it_open_the_suspects_are_named_until_readings_settle_it(wavering):
    assert [run.label for run in lab(wavering).runs() if run.is_kept] == ["0", "1", "2"]

    guess = evogit(wavering, "bisect", "params", "--json", "--tag", "t1", check=False)
    assert (guess.returncode, json.loads(guess.stdout)["suspects"]) == (1, ["1", "2"])
    assert lab(wavering).campaign.history.replicates.keys() == {lab(wavering).run("0").commit}

    done = evogit(wavering, "bisect", "params", "--measure", "--json", "--tag", "t1")

    told, again = json.loads(done.stdout), lab(wavering).campaign.history.replicates
    assert (told["culprit"]["run"], told["before"]["run"]) == ("1", "0")
    assert told["noise"] == pytest.approx(33.5, abs=1.0)
    assert len(again[lab(wavering).run("1").commit]) == 4 and lab(wavering).run("2").commit not in again
    assert done.stderr.count("run 1 measured again") == 2
    assert git(wavering, "fsck", "--full", "--no-dangling") == "" and len(git(wavering, "worktree", "list").splitlines()) == 1
