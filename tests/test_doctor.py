from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest

from evogit import surroundings
from evogit.domain.event import Planned, TrialStarted
from evogit.domain.options import LoopOptions
from evogit.domain.report import Finding
from evogit.domain.run import Judgement
from evogit.domain.verdict import Verdict
from evogit.git import flights, notes, refs, snapshot
from evogit.git.history import History
from evogit.git.repository import Repository
from evogit.lab import Lab
from faults.runner import until
from toys import TOML, evogit, git, make_toy

JUDGED = [("1", Judgement(verdict=Verdict.KEEP, was=Verdict.DISCARD, by="Bo", reason="so", time="", entry=""))]
ONE_SEED = TOML.replace("[0, 1]", "[0]")
BRANCH, TIP = "refs/heads/autoresearch/t1", "refs/evogit/t1/tip"
OPTIONS = LoopOptions(max_runs=2, emitters=("local_tuner",))


@pytest.fixture(scope="module")
def searched(tmp_path_factory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        home = tmp_path_factory.mktemp("doctor-home")
        patch.setenv("HOME", str(home))
        patch.setenv("XDG_CACHE_HOME", str(home / "cache"))
        (home / ".gitconfig").write_text("[user]\n\tname = Ada\n\temail = ada@example.org\n")
        top = make_toy(tmp_path_factory.mktemp("doctor") / "toy", toml=ONE_SEED)
        Lab.open(top).start("t1")
        list(Lab.open(top, tag="t1").loop(OPTIONS))
        return top


@pytest.fixture
def repo(searched, tmp_path) -> Path:
    shutil.copytree(searched, tmp_path / "toy", symlinks=True)
    return tmp_path / "toy"


def examine(repo: Path, fix: bool = False) -> list[Finding]:
    return Lab.open(repo).doctor(fix)


def wrong(repo: Path, fix: bool = False) -> list[Finding]:
    return [f for f in examine(repo, fix) if f.level != "ok" and f.check != "sandbox"]


def only(repo: Path, fix: bool = False) -> Finding:
    (finding,) = wrong(repo, fix)
    return finding


def write(path: Path, old: str, new: str) -> None:
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def test_nothing_is_wrong_after_a_campaign(repo):
    findings = [f for f in examine(repo) if f.check != "sandbox"]  # what works there is the machine's

    assert {f.level for f in findings} == {"ok"}
    assert [f.check for f in findings] == ["repository", "problem", "branch", "books", "notes", "flights", "locks", "views"]
    # Of machine, clock and leftovers it speaks only where something is to be said.


def test_what_is_kept_of_the_branch_is_held_against_the_branch_and_removed_where_it_is_not_the_same(repo):
    opened = Repository.open(repo)
    history = History.read(opened, "t1")
    snapshot.save(opened, history)
    assert wrong(repo) == []

    history.runs[-1] = msgspec.structs.replace(history.runs[-1], reason="because it was paid")
    snapshot.save(opened, history)

    found = only(repo, fix=True)
    assert (found.level, found.check, found.fixed) == ("error", "books", True)
    assert "not what the branch says" in found.message
    assert wrong(repo) == []
    assert "paid" not in (repo / ".git/evogit/views/t1/results.tsv").read_text()


@pytest.mark.parametrize("part", ["numbers", "judgements", "_log", "incumbents"])
def test_every_part_of_what_is_kept_is_held_against_the_branch(repo, part):
    opened = Repository.open(repo)
    history = History.read(opened, "t1")
    told = vars(history)[part]
    vars(history)[part] = dict(list(told.items())[1:]) if isinstance(told, dict) else [*told, *(told[-1:] or JUDGED)]
    snapshot.save(opened, history)

    assert only(repo).check == "books"


def test_fixing_what_is_whole_changes_nothing(repo):
    before = git(repo, "for-each-ref")

    assert wrong(repo, fix=True) == []
    assert git(repo, "for-each-ref") == before


def test_a_repository_without_a_campaign_is_told_how_to_start_one(tmp_path):
    finding = only(make_toy(tmp_path / "toy"))

    assert (finding.level, finding.fix) == ("note", "`evogit start`")


# repository


def test_a_broken_object_is_an_error_that_git_fsck_names(repo):
    blob = git(repo, "rev-parse", f"{BRANCH}:README.md").strip()
    path = repo / ".git/objects" / blob[:2] / blob[2:]
    path.chmod(0o600)
    path.write_bytes(b"junk")

    finding = next(f for f in wrong(repo, fix=True) if f.check == "repository")

    assert (finding.level, finding.fixed) == ("error", False)
    assert blob in finding.message
    assert "README.md needs it" in finding.message
    assert path.exists()


@pytest.mark.parametrize("name", [f"{BRANCH}", f"{BRANCH}^{{tree}}", f"{BRANCH}:train.py", f"{BRANCH}^2", TIP])
def test_an_object_that_was_cut_short_is_an_error_where_history_needs_it_and_hangs_nobody(repo, name):
    hash = git(repo, "rev-parse", name).strip()
    path = cut(repo, hash)

    finding, *rest = wrong(repo, fix=True)

    assert (finding.level, finding.fixed, rest) == ("error", False, [])
    assert hash in finding.message and "needs it" in finding.message
    assert path.exists()
    done = evogit(repo, "status", check=False)
    assert done.returncode == 2
    assert "cut short" in done.stderr and "evogit doctor" in done.stderr


def test_a_damaged_object_that_nothing_needs_is_put_aside(repo):
    (repo / ".git/draft").write_text("never committed")
    hash = git(repo, "hash-object", "-w", ".git/draft").strip()
    path = cut(repo, hash)

    found, mended = only(repo), only(repo, fix=True)

    assert (found.level, found.fixed, mended.fixed) == ("warning", False, True)
    assert not path.exists()
    assert (repo / ".git/evogit/damaged" / hash).exists()
    assert wrong(repo) == []


def cut(repo: Path, hash: str) -> Path:
    """An object as a crash of the machine leaves it, seen for the first time after the restart."""
    path = repo / ".git/objects" / hash[:2] / hash[2:]
    path.chmod(0o600)
    path.write_bytes(path.read_bytes()[:7])
    (repo / ".git/evogit/boot").unlink(missing_ok=True)
    return path


def test_drafts_of_killed_writers_are_removed_once_they_are_old(repo):
    draft = repo / ".git/objects/tmp_object_git2_0123"
    draft.write_bytes(b"half")
    assert wrong(repo, fix=True) == []
    os.utime(draft, (1, 1))

    found, mended = only(repo), only(repo, fix=True)

    assert (found.level, found.fixed, mended.fixed) == ("note", False, True)
    assert not draft.exists()


def test_folders_of_trials_that_no_flight_speaks_of_are_removed(repo):
    home = Lab.open(repo).repo.cache / "campaigns/t1"
    for place in ("trials/dead", "jobs/local/dead"):
        (home / place).mkdir(parents=True)

    found, mended = only(repo), only(repo, fix=True)

    assert (found.check, found.fixed, mended.fixed) == ("leftovers", False, True)
    assert not (home / "trials/dead").exists() and not (home / "jobs/local/dead").exists()
    assert wrong(repo) == []


def test_a_clock_that_is_behind_the_books_is_a_note_and_nothing_is_mended(repo):
    run = git(repo, "rev-parse", BRANCH).strip()
    later = {"GIT_COMMITTER_DATE": "2099-01-01T00:00:00Z", "GIT_AUTHOR_DATE": "2099-01-01T00:00:00Z"}
    os.environ.update(later)
    try:
        made = git(repo, "commit-tree", f"{run}^{{tree}}", "-p", run, "-m", "from the future").strip()
    finally:
        for name in later:
            del os.environ[name]
    git(repo, "update-ref", BRANCH, made)
    git(repo, "update-ref", TIP, made)

    assert any(f.check == "clock" and f.level == "note" and "from the future" in f.message for f in examine(repo, fix=True))


def test_settings_that_prune_at_once_are_a_warning(repo):
    git(repo, "config", "gc.pruneExpire", "now")

    assert "gc.pruneExpire is 'now'" in only(repo).message


def test_a_folder_of_another_user_is_named(repo):
    if os.geteuid() != 0:
        pytest.skip("only root can give a folder away")
    os.chown(repo / ".git/evogit", 12345, 12345)

    finding = only(repo, fix=True)

    assert (finding.level, finding.fixed) == ("warning", False)
    assert "uid 12345" in finding.message and "chown" in finding.fix


def test_a_disk_that_is_nearly_full_is_a_warning(repo, monkeypatch):
    monkeypatch.setattr(surroundings.shutil, "disk_usage", lambda path: SimpleNamespace(free=5 << 20))

    assert only(repo).message == "only 5 MiB are free on its disk"


# problem


@pytest.mark.parametrize(
    ("old", "new", "word"),
    [
        ('"python train.py"', '"no-such-program train.py"', "no-such-program"),
        ('"python train.py"', '"python missing.py"', "missing.py"),
        ('["train.py"]', '["nothing_*.py"]', "nothing_*.py"),
        ("[problem]", "[problem", "evogit.toml"),
    ],
)
def test_a_problem_that_cannot_run_is_an_error_that_names_what_lacks(repo, old, new, word):
    write(repo / "evogit.toml", old, new)

    finding = only(repo, fix=True)

    assert (finding.level, finding.check, finding.fixed) == ("error", "problem", False)
    assert word in finding.message


def test_a_problem_without_a_goal_is_a_warning(repo):
    write(repo / "evogit.toml", 'goal = "program.md"\n', "")
    (repo / "program.md").unlink()
    (repo / "README.md").unlink()

    assert only(repo).message == "it has no goal file"


def test_a_command_that_needs_a_shell_is_not_picked_apart(repo):
    write(repo / "evogit.toml", '"python train.py"', '"cd deep && python missing.py"')

    assert wrong(repo) == []


def test_a_checkout_without_the_problem_is_no_error(repo):
    git(repo, "rm", "-q", "evogit.toml")

    assert only(repo).level == "note"


def test_several_problems_are_no_error_where_a_campaign_says_which_is_meant(tmp_path):
    top = make_toy(tmp_path / "toy", toml=ONE_SEED, folder="rp/one")
    shutil.copytree(top / "rp/one", top / "rp/two")
    git(top, "add", "-A")
    git(top, "commit", "-q", "-m", "two")
    list(Lab.open(top, problem="rp/two").loop(OPTIONS))

    assert wrong(top) == []


# branch


def test_a_missing_tip_is_written_again(repo):
    git(repo, "update-ref", "-d", TIP)

    found = only(repo)
    mended = only(repo, fix=True)

    assert (found.level, found.check, found.fixed, mended.fixed) == ("note", "branch", False, True)
    assert git(repo, "rev-parse", TIP) == git(repo, "rev-parse", BRANCH)
    assert wrong(repo) == []


def test_a_checkout_that_a_killed_loop_left_behind_follows_when_the_tip_is_mended(repo):
    git(repo, "checkout", "-q", "autoresearch/t1")
    write(repo / "train.py", "\nLR = ", "\nLR = 3.7 * ")
    list(Lab.open(repo).measure(parent=None, hypothesis="", message="mine", options=LoopOptions()))
    git(repo, "checkout", "-q", "--force", "autoresearch/t1")
    git(repo, "update-ref", TIP, f"{BRANCH}~1")
    git(repo, "read-tree", "-m", "-u", BRANCH, f"{BRANCH}~1")

    assert any(f.check == "branch" and f.fixed for f in wrong(repo, fix=True))
    assert git(repo, "status", "--porcelain") == ""
    assert git(repo, "rev-parse", TIP) == git(repo, "rev-parse", BRANCH)


def test_a_rewritten_branch_is_an_error_that_is_not_mended_for_you(repo):
    git(repo, "update-ref", BRANCH, f"{BRANCH}~1")

    finding = next(f for f in wrong(repo, fix=True) if f.check == "branch")

    assert (finding.level, finding.fixed) == ("error", False)
    assert f"git update-ref {BRANCH} {TIP}" in finding.fix
    assert git(repo, "rev-parse", BRANCH) != git(repo, "rev-parse", TIP)


def test_uncommitted_changes_on_the_branch_are_noted(repo):
    git(repo, "checkout", "-q", "autoresearch/t1")
    write(repo / "train.py", "\nLR = ", "\nLR = 3.7 * ")

    assert "first train.py" in only(repo).message


# books


def commit_on_branch(repo: Path, name: str, text: str, message: str, parents: list[str]) -> str:
    git(repo, "read-tree", f"--index-output={repo}/.git/other", BRANCH)
    (repo / ".git/draft").write_text(text)
    blob = git(repo, "hash-object", "-w", ".git/draft").strip()
    os.environ["GIT_INDEX_FILE"] = str(repo / ".git/other")
    try:
        git(repo, "update-index", "--cacheinfo", f"100644,{blob},{name}")
        tree = git(repo, "write-tree").strip()
    finally:
        del os.environ["GIT_INDEX_FILE"]
    return git(repo, "commit-tree", tree, *(w for p in parents for w in ("-p", p)), "-m", message).strip()


def test_a_decision_that_was_edited_by_hand_is_an_error(repo):
    run = git(repo, "rev-parse", f"{BRANCH}^2").strip()
    before = git(repo, "rev-parse", f"{BRANCH}~1").strip()
    forged = commit_on_branch(repo, "program.md", "x", git(repo, "log", "-1", "--format=%B", BRANCH), [before, run])
    git(repo, "update-ref", BRANCH, forged)
    git(repo, "update-ref", TIP, forged)

    finding = next(f for f in wrong(repo, fix=True) if f.check == "books")

    assert (finding.level, finding.fixed) == ("error", False)
    assert "the tip's tree is not the incumbent's" in finding.message


def test_a_run_that_changed_a_frozen_file_is_an_error(repo):
    before, run = git(repo, "rev-parse", f"{BRANCH}~1", f"{BRANCH}^2").split()
    forged = commit_on_branch(
        repo, "program.md", "x", git(repo, "log", "-1", "--format=%B", run), [git(repo, "rev-parse", f"{run}^").strip()]
    )
    message = git(repo, "log", "-1", "--format=%B", BRANCH).replace(run, forged)
    decision = git(repo, "commit-tree", f"{BRANCH}^{{tree}}", "-p", before, "-p", forged, "-m", message).strip()
    git(repo, "update-ref", BRANCH, decision)
    git(repo, "update-ref", TIP, decision)

    assert any(f.level == "error" and "changed program.md, which is frozen" in f.message for f in wrong(repo))


def test_an_epoch_whose_baseline_is_not_measured_yet_is_no_error(repo):
    git(repo, "checkout", "-q", "autoresearch/t1")
    write(repo / "program.md", "small", "tiny")
    git(repo, "commit", "-q", "-a", "-m", "another problem")
    for event in (night := Lab.open(repo).loop(LoopOptions(max_runs=3))):
        if isinstance(event, Planned):
            break
    night.close()

    assert {f.level for f in examine(repo)} == {"ok", "note"}


def test_runs_of_an_epoch_with_other_mutable_files_are_not_held_against_todays_contract(repo):
    git(repo, "checkout", "-q", "autoresearch/t1")
    (repo / "other.py").write_text((repo / "train.py").read_text())
    write(repo / "evogit.toml", '["train.py"]', '["other.py"]')
    write(repo / "evogit.toml", "python train.py", "python other.py")
    git(repo, "add", "-A")
    git(repo, "commit", "-q", "-m", "another file")
    list(Lab.open(repo).loop(OPTIONS))

    assert wrong(repo) == []


# notes


def test_missing_notes_are_written_again_from_the_branch(repo):
    told = git(repo, "log", "--notes=evogit/metrics", "--format=%H %N", BRANCH)
    git(repo, "update-ref", "-d", "refs/notes/evogit/metrics")

    found, mended = only(repo), only(repo, fix=True)

    assert (found.level, found.check, found.fixed, mended.fixed) == ("warning", "notes", False, True)
    assert git(repo, "log", "--notes=evogit/metrics", "--format=%H %N", BRANCH) == told
    assert wrong(repo) == []


def test_two_lines_with_one_id_and_other_bytes_are_flagged_and_both_kept(repo):
    opened = Repository.open(repo)
    run = git(repo, "rev-parse", f"{BRANCH}^2").strip()
    (line,) = notes.read(opened, notes.METRICS, run)
    notes.add(opened, notes.METRICS, {run: [line.replace(b'"status":"ok"', b'"status":"crash"')]}, "forged")

    finding = only(repo, fix=True)

    assert (finding.level, finding.fixed) == ("warning", False)
    assert len(notes.read(opened, notes.METRICS, run)) == 2


def test_lines_of_a_note_that_are_no_records_are_noted_and_kept(repo):
    run = git(repo, "rev-parse", f"{BRANCH}^2").strip()
    git(repo, "notes", "--ref=evogit/metrics", "append", "-m", "well done!", run)

    finding = only(repo, fix=True)

    assert (finding.level, finding.check, finding.fixed) == ("note", "notes", False)
    assert b"well done!" in notes.read(Repository.open(repo), notes.METRICS, run)


# flights


def leave_in_flight(repo: Path) -> flights.StoredFlight:
    """A loop that is closed in the middle of a run leaves its flight."""
    for event in (night := Lab.open(repo).loop(OPTIONS)):
        if isinstance(event, Planned):
            break
    night.close()
    (stored,) = flights.listing(Repository.open(repo), "t1")
    return stored


def test_a_flight_that_was_left_is_noted_and_kept_for_the_next_loop(repo):
    leave_in_flight(repo)

    finding = only(repo, fix=True)

    assert (finding.level, finding.fixed) == ("note", False)
    assert "evogit loop --tag t1" in finding.fix
    assert len(flights.listing(Repository.open(repo), "t1")) == 1
    list(Lab.open(repo).loop(OPTIONS))
    assert wrong(repo) == []


def test_a_flight_that_left_what_cannot_be_taken_in_is_named(tmp_path):
    repo = make_toy(tmp_path / "toy", toml=ONE_SEED.replace("[budget]", '[evaluate]\ncommand = "python evaluate.py"\n\n[budget]'))
    (repo / "evaluate.py").write_text("")
    git(repo, "add", "-A")
    git(repo, "commit", "-qm", "a ruler")
    Lab.open(repo).start("t1")
    for event in (night := Lab.open(repo, tag="t1").loop(OPTIONS)):
        if isinstance(event, TrialStarted):
            break
    night.close()
    lab = Lab.open(repo, tag="t1")
    [stored] = flights.listing(lab.repo, "t1")
    [folder] = (lab.repo.cache / "campaigns/t1/trials").glob("*/artifacts")
    for n in range(3):
        (folder / f"{n}").touch()

    [finding] = surroundings.untaken(lab, stored, most=2)

    assert (finding.level, finding.message) == ("warning", "what run 0 left cannot be taken in: it left more than 2 files and folders")
    assert "evogit loop --tag t1" in finding.fix
    assert list(surroundings.untaken(lab, stored)) == []


def test_a_flight_of_a_run_that_is_decided_is_removed(tmp_path):
    top = make_toy(tmp_path / "toy", toml=ONE_SEED)
    Lab.open(top).start("t1")
    ref, hash = git(top, "for-each-ref", "--format=%(refname) %(objectname)", "refs/evogit/t1/inflight").split()
    list(Lab.open(top).loop(OPTIONS))
    git(top, "update-ref", ref, hash)

    found, mended = only(top), only(top, fix=True)

    assert (found.fixed, mended.fixed) == (False, True)
    assert "run 0 is decided, its flight is left over" in found.message
    assert wrong(top) == []


def test_a_flight_of_another_clone_is_left_to_it(repo):
    stored = leave_in_flight(repo)
    (repo / ".git/evogit/clone").write_text("ffff\n")

    finding = only(repo, fix=True)

    assert f"on clone {stored.flight.clone}" in finding.message
    assert len(flights.listing(Repository.open(repo), "t1")) == 1


def test_a_flight_that_cannot_be_read_is_an_error(repo):
    git(repo, "update-ref", refs.inflight("t1", "ffff", 9), "main")

    finding = only(repo, fix=True)

    assert (finding.level, finding.fixed) == ("error", False)
    assert refs.inflight("t1", "ffff", 9) in finding.message


# locks


LOCKS = [f"{BRANCH}.lock", f"{TIP}.lock", "refs/notes/evogit/metrics.lock", "packed-refs.lock", "index.lock", "HEAD.lock", "gc.pid.lock"]


@pytest.mark.parametrize("name", LOCKS)
def test_a_stale_lock_is_removed_and_a_fresh_one_is_left(repo, name):
    path = repo / ".git" / name
    path.touch()
    fresh = only(repo, fix=True)
    assert path.exists()
    os.utime(path, (1, 1))

    found, mended = only(repo), only(repo, fix=True)

    assert (fresh.level, found.level) == ("note", "warning")
    assert (found.fixed, mended.fixed) == (False, True)
    assert not path.exists()


def test_an_index_lock_of_a_git_that_waits_in_an_editor_is_left_to_it(repo, tmp_path):
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    git(repo, "switch", "-q", "main")
    write(repo / "README.md", "A toy", "My toy")
    waiting = subprocess.Popen(["git", "-c", f"core.editor=cat {gate} >", "commit", "-a"], cwd=repo, stdout=subprocess.DEVNULL)
    lock = repo / ".git/index.lock"
    until(lock.exists)
    os.utime(lock, (1, 1))
    try:
        findings = examine(repo, fix=True)
        assert lock.exists()
    finally:
        gate.write_text("mine\n")
        assert waiting.wait(30) == 0

    assert any(f.check == "locks" and f.level == "note" and "a git command is at work" in f.message for f in findings)


def test_a_running_loop_is_seen_and_its_locks_are_left(repo):
    night = Lab.open(repo).loop(OPTIONS)
    next(night)
    lock = repo / ".git" / f"{BRANCH}.lock"
    lock.touch()
    os.utime(lock, (1, 1))
    try:
        findings = examine(repo, fix=True)
    finally:
        lock.unlink()
        night.close()

    assert any(f"a loop is running (pid {os.getpid()})" in f.message for f in findings)
    assert not any(f.fixed for f in findings if f.check == "locks")


# views


def test_a_view_that_is_behind_is_written_again(repo):
    path = repo / ".git/evogit/views/t1/results.tsv"
    right = path.read_text()
    path.write_text(right.rpartition("\n")[0][:-9])

    found, mended = only(repo), only(repo, fix=True)

    assert (found.level, found.fixed, mended.fixed) == ("note", False, True)
    assert path.read_text() == right


# the command


def test_an_unknown_campaign_is_refused(repo):
    done = evogit(repo, "doctor", "--tag", "nope", check=False)

    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 2


def test_the_exit_code_is_1_while_an_error_remains(repo):
    write(repo / "evogit.toml", "python train.py", "no-such-program train.py")

    done = evogit(repo, "doctor", check=False)

    assert done.returncode == 1
    assert "no-such-program" in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize("level", ["none", "landlock"])
def test_how_trials_are_held_is_said_with_the_reason(repo, monkeypatch, level):
    monkeypatch.setenv("EVOGIT_SANDBOX", level)

    found = next(f for f in examine(repo) if f.check == "sandbox")

    assert found.level == "note"
    assert "trials run at level " in found.message and f"EVOGIT_SANDBOX is {level}" in found.message
    assert "bubblewrap" in found.fix
