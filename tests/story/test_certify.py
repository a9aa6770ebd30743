"""Does a gain hold on fresh seeds? Asked by a person, answered in the ledger."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from evogit.git.repository import Repository
from evogit.lab import Lab
from evogit.search.evidence import FRESH
from toys import evogit, git, make_toy

BRANCH = "autoresearch/t1"


def change(repo: Path, old: str, new: str) -> None:
    """A person's edit, measured as a run."""
    source = repo / "train.py"
    source.write_text(source.read_text().replace(old, new))
    evogit(repo, "run", "--tag", "t1", "-m", f"{old} to {new}")


@pytest.fixture(scope="module")
def certified(tmp_path_factory) -> Path:
    """A campaign with one great gain, certified by a person; `certify.txt` beside it is what they saw."""
    with pytest.MonkeyPatch.context() as patch:
        home = tmp_path_factory.mktemp("certified-home")
        patch.setenv("HOME", str(home))
        patch.setenv("XDG_CACHE_HOME", str(home / "cache"))
        (home / ".gitconfig").write_text("[user]\n\tname = Ada\n\temail = ada@example.org\n")
        top = make_toy(tmp_path_factory.mktemp("certified") / "toy")
        evogit(top, "start", "t1")
        evogit(top, "baseline", "--seeds", "4", "--tag", "t1")
        change(top, "LR = 0.1", "LR = 0.01")
        done = evogit(top, "certify", "--tag", "t1")
        (top.parent / "certify.txt").write_text(done.stdout)
        return top


@pytest.fixture
def copy(certified, tmp_path) -> Path:
    shutil.copytree(certified, tmp_path / "copy", symlinks=True)
    return tmp_path / "copy"


def entries(repo: Path) -> list[str]:
    """Messages of the looks in the ledger, oldest first."""
    messages = git(repo, "log", "--first-parent", "--reverse", "--format=%B%x00", BRANCH).split("\0")
    return [m.strip() for m in messages if "Evogit-Kind: certify" in m]


def test_a_great_gain_is_certified_and_said_in_one_line(certified):
    last = (certified.parent / "certify.txt").read_text().splitlines()[-1]

    found = re.fullmatch(
        r"run 1 certified: val_loss better by (\S+) than run 0 \(95 % interval of the gain (\S+) to (\S+)\); (\d+) pairs, \4 looks, e-value (\S+), needed (\S+)",
        last,
    )
    assert found, last
    low, high = float(found[2]), float(found[3])
    assert 0 < low < 0.05 < high and float(found[5]) >= float(found[6])


def test_every_look_is_an_entry_of_one_reading_and_the_ancestor_is_read_first(certified):
    looks = entries(certified)

    history = Lab.open(certified, tag="t1").campaign.history
    baseline, run = history.find("0"), history.find("1")
    of = [re.search(r"Evogit-Of: (\w+)", look)[1] for look in looks]
    assert of == [baseline.commit, run.commit] * (len(looks) // 2)
    assert all(("Evogit-Certified" in look) == (who == run.commit) for look, who in zip(looks, of, strict=True))
    assert "Evogit-Certified: yes" in looks[-1] and "Evogit-Evidence: " in looks[-1]


def test_only_the_run_is_marked_and_its_seeds_were_never_selected_on(certified):
    history = Lab.open(certified, tag="t1").campaign.history

    assert history.find("1").certified is True and history.find("0").certified is None
    assert all(line.seed >= FRESH for lines in history.certifications.values() for line in lines)
    mine, theirs = (history.certifications[history.find(label).commit] for label in "10")
    assert [line.seed for line in mine] == [line.seed for line in theirs]


def test_a_certificate_moves_no_incumbent_and_changes_no_file(certified):
    tip = git(certified, "rev-parse", f"{BRANCH}^{{tree}}")

    assert tip == git(certified, "rev-parse", f"{Lab.open(certified, tag='t1').run('1').commit}^{{tree}}")


def test_memory_rebuilt_from_git_tells_the_same_test(certified):
    test, words = Lab.open(certified, tag="t1").certificate()

    assert words == (certified.parent / "certify.txt").read_text().splitlines()[-1]
    assert test.is_certified and test.number == 1


def test_asked_again_nothing_more_is_measured(copy):
    before = git(copy, "rev-parse", BRANCH)

    done = evogit(copy, "certify", "--tag", "t1")

    assert git(copy, "rev-parse", BRANCH) == before
    assert "run 1 certified" in done.stdout


def test_no_gain_gets_no_certificate_and_exit_code_1(copy):
    change(copy, "MOMENTUM = 0.5", "MOMENTUM = 0.49")

    done = evogit(copy, "certify", "2", "--looks", "2", "--tag", "t1", "--json", check=False)

    last = json.loads(done.stdout.splitlines()[-1])
    assert done.returncode == 1
    assert last["event"] == "certificate" and last["looks"] == 2 and not last["is_certified"] and last["number"] == 2
    assert Lab.open(copy, tag="t1").run("2").certified is False


@pytest.mark.slow
def test_a_test_that_was_left_off_goes_on_where_it_was(copy):
    change(copy, "MOMENTUM = 0.5", "MOMENTUM = 0.49")
    for _ in range(2):
        evogit(copy, "certify", "2", "--looks", "1", "--tag", "t1", check=False)

    test, _ = Lab.open(copy, tag="t1").certificate("2")

    assert test.looks == 2 and len(test.seeds) == 2


@pytest.mark.slow
def test_a_third_certificate_in_a_row_earns_a_tag(copy):
    change(copy, "WIDTH = 8", "WIDTH = 32")
    evogit(copy, "certify", "--tag", "t1")
    early = git(copy, "tag", "--list")
    change(copy, "DROPOUT = 0.3", "DROPOUT = 0.0")
    evogit(copy, "certify", "--incumbent", "--tag", "t1")

    assert early == "" and git(copy, "tag", "--list") == "evogit/t1/certified-3\n"
    assert git(copy, "cat-file", "-t", "evogit/t1/certified-3") == "tag\n"
    assert git(copy, "rev-parse", "evogit/t1/certified-3^{commit}").strip() == Lab.open(copy, tag="t1").run("3").commit


def test_the_tag_is_made_once(copy):
    from evogit import certifying
    from evogit.bench import Bench
    from evogit.domain.options import LoopOptions

    lab = Lab.open(copy, tag="t1")
    bench = Bench(lab.campaign, LoopOptions())
    run = lab.run("1").commit
    untagged = certifying.honour(bench, run)
    bench.memory.certification.streak = 3

    names = {certifying.honour(bench, run), certifying.honour(bench, run)}

    assert untagged == "" and names == {"evogit/t1/certified-1"}
    assert "refs/tags/evogit/t1/certified-1" in Repository.open(copy).git.references


def test_with_a_free_slot_the_incumbent_is_looked_at_while_runs_work(copy):
    change(copy, "WIDTH = 8", "WIDTH = 32")
    before = len(entries(copy))

    evogit(copy, "loop", "--tag", "t1", "--max-runs", "2", "--workers", "3", "--emitter", "local_tuner")

    looks, lab = entries(copy)[before:], Lab.open(copy, tag="t1")
    assert looks and f"Evogit-Of: {lab.run('1').commit}" in looks[0]
    assert "Evogit-Reason: certifies run 2 against run 1" in looks[0]


@pytest.mark.parametrize(
    "asked, said", [(["0"], "baseline"), (["9"], "no run"), (["1", "--incumbent"], "not both"), (["--looks", "17"], "17")]
)
def test_what_cannot_be_certified_is_said_plainly(certified, asked, said):
    done = evogit(certified, "certify", *asked, "--tag", "t1", check=False)

    assert done.returncode == 2 and said in done.stderr
