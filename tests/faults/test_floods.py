"""A trial that floods: files without number, output without end or of no encoding, numbers that are none. The night goes on."""

from __future__ import annotations

import time

import pytest

from evogit.lab import Lab
from faults.runner import Shot
from toys import git, make_toy

FILES = """
import os
for top in ({top}):
    for n in range(200):
        os.makedirs(f"{{top}}/flood/{{n}}")
        for m in range({each}):
            open(f"{{top}}/flood/{{n}}/{{m}}", "w").write("x")
"""


def flood(tmp_path, text: str) -> Shot:
    """A campaign whose next commit, a person's, floods before it trains."""
    shot = Shot(tmp_path / "toy")
    shot.loop("--max-runs", "1")
    git(shot.repo, "switch", "-q", "autoresearch/t1")
    source = (shot.repo / "train.py").read_text()
    (shot.repo / "train.py").write_text(source + text)
    git(shot.repo, "commit", "-q", "-am", "flood")
    git(shot.repo, "switch", "-q", "main")
    return shot


@pytest.mark.parametrize("each", [25, pytest.param(500, marks=pytest.mark.slow)])
def test_files_without_number_are_bounded_in_git_and_gone_afterwards(tmp_path, each):
    shot = flood(tmp_path, FILES.format(top='os.environ["EVOGIT_ARTIFACT_DIR"], os.getcwd()', each=each))
    before = int(git(shot.repo, "count-objects").split()[0])
    began = time.monotonic()

    shot.loop("--max-runs", "1")

    run = next(run for run in shot.lab().runs() if run.emitter == "person")
    assert run.crash == ""
    assert int(git(shot.repo, "count-objects").split()[0]) - before < 5000
    assert time.monotonic() - began < 30 + each * 200 / 1000  # a millisecond a file, with two seeds, for everything
    shot.check()


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
    from toys import evogit

    return evogit(shot.repo, *words, "--tag", "t1").stdout


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "'0.01'", "[0.01]", "True", "None", "10**400", "{}"])
def test_a_number_that_is_none_is_a_crash_of_that_run_alone(tmp_path, value):
    top = make_toy(tmp_path / "toy")
    Lab.open(top).start("t1")
    git(top, "switch", "-q", "autoresearch/t1")
    source = (top / "train.py").read_text()
    bad = f'import json, sys\nnan, inf = float("nan"), float("inf")\nopen(os.environ["EVOGIT_ARTIFACT_DIR"] + "/metrics.json", "w").write(json.dumps({{"val_loss": {value}}}))\nsys.exit()\n'
    (top / "train.py").write_text(source.replace('if __name__ == "__main__":\n', bad + 'if __name__ == "__main__":\n'))
    from evogit.domain.options import LoopOptions

    list(Lab.open(top, tag="t1").loop(LoopOptions(max_runs=1)))
    list(Lab.open(top, tag="t1").measure(parent=None, hypothesis="", message="bad", options=LoopOptions()))

    run = Lab.open(top, tag="t1").runs()[-1]
    assert (run.verdict.value, run.readings) == ("crash", {})
