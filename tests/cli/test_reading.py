"""The commands that read: what they print, and what programs get with --json."""

from __future__ import annotations

import json

import msgspec
import pytest

from cli.conftest import make_run
from cli.test_work import LAB, RUN_IT, on_a_terminal, rows_after
from evogit.cli import leaderboard, log, memory, show, status, trust
from evogit.cli.invocation import Invocation
from evogit.cli.page import Page
from evogit.domain.lore import MemoryLine, Warning_
from evogit.domain.report import Finding
from evogit.present import clean

UNHELD = "sandbox none: trials could do what you can do"


def objects(done) -> list[dict]:
    assert done.exit_code == 0, done.output
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_log_draws_newest_first_with_verdicts_and_deltas(invoke):
    done = invoke("log")

    note, *lines = done.stdout.splitlines()
    assert note == UNHELD
    assert lines[0].split() == ["run", "val_loss", "↓", "vs", "best", "vs", "parent", "emitter", "summary"]
    assert lines[1].split() == ["╭─○", "7", "0.0894", "+0.0012", "+0.0012", "simplifier", "no", "dropout"]
    assert lines[2].split()[:6] == ["●─╮", "6", "0.0882", "±0.0008", "-0.0122", "-0.0223"]
    assert "⊘" in lines[3] and "reject" in lines[3] and "only train.py may change" in lines[3]
    assert "✗" in lines[4] and "crash" in lines[4] and "shapes cannot be multiplied" in lines[4]
    assert lines[8].split()[1] == "0"


def test_log_json_is_oldest_first_and_has_the_promised_keys(invoke):
    found = objects(invoke("log", "--json"))

    assert [o["run"] for o in found] == [str(i) for i in range(8)]
    assert list(found[0])[:6] == ["run", "commit", "parents", "campaign", "generation", "verdict"]


def test_a_filtered_log_still_compares_with_what_is_not_shown(invoke):
    lines = invoke("log", "--verdict", "discard").stdout.splitlines()

    assert len(lines) == 4
    assert lines[2].split()[-7:] == ["7", "0.0894", "+0.0012", "+0.0012", "simplifier", "no", "dropout"]


@pytest.mark.parametrize("width", [None, 120, 80, 60, 40])
def test_where_there_are_more_lanes_than_room_every_run_still_has_its_verdict(lab, width):
    runs = [make_run(0, (), "keep", (0.5,), incumbent=0)]
    runs += [make_run(i, (max(0, i - 30),), "discard", (0.6,), incumbent=0) for i in range(1, 90)]
    page = Page(width=width, height=40, unicode=True, colour=False, terminal=width is not None)

    _, *lines = log.lines(runs, runs, lab.metric, page)

    assert all(line.count("●") + line.count("○") == 1 for line in lines)
    assert any("…" in line[:30] for line in lines)
    assert max(line.index("0.") for line in lines) < 40


def test_a_role_that_no_run_is_of_is_answered_with_those_there_are(invoke):
    done = invoke("log", "--emitter", "nope")

    assert done.stderr == (
        "no run is of a role nope; there are: architecture_mutator, baseline, contrarian, optimizer_hacker, recombinator, simplifier\n"
    )


def test_an_option_without_its_value_says_where_its_help_is(invoke):
    done = invoke("search", "-n")

    assert (done.exit_code, done.stderr) == (2, "error: Option '-n' requires an argument\nhint: evogit search --help\n")


def test_search_shows_the_noise_and_compares_as_log_does(invoke):
    found = [line.split("\t") for line in invoke("search", "x", "--tsv").stdout.splitlines()]
    whole = [line.split("\t") for line in invoke("log", "--tsv").stdout.splitlines()]
    at = found[0].index("vs_parent")

    assert "0.1317 ±0.0032" in invoke("search", "x").stdout
    assert found[2][at] and found[2][: at + 1] == next(row for row in whole if row[0] == found[2][0])[: at + 1]


@pytest.mark.parametrize("width", [40, 50, 60, 80])
def test_no_count_of_status_is_cut_away(lab, width):
    page = Page(width=width, height=40, unicode=True, colour=False, terminal=True)

    lines = status.lines(lab.status(), page)

    assert all(len(line) <= width for line in lines[:10])
    assert all(word in " ".join(lines) for word in ("3 keep", "2 discard", "1 crash", "1 reject", "1 baseline"))


def test_memory_cuts_nothing_that_was_concluded(lab):
    told = lab.remembered()[0].text
    z = MemoryLine(kind="conjecture", key="gene:LR", runs=("3", "4"), count=2, value=-4.6, text="raising LR hurts " * 6)
    page = Page(width=60, height=40, unicode=True, colour=False, terminal=True)

    crash = memory.section("crash", lab.remembered()[:1], 8, "val_loss", page)
    conjecture = memory.section("conjecture", [z], 8, "val_loss", page)

    assert all(len(line) <= 60 for line in [*crash, *conjecture])
    assert f"{' '.join(told.split())} (run 4)" in " ".join(" ".join(crash).split())
    assert conjecture[2].split() == ["z"] and conjecture[3].split()[:3] == ["-4.6", "2", "runs"]


def test_log_is_ascii_where_the_locale_is(invoke, monkeypatch):
    monkeypatch.setenv("LANG", "C")

    printed = invoke("log").stdout

    assert printed.isascii()
    assert "k-." in printed


@pytest.mark.parametrize("command", ["log", "leaderboard", "frontier", "lineage"])
def test_every_list_of_runs_prints_the_same_objects(invoke, command):
    run = ["6"] if command == "lineage" else []

    found = {o["run"]: o for o in objects(invoke(command, *run, "--json"))}

    assert found["6"] == next(o for o in objects(invoke("log", "--json")) if o["run"] == "6")


def test_an_empty_campaign_says_what_to_do_on_stderr(invoke, lab):
    lab.runs = lambda **_: []
    lab.leaderboard = lambda limit: []
    lab.frontier = lambda over: []

    for command in ("log", "leaderboard", "frontier"):
        done = invoke(command)
        assert (done.exit_code, done.stdout) == (0, "")
        assert "evogit loop" in done.stderr
        assert invoke(command, "--json").stdout == ""


def test_show_tells_the_whole_story(invoke):
    printed = invoke("show", "6").stdout

    for words in ("run 6", "keep", "combine the two best", "0.08810", "mean", "+LR = 0.2", "better on every seed", "0/stdout", "1.2 KiB"):
        assert words in printed
    assert "2 02020202 (val_loss 0.1105, here -0.0223); 3 03030303" in printed


def test_show_says_why_a_run_crashed(invoke):
    assert "RuntimeError: mat1 and mat2 shapes cannot be multiplied (64x128 and 64x10) at train.py:42" in invoke("show", "4").stdout


def test_show_json_adds_plan_diff_trials_review_and_files(invoke):
    (found,) = objects(invoke("show", "6", "--json"))

    assert list(found)[-5:] == ["plan", "diff", "trials", "review", "files"]
    assert len(found["trials"]) == 3 and found["trials"][0]["seed"] == 0
    assert found["review"]["branch_recommendation"] == "continue"
    assert found["files"] == {"0/stdout": 1200}


def test_a_number_that_a_reading_had_says_so_and_shows_the_run_that_was_read(invoke, lab):
    lab.read_as = {"9": ["6", "0"]}

    printed = invoke("show", "9").stdout

    assert printed.startswith("9 was a reading of run 6 and of run 0, not a run; its numbers are among those of run 6\n\n● run 6  ")
    assert objects(invoke("show", "9", "--json"))[0]["run"] == "6"


def test_show_says_which_readings_the_mean_is_of(invoke, lab):
    later = {"purpose": "replicate", "seed": 7, "attempt": 1002, "metrics": {"val_loss": 0.5}}
    lab.extra_trials = (msgspec.structs.replace(lab.run("6").trials[0], **later),)

    lines = invoke("show", "6").stdout.splitlines()

    (row,) = [line for line in lines if "read later" in line]
    assert row.split()[:3] == ["7", "ok", "0.50000"] and row.endswith("read later, attempt 2")
    assert next(line for line in lines if "mean" in line).split()[1] == "0.08820"
    assert "  mean and ± are of the 3 readings that it was judged by; 1 later reading changed no verdict" in lines


def test_a_long_verdict_is_folded_and_nothing_of_it_is_cut(lab):
    reason = "as good and simpler: 12 lines less, 48% params less (val_loss worse by 0.0004), and a few words more about it"
    detail = msgspec.structs.replace(lab.show("6"), run=msgspec.structs.replace(lab.run("6"), reason=reason, near_miss=True))

    head = show.lines(detail, lab.problem, Page(width=60, height=40, unicode=True, colour=False, terminal=True))[:5]

    assert max(map(len, head)) <= 60
    assert f"verdict keep, a near miss: {reason}" in " ".join(" ".join(head).split())


def test_an_artifact_comes_byte_for_byte(invoke):
    assert invoke("show", "6", "--file", "0/stdout").stdout_bytes == b"\x00raw\xff\n"


def test_an_unknown_run_is_the_users_to_mend(invoke):
    done = invoke("show", "77")

    assert done.exit_code == 2
    assert done.stderr.startswith("error: there is no run 77\nhint:")


def test_a_diff_in_a_pipe_is_a_patch(invoke, lab):
    assert invoke("diff", "6").stdout == lab.diff("6")


@pytest.mark.parametrize("words", [("log",), ("leaderboard",), ("frontier",), ("lineage", "6"), ("diff", "6")])
def test_every_screen_of_runs_says_first_that_nothing_held_their_trials(words):
    assert rows_after(on_a_terminal(LAB + RUN_IT, *words))[0] == UNHELD


def test_runs_that_were_held_less_well_than_others_are_named(lab):
    bare, held = lab.run("6"), lab.run("3")
    held = msgspec.structs.replace(held, trials=tuple(msgspec.structs.replace(trial, sandbox="bubblewrap") for trial in held.trials))

    assert trust.notes([bare, held], NARROW) == ["sandbox none (runs 6): trials could do what you can do"]
    assert trust.notes([held], NARROW) == []


def test_diff_json_names_both_runs(invoke, lab):
    told = objects(invoke("diff", "6", "3", "--json"))[0]
    loss = {"before": lab.run("6").mean("val_loss"), "after": lab.run("3").mean("val_loss"), "floor": 0.03}

    assert (told["run"], told["other"], told["diff"]) == ("6", "3", lab.diff("6"))
    assert told["metrics"] == {"val_loss": loss, "params": {"before": 48010.0, "after": 48010.0, "floor": None}}


def test_diff_on_a_terminal_says_what_noise_explains_also_of_equal_code(invoke, lab, monkeypatch):
    page = Page(width=80, height=50, unicode=True, colour=False, terminal=True, paged=False)
    monkeypatch.setattr(Invocation, "page", lambda _self, **_: page)
    lab.diff = lambda a, b="": ""

    small, large = (invoke("diff", run, other).stdout.splitlines() for run, other in (("6", "3"), ("6", "1")))

    assert small[0] == large[0] == UNHELD
    assert small[2].split() == ["val_loss", "0.08820", "±0.00075", "0.10043", "±0.00071", "+0.01223", "within", "noise"]
    assert large[2].split()[-2:] == ["beyond", "noise"]
    assert small[3].split() == ["params", "48010", "48010", "0"]
    assert small[-1] == "their code is the same"


def test_the_leaderboard_has_a_column_for_every_metric(invoke):
    note, *lines = invoke("leaderboard").stdout.splitlines()

    assert note == UNHELD
    assert lines[0].split() == ["run", "val_loss", "↓", "params", "↓", "gain", "emitter", "summary"]
    assert lines[1].split()[:6] == ["1", "●", "6", "0.0882", "±0.0008", "48010"]
    assert len(invoke("leaderboard", "-n", "2").stdout.splitlines()) == 4


def test_the_frontier_is_listed_and_drawn(invoke, lab):
    printed = invoke("frontier").stdout

    assert lab.asked["frontier"] == ("val_loss", "params")
    assert "●2" in printed and "6●" in printed and "·" in printed
    assert "params (← is better)" in printed


def test_the_frontier_may_be_over_metrics_that_are_named(invoke, lab):
    invoke("frontier", "--over", "params,val_loss")
    unknown = invoke("frontier", "--over", "latency")

    assert lab.asked["frontier"] == ("params", "val_loss")
    assert unknown.exit_code == 2
    assert unknown.stderr.endswith("hint: its metrics are val_loss, params\n")


def test_a_lineage_is_drawn_oldest_first(invoke):
    lines = invoke("lineage", "6").stdout.splitlines()

    assert [line.split()[1] for line in lines[3:] if line.split()[0] == "●─╯"] == ["6"]
    assert lines[2].split()[:2] == ["●─╮", "0"]
    assert "-0.0122" in lines[-1]


def test_status_shows_the_campaign_and_commands_that_can_be_pasted(invoke):
    printed = invoke("status").stdout

    for words in ("digits", "nov20", "● 3 keep", "-0.0435 (-33%)", "8  running  contrarian", "nov19"):
        assert words in printed
    assert "  evogit loop --tag nov20  " in printed
    assert "finish 1 run in flight" in printed
    assert "  git diff 00000000 06060606  " in printed


def test_a_keep_of_a_baseline_is_counted_apart_and_the_counts_add_up(invoke):
    [line] = [line for line in invoke("status").stdout.splitlines() if line.startswith("runs")]

    assert line.split() == ["runs", "8", "●", "3", "keep", "○", "2", "discard", "✗", "1", "crash", "⊘", "1", "reject", "1", "baseline"]


def test_status_json_holds_runs_as_log_objects(invoke):
    (found,) = objects(invoke("status", "--json"))

    assert found["incumbent"]["run"] == "6" and found["baseline"]["run"] == "0"
    assert found["verdicts"] == {"keep": 4, "discard": 2, "crash": 1, "reject": 1}
    assert found["in_flight"][0]["state"] == "running"


NARROW = Page(width=80, height=50, unicode=True, colour=False, terminal=True)
DRIFT = Warning_(kind="drift", message="the baseline \x1b[2Jmoved " * 9, hint="evogit baseline --seeds 5 --tag nov20", about="0")


def test_status_warns_with_a_mark_and_a_hint_and_is_silent_without_a_reason(invoke, lab):
    silent = invoke("status").stdout
    lab.warnings = (DRIFT,)

    printed = invoke("status").stdout

    assert "warnings" not in silent
    assert "\nwarnings\n  ! the baseline [2Jmoved the baseline" in printed
    assert "\n    evogit baseline --seeds 5 --tag nov20\n" in printed
    assert "\x1b" not in printed


def test_warnings_are_folded_on_a_narrow_page_and_nothing_of_them_is_cut(lab):
    lab.warnings = (DRIFT,)

    found = status._warnings(lab.status(), NARROW)

    assert max(map(len, found)) <= 80
    assert " ".join(" ".join(found).split()) == f"warnings ! {clean(DRIFT.message)} {DRIFT.hint}"


def test_status_json_says_kind_message_and_hint_of_a_warning(invoke, lab):
    lab.warnings = (DRIFT,)

    (found,) = objects(invoke("status", "--json"))

    assert found["warnings"] == [{"kind": "drift", "message": DRIFT.message, "hint": DRIFT.hint}]
    assert found["epoch"] == 0


def test_status_says_which_runs_an_epoch_is_not_compared_with(invoke, lab):
    lab.epoch = 2

    assert "epoch     2: runs before run 0 are kept, and not compared\n" in invoke("status").stdout


def test_the_leaderboard_of_a_narrow_page_has_what_a_gain_is_worth_and_room_for_what_was_done(lab):
    wordy = [msgspec.structs.replace(run, summary="lower DROPOUT from 0.059 to 0.0232067") for run in lab.leaderboard()]

    lines = leaderboard.table(wordy, lab.problem.metrics, NARROW, ranked=True)

    assert max(map(len, lines)) <= 80
    assert lines[0].split() == ["run", "val_loss", "↓", "params", "↓", "gain", "summary"]
    assert all("lower DROPOUT from 0.059" in line for line in lines[1:])


def test_the_baseline_of_another_epoch_says_in_the_log_why_it_began(invoke, lab):
    told = [msgspec.structs.replace(run, epoch=1, hypothesis="evaluate.py changed") for run in lab.runs()]
    lab.runs = lambda **_: told

    lines = invoke("log").stdout.splitlines()

    assert lines[-1].endswith("  epoch 1: evaluate.py changed")
    assert sum("epoch 1" in line for line in lines) == 1


def test_status_points_to_where_the_metric_is_better_and_counts_no_baseline_among_the_emitters(invoke, lab):
    status_of = lab.status()
    lab.status = lambda: msgspec.structs.replace(status_of, emitters={"baseline": {"runs": 1, "keeps": 1}})

    printed = invoke("status").stdout

    assert "run  val_loss ↓" in printed
    assert "\nemitter" not in printed


def test_export_writes_where_it_is_told_and_replaces_nothing(invoke, lab, tmp_path):
    first = invoke("export", "-o", "results.tsv")
    second = invoke("export", "-o", "results.tsv")
    forced = invoke("export", "-o", "results.tsv", "--force")

    assert (first.exit_code, second.exit_code, forced.exit_code) == (0, 2, 0)
    assert "--force" in second.stderr
    assert (tmp_path / "results.tsv").read_text() == lab.export() == invoke("export").stdout


def test_a_healthy_campaign_is_said_to_be_healthy(invoke):
    done = invoke("doctor")

    assert done.exit_code == 0
    assert done.stdout.endswith("nothing is wrong\n")


def test_doctor_fails_while_an_error_remains(invoke, lab):
    broken = Finding(level="error", check="notes", message="run 3 has no line", fix="rebuilt from the branch")
    lab.findings = [broken, Finding(level="warning", check="locks", message="loop.lock is stale", fixed=True)]

    done = invoke("doctor")
    assert done.exit_code == 1
    assert lab.asked["doctor"] is False
    assert "rebuilt from the branch" in done.stdout
    assert done.stdout.endswith("1 error, 0 warnings; 1 mended\n")
    lab.findings = [Finding(level="error", check="notes", message="run 3 has no line", fixed=True)]
    assert invoke("doctor", "--fix").exit_code == 0
    assert lab.asked["doctor"] is True


def test_doctor_json_is_an_object_a_finding(invoke, lab):
    assert objects(invoke("doctor", "--json")) == [
        {"level": "ok", "check": "problem", "message": "evogit.toml reads well", "fix": "", "fixed": False}
    ]


@pytest.mark.parametrize("line, tag", [(["start", "spring"], "spring"), (["--tag", "spring", "start"], "spring"), (["start"], None)])
def test_start_says_branch_base_and_how_to_push(invoke, lab, line, tag):
    done = invoke(*line)

    assert lab.asked["start"] == tag
    assert f"autoresearch/{tag or 'nov20'}" in done.stdout
    assert (
        f"git push origin refs/heads/autoresearch/{tag or 'nov20'} \\\n              'refs/notes/evogit/*:refs/notes/evogit/*'\n"
        in done.stdout
    )


def test_init_writes_a_problem_file_says_what_it_guessed_and_never_replaces_one(invoke, tmp_path):
    (tmp_path / "train.py").write_text("LR = 0.1\nprint('METRIC val_loss=0.5')\n")

    first, second = invoke("init"), invoke("init")

    assert first.exit_code == 0
    assert "val_loss" in first.stdout and "evogit doctor" in first.stdout
    assert "train.py" in (tmp_path / "evogit.toml").read_text()
    assert second.exit_code == 2
    assert "exists" in second.stderr


def test_init_of_a_folder_that_is_not_there_is_the_users_to_mend(invoke):
    assert invoke("init", "nowhere").exit_code == 2


def test_a_diff_of_nothing_says_so_on_stderr(invoke, lab):
    lab.diff = lambda a, b="": ""

    done = invoke("diff", "0")

    assert (done.exit_code, done.stdout, done.stderr) == (0, "", "their code is the same\n")
