"""What Tab offers, as each shell asks for it; a shell reads the lines that are printed for it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

from toys import evogit, git, make_toy

STARTED = "import sys; from evogit.cli import main; sys.argv[0] = 'evogit'; main()"


def tab(where, *words: str) -> list[str]:
    """Words that bash would be offered behind these."""
    env = {**os.environ, "_EVOGIT_COMPLETE": "bash_complete", "COMP_WORDS": " ".join(words), "COMP_CWORD": str(len(words) - 1)}
    done = subprocess.run([sys.executable, "-c", STARTED], cwd=where, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr == ""
    return [line.partition(",")[2] for line in done.stdout.splitlines() if line]


@pytest.fixture
def started(tmp_path):
    repo = make_toy(tmp_path / "toy")
    evogit(repo, "start", "nov20")
    evogit(repo, "start", "nov21")
    return repo


def test_commands_options_runs_and_campaigns_are_offered(started):
    evogit(started, "baseline", "--tag", "nov20", "--seeds", "1")

    assert tab(started, "evogit", "pr") == ["prune"]
    assert "--because" in tab(started, "evogit", "judge", "--")
    assert tab(started, "evogit", "log", "--tag", "") == ["nov20", "nov21"]
    assert tab(started, "evogit", "--tag", "nov20", "show", "") == ["0", "incumbent", "baseline"]
    assert tab(started, "evogit", "prune", "nov21") == ["nov21"]
    assert tab(started, "evogit", "judge", "0", "") == ["keep", "discard"]


def test_runs_in_flight_ideas_and_new_commands_are_offered(started):
    evogit(started, "baseline", "--tag", "nov20", "--seeds", "1")
    evogit(started, "ideas", "add", "raise MOMENTUM to 0.9", "--tag", "nov20")
    [id] = [
        line.split("\t")[0] for line in evogit(started, "ideas", "--tsv", "--status", "queued", "--tag", "nov20").stdout.splitlines()[1:]
    ][:1]

    assert tab(started, "evogit", "--tag", "nov21", "cancel", "") == ["0"]
    assert tab(started, "evogit", "--tag", "nov20", "mark", "0") == ["0"]
    assert id in tab(started, "evogit", "--tag", "nov20", "ideas", "drop", "")
    assert tab(started, "evogit", "me") == ["memory", "measure"]
    assert "--porcelain" in tab(started, "evogit", "log", "--")
    assert tab(started, "evogit", "log", "--emitter", "simp") == ["simplifier"]
    assert tab(started, "evogit", "--tag", "nov20", "log", "--since", "b") == ["baseline"]


def test_tags_metrics_branches_artifacts_themes_and_hands_are_offered(started):
    evogit(started, "baseline", "--tag", "nov20", "--seeds", "1")
    evogit(started, "tag", "0", "paper-v1", "--tag", "nov20")
    git(started, "tag", "v9")
    git(started, "branch", "feature")

    assert tab(started, "evogit", "--tag", "nov20", "show", "p") == ["paper-v1"]
    assert "v9" not in tab(started, "evogit", "--tag", "nov20", "show", "")
    assert tab(started, "evogit", "--tag", "nov20", "bisect", "val") == ["val_loss"]
    assert tab(started, "evogit", "--tag", "nov20", "frontier", "--over", "params,val") == ["params,val_loss"]
    assert tab(started, "evogit", "pick", "--onto", "") == ["feature", "main"]
    assert "trials/s0/stdout" in tab(started, "evogit", "--tag", "nov20", "show", "0", "--file", "tri")
    assert tab(started, "evogit", "tui", "--theme", "evogit") == ["evogit-dark", "evogit-light"]
    assert "nord" in tab(started, "evogit", "tui", "--theme", "n")
    assert tab(started, "evogit", "emitters", "--what-if", "uni") == ["uniform"]
    assert tab(started, "evogit", "loop", "--agent", "off") == ["offline"]
    assert tab(started, "evogit", "loop", "--backend", "sl") == ["slurm"]


def test_where_there_is_nothing_to_offer_tab_is_silent(tmp_path, started):
    (tmp_path / "empty").mkdir()

    assert tab(tmp_path / "empty", "evogit", "show", "") == []
    assert tab(started, "evogit", "nonsense", "") == []
    assert tab(started, "evogit", "log", "--tag", "nope", "--since", "") == []


def test_archived_campaigns_are_offered_to_restore(started):
    evogit(started, "prune", "nov21", "--flights")

    assert tab(started, "evogit", "prune", "--restore", "") == ["nov21"]
    assert git(started, "branch", "--list", "autoresearch/nov21") == ""


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_lines_are_of_that_shell_and_name_the_program(tmp_path, shell):
    text = evogit(tmp_path, "completion", shell).stdout

    assert "_EVOGIT_COMPLETE" in text and f"{shell}_complete" in text
    if shutil.which(shell):
        assert subprocess.run([shell, "-n"], input=text, text=True, check=False, timeout=60).returncode == 0


def test_a_shell_that_nobody_knows_is_refused(tmp_path):
    done = evogit(tmp_path, "completion", "tcsh", check=False)

    assert done.returncode == 2 and "bash" in done.stderr
