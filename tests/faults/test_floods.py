"""A trial that floods: files without number, output without end or of no encoding, numbers that are none. The night goes on."""

from __future__ import annotations

import json
import os

import pytest

import builders
from evogit.domain.flight import Flight, FlightState
from evogit.domain.options import LoopOptions
from evogit.domain.plan import Plan
from evogit.domain.trial import Outcome, Status
from evogit.lab import Lab
from evogit.stages import execute
from faults.runner import LETTING_THROUGH, Shot
from toys import TOML, evogit, git, make_toy

ONE_SEED = TOML.replace("[0, 1]", "[0]")
PLAN = Plan(emitter="local_tuner", parents=(builders.commit_of("0"),), seeds=(0,), rng=0)
FLIGHT = Flight(campaign="toy", number=1, label="1", clone="ab12", state=FlightState.RUNNING, plan=PLAN)
PATIENT = LETTING_THROUGH.replace("timeout_s = 20", "timeout_s = 300")

FILES = """
import os
for top in ({top}):
    for n in range(200):
        os.makedirs(f"{{top}}/flood/{{n}}")
        for m in range({each}):
            open(f"{{top}}/flood/{{n}}/{{m}}", "w").write(f"{{n}}/{{m}}")
"""


def flood(tmp_path, text: str) -> Shot:
    """A campaign whose next commit, a person's, floods after it has trained."""
    shot = Shot(tmp_path / "toy", toml=PATIENT)
    shot.loop("--max-runs", "1")
    git(shot.repo, "switch", "-q", "autoresearch/t1")
    source = (shot.repo / "train.py").read_text()
    (shot.repo / "train.py").write_text(source + text)
    git(shot.repo, "commit", "-q", "-am", "flood")
    git(shot.repo, "switch", "-q", "main")
    return shot


@pytest.mark.parametrize("each", [15, pytest.param(60, marks=pytest.mark.slow)])
def test_files_without_number_are_bounded_in_git_and_gone_afterwards(tmp_path, each):
    shot = flood(tmp_path, FILES.format(top='os.environ["EVOGIT_ARTIFACT_DIR"], os.getcwd()', each=each))

    shot.loop("--max-runs", "1")

    lab = shot.lab()
    [run] = [run for run in lab.runs() if run.emitter == "person"]
    assert run.crash == ""
    kept = [name for name in lab.show(run.label).files if name.startswith("trials/s0/artifacts/")]
    assert 0 < len(kept) <= execute.FILES_CAP
    shot.check()


def test_a_look_at_forty_thousand_files_is_a_look_at_a_few_thousand(tmp_path):
    for n in range(40):
        (tmp_path / f"{n}").mkdir()
        for m in range(1000):
            os.close(os.open(f"{tmp_path}/{n}/{m}", os.O_CREAT | os.O_WRONLY))
    (tmp_path / "metrics.json").write_text("{}")
    ended = Outcome(
        key="k", status=Status.OK, exit_code=0, seconds=1.0, peak_rss_mib=1, started="2026-01-01T00:00:00Z", folder=str(tmp_path)
    )
    kept = execute.gather(builders.problem(), FLIGHT, ended, tmp_path, tmp_path, lambda path: False)

    outputs = json.loads(kept.pop("outputs.json"))
    assert outputs[-1] == {"path": "", "left_out": f"all but {execute.LOOK_CAP} files"}
    assert kept["artifacts/metrics.json"] == b"{}"
    assert len([name for name in kept if name.startswith("artifacts/")]) == execute.FILES_CAP
    assert len(outputs) <= execute.FILES_CAP + 1


@pytest.mark.parametrize(
    "text",
    [
        'import sys\nsys.stdout.buffer.write(b"\\xff\\xfe\\x00\\x80" * 100_000 + b"\\n")\nsys.stdout.flush()\n',
        'import sys\nfor _ in range(300):\n    sys.stdout.write("z" * (1 << 20))\nprint()\n',
        'import os\nos.ftruncate(1, 10 << 30) if not __import__("stat").S_ISFIFO(os.fstat(1).st_mode) else None\n',
        'for n in range(100_000):\n    print(f"METRIC m{n}={n}")\n',
        'print("\\x1b]0;owned\\x07\\x1b[2J\\x1b[31m" * 1000)\n',
    ],
    ids=["no-text", "300-MiB", "10-GiB-sparse", "100000-metrics", "escapes"],
)
def test_output_of_any_kind_hides_no_number_and_breaks_no_page(tmp_path, text):
    shot = flood(tmp_path, text + 'print("METRIC val_loss=%r" % loss(int(os.environ["EVOGIT_SEED"])))\nprint("METRIC params=80")\n')

    shot.loop("--max-runs", "1")

    run = next(run for run in shot.lab().runs() if run.emitter == "person")
    assert run.crash == "" and set(run.readings) == {"val_loss", "params"}
    for words in (("log",), ("show", run.label), ("status",)):
        assert "\x1b" not in _said(shot, *words)
    shot.check()


def _said(shot: Shot, *words: str) -> str:
    return evogit(shot.repo, *words, "--tag", "t1").stdout


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "'0.01'", "[0.01]", "True", "None", "10**400", "{}"])
def test_a_number_that_is_none_is_a_crash_of_that_run_alone(tmp_path, value):
    top = make_toy(tmp_path / "toy", toml=ONE_SEED)
    Lab.open(top).start("t1")
    git(top, "switch", "-q", "autoresearch/t1")
    source = (top / "train.py").read_text()
    bad = f'import json, sys\nnan, inf = float("nan"), float("inf")\nopen(os.environ["EVOGIT_ARTIFACT_DIR"] + "/metrics.json", "w").write(json.dumps({{"val_loss": {value}}}))\nsys.exit()\n'
    (top / "train.py").write_text(source.replace('if __name__ == "__main__":\n', bad + 'if __name__ == "__main__":\n'))
    list(Lab.open(top, tag="t1").loop(LoopOptions(max_runs=1)))
    list(Lab.open(top, tag="t1").measure(parent=None, hypothesis="", message="bad", options=LoopOptions()))

    run = Lab.open(top, tag="t1").runs()[-1]
    assert (run.verdict.value, run.readings) == ("crash", {})
