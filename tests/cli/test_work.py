"""The commands that run trials: their options, their events in a pipe and on a terminal, Ctrl-C."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from evogit.domain import event as events
from evogit.domain.options import LoopOptions, Target

LAB = f"""
import importlib.util, sys, threading
found = importlib.util.spec_from_file_location("samples", {str(Path(__file__).parent / "conftest.py")!r})
samples = importlib.util.module_from_spec(found)
sys.modules["samples"] = samples
found.loader.exec_module(samples)
from evogit.cli.group import evogit
from evogit.cli.invocation import Invocation
lab = samples.FakeLab()
"""
RUN_IT = "evogit.main(prog_name='evogit', obj=Invocation(open_lab=lambda *a, **k: lab))\n"
WAITING_LOOP = """
asked = threading.Semaphore(0)
class Stopper:
    def request(self):
        asked.release()
lab.stopper = Stopper()
def loop(options, stop):
    events = samples.sample_events()
    yield from events[:4]
    for _ in range(REQUESTS):
        asked.acquire()
    yield from events[4:]
lab.loop = loop
"""


def test_the_options_of_a_loop_reach_it(invoke, lab):
    line = "--max-runs 12 --max-hours 1.5 --until val_loss<=0.05 --patience 5 --smoke --seed 7 --workers 2 --emitter simplifier"
    line += " --agent noop --agent-option a=b=c --reviewer command --reviewer-option d= --backend ray --timeout-s 60 --train-seconds 20"

    done = invoke("loop", *line.split(), "--", "--epochs", "2", "--", "x")

    assert done.exit_code == 0
    assert lab.asked["loop"] == LoopOptions(
        max_runs=12,
        max_hours=1.5,
        until=Target(metric="val_loss", relation="<=", value=0.05),
        patience=5,
        smoke=True,
        seed=7,
        workers=2,
        emitters=("simplifier",),
        agent="noop",
        agent_options={"a": "b=c"},
        reviewer="command",
        reviewer_options={"d": ""},
        backend="ray",
        timeout_s=60.0,
        train_s=20.0,
        arguments=("--epochs", "2", "--", "x"),
    )


def test_options_of_models_and_programs_reach_those_hands_that_take_them(invoke, lab):
    line = ["--agent", "claude-code", "--model", "m-1", "--base-url", "http://127.0.0.1:9", "--reviewer", "command", "--reviewer-command"]

    done = invoke("loop", *line, "python review.py", "--agent-option", "model=m-2", "--agent-option", "max_usd=1")

    assert done.exit_code == 0
    options = lab.asked["loop"]
    assert options.agent_options == {"model": "m-2", "max_usd": "1", "base_url": "http://127.0.0.1:9"}
    assert options.reviewer_options == {"command": "python review.py"}


def test_a_command_is_looked_for_where_the_user_said_to_start(invoke, lab, tmp_path):
    (tmp_path / "sub").mkdir()

    invoke("-C", "sub", "loop", "--agent", "command", "--agent-command", "python worker.py")

    assert lab.asked["loop"].agent_options == {"command": "python worker.py", "folder": "sub"}


@pytest.mark.parametrize(
    "line",
    [
        "--agent-command cat",
        "--reviewer-command cat",
        "--agent noop --agent-command cat",
        "--model m",
        "--agent noop --base-url http://x",
        "--address auto",
        "--cloud-spec x.yaml",
    ],
)
def test_an_option_that_nobody_takes_is_refused(invoke, lab, line):
    done = invoke("loop", *line.split())

    assert done.exit_code == 2
    assert "loop" not in lab.asked


def test_the_address_of_a_ray_cluster_is_an_option_of_that_backend_and_goes_before_others(invoke, lab):
    line = "--backend local --backend ray --address ray://head:10001 --backend-option ray.slots=3 --backend-option ray.cpus=0.5"

    invoke("loop", *line.split())

    assert lab.asked["loop"].backend_options == {"ray": {"slots": "3", "cpus": "0.5", "address": "ray://head:10001"}}


def test_an_account_of_digits_alone_stays_text(invoke, lab):
    invoke("loop", "--backend", "slurm", "--backend-option", "slurm.account=0042")

    assert lab.asked["loop"].backend_options == {"slurm": {"account": "0042"}}


def test_a_loop_of_which_nothing_is_said_has_the_defaults_of_its_options(invoke, lab):
    invoke("loop")

    assert lab.asked["loop"] == LoopOptions()


@pytest.mark.parametrize("target", ["val_loss", "val_loss<", "<1", "val_loss<nan", "val_loss<inf", "val_loss=1", "val_loss<1<2"])
def test_a_target_that_makes_no_sense_is_refused(invoke, lab, target):
    assert invoke("loop", "--until", target).exit_code == 2
    assert "loop" not in lab.asked


def test_a_target_over_an_unknown_metric_is_refused_before_anything_runs(invoke, lab):
    done = invoke("loop", "--until", "loss < 1")

    assert done.exit_code == 2
    assert done.stderr == "error: --until: digits has no metric loss\nhint: its metrics are val_loss, params\n"
    assert "loop" not in lab.asked


def test_in_a_pipe_an_event_is_a_line_and_the_last_one_says_how_to_go_on(invoke, lab):
    done = invoke("loop")

    lines = done.stdout.splitlines()
    assert len(lines) == len(lab.happenings)
    assert lines[5] == "run 1 keep: val_loss 0.08100, better by 0.01200 [simplifier] no dropout"
    assert lines[-1].endswith("go on with: evogit loop --tag nov20")


def test_loop_json_is_an_object_an_event(invoke):
    found = [json.loads(line)["event"] for line in invoke("loop", "--json").stdout.splitlines()]

    assert found == ["campaign", "plan", "candidate", "trial-started", "trial", "verdict", "warning", "stopped"]


def test_run_hands_over_what_the_person_said(invoke, lab):
    invoke("run", "--parent", "3", "--hypothesis", "wider is better", "-m", "double the width", "--", "--epochs", "2")

    parent, hypothesis, message, options = lab.asked["measure"]
    assert (parent, hypothesis, message) == ("3", "wider is better", "double the width")
    assert options.arguments == ("--epochs", "2")


@pytest.mark.parametrize("verdict, code", [("keep", 0), ("discard", 0), ("crash", 1), ("reject", 1)])
def test_a_persons_run_that_did_not_work_is_exit_code_1(invoke, lab, verdict, code):
    from msgspec.structs import replace

    lab.happenings = [replace(e, verdict=verdict) if hasattr(e, "verdict") else e for e in lab.happenings]

    assert invoke("run").exit_code == code


def test_baseline_measures_as_many_seeds_as_asked(invoke, lab):
    invoke("baseline", "--seeds", "5")

    assert lab.asked["baseline"] == 5


@pytest.mark.parametrize("presses", [1, 2])
def test_ctrl_c_asks_the_lab_to_stop_says_so_and_how_to_resume(presses):
    code = LAB + WAITING_LOOP.replace("REQUESTS", str(presses)) + RUN_IT
    said = ["finishing running trials; Ctrl-C again cancels them\n", "cancelling running trials\n"]

    with subprocess.Popen([sys.executable, "-c", code, "loop"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            if "train started" in line:
                break
        heard = []
        for _ in range(presses):
            process.send_signal(signal.SIGINT)
            heard.append(process.stderr.readline())
        rest = process.stdout.read()

    assert heard == said[:presses]
    assert rest.splitlines()[-1].endswith("go on with: evogit loop --tag nov20")
    assert process.returncode == 130


def test_a_third_ctrl_c_ends_a_loop_that_does_not_answer():
    code = LAB + WAITING_LOOP.replace("REQUESTS", "99") + RUN_IT

    with subprocess.Popen([sys.executable, "-c", code, "loop"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            if "train started" in line:
                break
        heard = []
        for _ in range(3):
            process.send_signal(signal.SIGINT)
            heard.append(process.stderr.readline())

    assert heard[-1] == "interrupted; nothing recorded is lost. Go on with: evogit loop --tag nov20\n"
    assert process.returncode == 130


def on_a_terminal(code: str, *args: str, columns: int = 80, rows: int = 60, **environment: str) -> str:
    """What a process writes on a terminal of its own, stdout and stderr together."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    wanted = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "LC_ALL", "LC_CTYPE", "COLUMNS", "LINES")}
    wanted |= {"TERM": "xterm", "LANG": "C.UTF-8", **environment}
    process = subprocess.Popen([sys.executable, "-c", code, *args], stdin=follower, stdout=follower, stderr=follower, env=wanted)
    os.close(follower)
    parts = []
    with contextlib.suppress(OSError):  # how Linux says that the other end has closed
        while part := os.read(leader, 65536):
            parts.append(part)
    os.close(leader)
    assert process.wait(timeout=60) == 0
    return b"".join(parts).decode().replace("\r\n", "\n")


def test_on_a_terminal_a_decided_run_is_a_line_and_what_runs_is_a_live_line():
    printed = on_a_terminal(LAB + RUN_IT, "loop")

    assert "… 1 simplifier: train, seed 0, 0 s" in printed
    assert "\x1b[32m\x1b[1m●   1\x1b[0m" in printed
    assert rows_after(printed) == [
        "campaign nov20: problem digits, backend local, sandbox bubblewrap, 0 runs so far",
        "●   1  keep       0.08100   -0.01200  simplifier            no dropout",
        "warning: the disk is nearly full (free some space)",
        "stopped after 1 run: 1 run was asked for; go on with: evogit loop --tag nov20",
    ], "the panel is gone at the end, and took nothing with it"
    assert "plan:" not in printed


def rows_after(printed: str) -> list[str]:
    """What stands on a terminal in the end, by the few commands that we give one."""
    rows, at, column = [""], 0, 0
    for command, text in re.findall(r"\x1b\[([0-9;]*[A-Za-z])|([^\x1b]+)", printed):
        for part in re.split(r"([\r\n])", text):
            if part == "\n":
                at, column = at + 1, 0
                rows += [""] * (at + 1 - len(rows))
            elif part == "\r":
                column = 0
            else:
                rows[at] = rows[at][:column].ljust(column) + part + rows[at][column + len(part) :]
                column += len(part)
        if command == "2K":
            rows[at] = ""
        elif command in ("J", "0J"):
            rows[at:] = [rows[at][:column]]
        elif command[-1:] in ("A", "F"):
            at, column = at - int(command[:-1]), column if command[-1] == "A" else 0
            assert at >= 0, "it went above what it had written"
    return [row for row in rows if row]


def panels(printed: str) -> list[list[str]]:
    """The rows of each panel that stood below, one after the other."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", printed)
    parts = re.split(r"(?:\r?\x1b\[2K|\x1b\[1A)+", plain)
    return [[row for row in part.split("\n") if row] for part in parts if part.startswith("… ")]


READINGS = """
from evogit.domain import event as ev
def reading(number, of, seed):
    yield ev.Planned(run=number, emitter="certify", parents=(of, "0"), instruction="certifies run 3 against run 0", of=of)
    yield ev.TrialStarted(run=number, seed=seed, step="train")
    yield ev.Replicated(run=of, readings=(0.08,), reason="certifies run 3 against run 0", reading=number)
lab.happenings = [event for n in range(4) for event in reading(str(9 + n), "03"[n % 2], 1000000 + n)]
lab.happenings += [ev.Planned(run="20", emitter="simplifier", parents=("3",), instruction="less"), ev.TrialStarted(run="20", seed=0, step="train")]
"""


def test_a_reading_leaves_the_live_line_when_it_is_recorded():
    shown = panels(on_a_terminal(LAB + READINGS + RUN_IT, "loop"))

    assert any(rows[0].startswith("… 9 certify of 0: train, seed 1000000, 0 s") for rows in shown)
    assert shown[-1] == [
        "… 20 simplifier: train, seed 0, 0 s",
        "  1 of 2 slots · 0 decided · best 0.08820 (run 6) · $0.42 of $5.00 · 0 s",
    ]
    assert not [row for rows in shown for row in rows if "person" in row]


MANY = """
from evogit.domain import event as ev
lab.happenings = [ev.Recovered(run="10", state="running", action="its trials go on", emitter="architecture_mutator")]
for n in range(10, 14):
    if n > 10:
        lab.happenings.append(ev.Planned(run=str(n), emitter="anomaly_chaser", parents=("3",), instruction="look into it"))
    lab.happenings.append(ev.TrialStarted(run=str(n), seed=n - 10, step="predict"))
"""


def test_each_worker_has_a_row_of_the_panel_and_a_recovered_run_says_who_is_at_work():
    shown = panels(on_a_terminal(LAB + MANY + RUN_IT, "loop"))

    assert [row.partition(",")[0] for row in shown[-1][:4]] == [
        "… 10 architecture_mutator: predict",
        "… 11 anomaly_chaser: predict",
        "… 12 anomaly_chaser: predict",
        "… 13 anomaly_chaser: predict",
    ]
    assert not [row for rows in shown for row in rows if len(row) > 79 or "candidate" in row]


def test_a_terminal_of_few_rows_has_one_row_of_what_runs():
    shown = panels(on_a_terminal(LAB + MANY + RUN_IT, "loop", rows=8))

    assert shown[-1] == ["… 10 predict 0:00 · 11 predict 0:00 · 12 predict 0:00 · 13 predict 0:00"]


def test_more_workers_than_the_panel_has_rows_for_share_its_last_one():
    shown = panels(on_a_terminal(LAB + MANY + RUN_IT, "loop", rows=12))

    assert [len(rows) for rows in shown][-1] == 4
    assert shown[-1][2] == "… 12 predict 0:00 · 13 predict 0:00"


PAUSED = """
from evogit.domain import event as ev
told = {"run": "", "by": "Ada", "reason": "", "id": "ab"}
lab.happenings = [lab.happenings[0], ev.Controlled(kind="pause", result="nothing further is begun", **told)]
"""


def test_a_pause_stands_in_the_panel_also_with_nothing_in_the_air():
    [rows] = [rows for rows in on_a_terminal(LAB + PAUSED + RUN_IT, "loop").split("\n") if "paused by Ada" in rows]

    assert "  paused by Ada · 0 of 2 slots · 0 decided" in rows


def test_a_command_that_did_one_thing_ends_without_counting_runs(invoke, lab):
    lab.happenings = [events.Stopped(reason="done", decided=1, resume="evogit loop --tag nov20")]

    assert invoke("baseline").stdout == "done; search on with: evogit loop --tag nov20\n"


READING = [
    ["log"],
    ["leaderboard"],
    ["frontier"],
    ["status"],
    ["show", "4"],
    ["lineage", "6"],
    ["doctor"],
    ["diff", "6"],
    ["start"],
    ["memory"],
    ["mark"],
    ["cost"],
    ["search", "gelu"],
]
READ_ALL = f"""
for line in {READING!r}:
    try:
        evogit.main(line, prog_name="evogit", obj=Invocation(open_lab=lambda *a, **k: lab))
    except SystemExit as ended:
        assert not ended.code, line
"""


@pytest.mark.parametrize("columns", [60, 80, 140])
def test_what_is_read_fits_the_terminal(columns):
    printed = on_a_terminal(LAB + READ_ALL, columns=columns, NO_COLOR="1")

    assert "\x1b" not in printed
    assert [line for line in printed.split("\n") if len(line) > columns] == []


def test_no_color_and_a_plain_locale_leave_plain_letters():
    printed = on_a_terminal(LAB + RUN_IT, "log", "--no-color", LANG="C")

    assert printed.isascii() and "\x1b" not in printed


def test_a_long_log_goes_through_the_pager():

    printed = on_a_terminal(LAB + MANY_RUNS + RUN_IT, "log", PAGER="sed s/^/paged:/")

    assert printed.count("paged:") >= 99


MANY_RUNS = "lab.runs = lambda **k: [samples.make_run(i, (i - 1,) if i else (), 'keep', (0.1,), incumbent=i) for i in range(99)]\n"


def test_the_pager_is_the_one_that_git_would_take(tmp_path):
    (tmp_path / "gitconfig").write_text("[core]\n\tpager = sed s/^/core:/\n")
    of_git = {"GIT_CONFIG_GLOBAL": str(tmp_path / "gitconfig"), "PAGER": "sed s/^/pager:/"}

    assert on_a_terminal(LAB + MANY_RUNS + RUN_IT, "log", **of_git).count("core:") >= 99
    assert on_a_terminal(LAB + MANY_RUNS + RUN_IT, "log", GIT_PAGER="sed s/^/own:/", **of_git).count("own:") >= 99


@pytest.mark.parametrize(
    "args, environment",
    [(["--no-pager", "log"], {}), (["log"], {"GIT_PAGER": "cat"}), (["log"], {"GIT_PAGER": "no-such-pager-here"}), (["log", "--tsv"], {})],
)
def test_without_a_pager_that_is_wanted_and_works_all_of_it_is_printed(args, environment):
    printed = on_a_terminal(LAB + MANY_RUNS + RUN_IT, *args, **{"PAGER": "sed s/^/paged:/", **environment})

    assert "paged:" not in printed
    assert sum("change" in line for line in printed.splitlines()) >= 99
