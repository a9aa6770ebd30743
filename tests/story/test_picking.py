"""Gains taken home: clean commits on a branch of one's own, conflicts left as git leaves them, nothing of a person's overwritten."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from evogit.errors import UserError
from evogit.lab import Lab
from toys import TOML, by_hand, evogit, git, make_toy

ONE_SEED = TOML.replace("[0, 1]", "[0]")


def lab(repo: Path, tag: str = "t1") -> Lab:
    return Lab.open(repo, tag=tag)


def subjects(repo: Path, branch: str, base: str = "main") -> list[str]:
    return git(repo, "log", "--reverse", "--format=%s", f"{base}..{branch}").splitlines()


def script(repo: Path, branch: str) -> str:
    return git(repo, "show", f"{branch}:train.py")


def mine(repo: Path, old: str, new: str) -> None:
    """A commit of a person's own where they are."""
    path = repo / "train.py"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    git(repo, "commit", "-qam", "mine")


def test_each_kept_ancestor_is_a_commit_and_the_last_one_has_the_runs_code(book):
    git(book, "branch", "home")

    done = lab(book).pick(["5"], onto="home")

    assert subjects(book, "home") == ["smaller steps", "twice the width", "more momentum"]
    assert script(book, "home") == script(book, lab(book).run("5").commit)
    assert done.is_done and [subject for _, subject in done.commits] == subjects(book, "home")
    assert (
        git(book, "status", "--porcelain", "--untracked-files=no") == "" and git(book, "symbolic-ref", "HEAD").strip() == "refs/heads/main"
    )
    assert git(book, "fsck", "--full", "--no-dangling", "--strict") == ""


def test_a_commit_says_what_was_expected_and_measured_and_is_no_entry_of_a_lab_book(book):
    git(book, "branch", "home")

    lab(book).pick(["2"], onto="home")

    text = git(book, "log", "-1", "--format=%B", "home")
    run = lab(book).run("2")
    assert text.startswith("twice the width\n\nWIDTH = 16 is nearer to the best\n")
    assert f"val_loss {run.mean('val_loss'):.4f} (mean of 1 seed), was" in text
    assert f"This is run 2 of campaign t1, keep, unconfirmed: {run.commit}" in text
    assert "Evogit-" not in text


def test_a_campaign_that_starts_on_picked_commits_is_confused_by_none_of_them(book):
    evogit(book, "pick", "2", "--tag", "t1")

    evogit(book, "start", "t2")
    evogit(book, "baseline", "--tag", "t2", "--seeds", "1")

    assert [(run.label, run.parents) for run in lab(book, "t2").runs()] == [("0", ())]
    assert lab(book, "t2").run("0").mean("params") == 160


def test_a_branch_that_is_checked_out_gets_files_and_all_and_work_beside_it_stays(book):
    (book / "README.md").write_text("my own words\n")

    evogit(book, "pick", "5", "--tag", "t1")

    assert (book / "train.py").read_text() == script(book, "main") == script(book, lab(book).run("5").commit)
    assert git(book, "status", "--porcelain", "--untracked-files=no").split() == ["M", "README.md"]
    assert git(book, "log", "-1", "--format=%an %cn").split() == ["Ada", "Ada"]


def test_uncommitted_work_in_the_way_is_never_overwritten(book):
    path = book / "train.py"
    path.write_text(path.read_text() + "# mine\n")
    before, text = git(book, "rev-parse", "main"), path.read_text()

    trial = evogit(book, "pick", "5", "--dry-run", "--tag", "t1")
    done = evogit(book, "pick", "5", "--tag", "t1", check=False)

    assert "uncommitted changes stand in the way: train.py" in trial.stderr
    assert done.returncode == 2 and "would be overwritten" in done.stderr and "git stash" in done.stderr
    assert (git(book, "rev-parse", "main"), path.read_text()) == (before, text)


def test_a_dry_run_changes_nothing_and_says_what_would_come(book):
    before = git(book, "for-each-ref")

    done = evogit(book, "pick", "5", "--dry-run", "--tag", "t1")

    assert done.stdout.splitlines() == ["main would get 3 commits", "  smaller steps", "  twice the width", "  more momentum"]
    assert git(book, "for-each-ref") == before


def test_squashed_it_is_one_commit_that_lists_its_steps(book):
    git(book, "branch", "home")

    lab(book).pick(["5"], onto="home", squash=True)

    assert subjects(book, "home") == ["more momentum"]
    text = git(book, "log", "-1", "--format=%B", "home")
    assert "- smaller steps (run 1, " in text and "- more momentum (run 5, " in text
    assert "in run 0" in text
    assert script(book, "home") == script(book, lab(book).run("5").commit)


def test_what_a_person_discarded_on_the_way_is_named_in_the_commit_that_carries_it(book):
    git(book, "branch", "home")
    lab(book).judge("2", "discard", "I do not trust it")
    words = f"run 2: twice the width (discard by {lab(book).run('2').judged})"

    ahead = lab(book).pick(["5"], onto="home", dry_run=True)
    alone = lab(book).pick(["1"], onto="home", dry_run=True)
    printed = evogit(book, "pick", "5", "--onto", "home", "--tag", "t1")

    assert ahead.notes == (f"the commit of run 5 also carries {words}",) and alone.notes == ()
    assert f"warning: the commit of run 5 also carries {words}" in printed.stderr
    assert subjects(book, "home") == ["smaller steps", "more momentum"]
    assert f"\n\nIt also carries {words}\n\nThis is run 5" in git(book, "log", "-1", "--format=%B", "home")
    assert "It also carries" not in git(book, "log", "-1", "--format=%B", "home~1")
    assert lab(book).pick(["5"], onto="home").notes == ()


def test_a_squashed_commit_names_what_it_carries(book):
    lab(book).judge("2", "discard", "I do not trust it")
    git(book, "branch", "home")

    done = lab(book).pick(["5"], onto="home", squash=True)

    assert f"It also carries run 2: twice the width (discard by {lab(book).run('2').judged})" in git(
        book, "log", "-1", "--format=%B", "home"
    )
    assert len(done.notes) == 1


def test_what_was_picked_before_is_not_picked_again(book):
    git(book, "branch", "home")
    lab(book).pick(["2"], onto="home")

    again = lab(book).pick(["2"], onto="home")
    more = lab(book).pick(["5"], onto="home")

    assert (again.commits, again.present) == ((), ("1", "2"))
    assert [subject for _, subject in more.commits] == ["more momentum"]
    assert subjects(book, "home") == ["smaller steps", "twice the width", "more momentum"]


def test_changes_that_somebody_made_already_are_no_commit(book):
    git(book, "checkout", "-qb", "home")
    mine(book, "LR = 0.1", "LR = 0.05")

    done = lab(book).pick(["1"])

    assert (done.commits, done.present, done.is_done) == ((), ("1",), True)


def test_a_target_that_went_on_elsewhere_keeps_what_it_has(book):
    git(book, "checkout", "-qb", "home")
    mine(book, '"""Train a pretended network', '"""Train my pretended network')

    lab(book).pick(["5"])

    assert "Train my pretended network" in script(book, "home")
    assert "MOMENTUM = 0.9" in script(book, "home")


def test_a_conflict_on_the_branch_that_is_checked_out_is_a_cherry_pick_that_a_person_continues(book):
    mine(book, "WIDTH = 8", "WIDTH = 12")

    done = evogit(book, "pick", "5", "--tag", "t1", check=False)

    assert done.returncode == 1
    assert "conflict: run 1 does not apply to main, in train.py" in done.stdout and "git cherry-pick --continue" in done.stdout
    assert "<<<<<<<" in (book / "train.py").read_text()
    again = evogit(book, "pick", "5", "--tag", "t1", check=False)
    assert again.returncode == 2 and "a cherry-pick is under way" in again.stderr
    text = git(book, "show", "main:train.py").replace("LR = 0.1", "LR = 0.05")
    for width in ("WIDTH = 12", "WIDTH = 16", "WIDTH = 16"):
        (book / "train.py").write_text(text.replace("WIDTH = 12", width))
        git(book, "add", "train.py")
        git(book, "-c", "core.editor=true", "cherry-pick", "--continue", check=False)
    assert "MOMENTUM = 0.9" in script(book, "main") and "WIDTH = 16" in script(book, "main")
    assert subjects(book, "main", "main~3") == ["smaller steps", "twice the width", "more momentum"]


def test_a_cherry_pick_that_is_aborted_leaves_the_branch_as_it_was(book):
    mine(book, "WIDTH = 8", "WIDTH = 12")
    before = git(book, "rev-parse", "main")

    evogit(book, "pick", "5", "--tag", "t1", check=False)
    git(book, "cherry-pick", "--abort")

    assert git(book, "rev-parse", "main") == before and git(book, "status", "--porcelain", "--untracked-files=no") == ""


def test_a_conflict_on_another_branch_changes_nothing(book):
    git(book, "checkout", "-qb", "home")
    mine(book, "WIDTH = 8", "WIDTH = 12")
    git(book, "checkout", "-q", "main")
    before = git(book, "for-each-ref")

    done = evogit(book, "pick", "5", "--onto", "home", "--json", "--tag", "t1", check=False)

    told = json.loads(done.stdout)
    assert (done.returncode, told["clash"], told["conflicts"], told["rest"]) == (1, "1", ["train.py"], ["2", "5"])
    assert not told["is_done"] and not told["is_left"]
    assert git(book, "for-each-ref") == before and not (book / ".git" / "CHERRY_PICK_HEAD").exists()


def test_several_runs_share_the_steps_that_they_share(book):
    git(book, "branch", "home")

    done = lab(book).pick(["2", "3", "5"], onto="home")

    assert subjects(book, "home") == ["smaller steps", "twice the width", "dearer dropout", "more momentum"]
    assert "0.12 * DROPOUT" in script(book, "home") and "MOMENTUM = 0.9" in script(book, "home")
    assert any("run 3 was discarded" in note for note in done.notes)


def test_runs_that_do_not_go_together_make_no_squashed_commit(book):
    git(book, "branch", "home")

    with pytest.raises(UserError, match="runs 4 and 5 change the same lines"):
        lab(book).pick(["4", "5"], onto="home", squash=True)


@pytest.mark.parametrize(
    ("runs", "onto", "says"),
    [
        (["0"], "main", "is the baseline"),
        (["5"], "nope", "there is no branch 'nope'"),
        (["5"], "autoresearch/t1", "campaign's own branch"),
        (["5"], "-x", "there is no branch"),
        ([], "main", "no run is named"),
    ],
)
def test_what_cannot_be_picked_or_picked_onto_is_refused(book, runs, onto, says):
    before = git(book, "for-each-ref")

    with pytest.raises(UserError, match=says):
        lab(book).pick(runs, onto=onto)

    assert git(book, "for-each-ref") == before


def test_a_detached_head_and_the_campaigns_own_branch_take_no_commits(book):
    git(book, "checkout", "-q", "--detach")
    with pytest.raises(UserError, match="HEAD is detached"):
        lab(book).pick(["5"])

    git(book, "checkout", "-q", "autoresearch/t1")
    with pytest.raises(UserError, match="campaign's own branch"):
        lab(book).pick(["5"])


def test_a_branch_that_another_work_tree_has_is_picked_onto_there(book, tmp_path):
    git(book, "worktree", "add", "-q", "-b", "home", str(tmp_path / "home"))

    with pytest.raises(UserError, match="is checked out in") as caught:
        lab(book).pick(["5"], onto="home")
    assert f"evogit -C {tmp_path / 'home'} pick" in caught.value.hint

    lab(tmp_path / "home").pick(["5"])
    assert "MOMENTUM = 0.9" in (tmp_path / "home" / "train.py").read_text()


def test_a_run_that_crashed_is_not_taken_home(repo):
    path = repo / "train.py"
    path.write_text(path.read_text().replace("LR = 0.1", "LR = 1 / 0"))
    evogit(repo, "run", "--tag", "t1", "-m", "boom", check=False)
    git(repo, "checkout", "-q", "train.py")

    with pytest.raises(UserError, match="nobody knows what it does"):
        lab(repo).pick(["1"])


def test_a_recombination_brings_in_both_parents_and_says_so(book):
    from evogit.git import ledger, messages
    from evogit.git.merge import merge_trees
    from evogit.git.repository import Repository
    from evogit.picking import pick

    repo, campaign = Repository.open(book), lab(book).campaign
    two, three = (campaign.history.by_label[label].commit for label in ("5", "3"))
    tree = merge_trees(repo, two, three, only=lambda path: True).tree
    said = messages.RunMessage(label="9", campaign="t1", emitter="recombinator", agent="offline", summary="both")
    joint = ledger.write_run(repo, tree=tree, parents=(two, three), run=said)
    decide(repo, campaign, joint)
    git(book, "branch", "home")

    pick(repo, lab(book).campaign, ["9"], onto="home")

    assert subjects(book, "home") == ["smaller steps", "twice the width", "more momentum", "both"]
    assert "It brings in run 3: dearer dropout" in git(book, "log", "-1", "--format=%B", "home")
    assert "0.12 * DROPOUT" in script(book, "home") and "MOMENTUM = 0.9" in script(book, "home")


def decide(repo, campaign, run: str) -> None:
    """A keep of that run on the branch, with a reading like that of run 5."""
    import msgspec

    from evogit.domain.verdict import Decision, Verdict
    from evogit.git import ledger, refs

    [line] = [t for t in campaign.history.by_label["5"].trials if t.purpose == "select"]
    encoded = msgspec.json.encode(msgspec.structs.replace(line, run=run, id="f" * 16))
    tip = refs.read(repo, refs.branch("t1"))
    decision = Decision(verdict=Verdict.KEEP, reason="by hand")
    fields = {"label": "9", "incumbent": run, "seq": campaign.history.next_seq, "campaign": "t1", "decision": decision, "lines": [encoded]}
    refs.move(repo, refs.branch("t1"), ledger.write_decision(repo, tip=tip, run=run, **fields), tip, "test")


def test_a_problem_below_the_top_is_picked_at_its_place_and_an_adopted_commit_keeps_its_author(tmp_path):
    repo = make_toy(tmp_path / "deep", toml=ONE_SEED, folder="rp/toy")
    evogit(repo, "start", "t1")
    evogit(repo, "baseline", "--tag", "t1", "--seeds", "1")
    git(repo, "checkout", "-q", "autoresearch/t1")
    path = repo / "rp/toy/train.py"
    path.write_text(path.read_text().replace("LR = 0.1", "LR = 0.05"))
    git(repo, "-c", "user.name=Bo", "-c", "user.email=bo@example.org", "commit", "-qam", "smaller steps")
    git(repo, "checkout", "-q", "main")
    evogit(repo, "loop", "--tag", "t1", "--max-runs", "1", "--emitter", "local_tuner")
    adopted = next(run for run in lab(repo).runs() if run.emitter == "person")
    assert adopted.is_kept

    lab(repo).pick([adopted.label])

    assert git(repo, "log", "-1", "--format=%an <%ae>").strip() == "Bo <bo@example.org>"
    assert git(repo, "show", "--name-only", "--format=").split() == ["rp/toy/train.py"]


def test_through_an_epoch_mutable_files_alone_are_picked_and_what_stays_behind_is_said(book):
    git(book, "checkout", "-q", "autoresearch/t1")
    (book / "README.md").write_text("frozen, and changed\n")
    mine(book, "DROPOUT = 0.3", "DROPOUT = 0.25")
    git(book, "checkout", "-q", "main")
    evogit(book, "baseline", "--tag", "t1", "--seeds", "1")
    (book / "README.md").write_text("frozen, and changed\n")
    by_hand(book, "WIDTH = 16", "WIDTH = 32", "wide")
    git(book, "checkout", "-q", "README.md")
    git(book, "branch", "home")

    done = lab(book).pick(["incumbent"], onto="home")

    assert subjects(book, "home") == ["smaller steps", "twice the width", "more momentum", "begin epoch 1: README.md changed", "wide"]
    assert "DROPOUT = 0.25" in script(book, "home") and "WIDTH = 32" in script(book, "home")
    assert git(book, "show", "home:README.md") == "A toy.\n"
    assert any("README.md changed in epoch 1 and stay" in note for note in done.notes)
