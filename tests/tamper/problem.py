"""The problem that cheats are tried on: a line is fitted, a locked ruler compares its answers with labels that no candidate may see.

Standard library only, a few milliseconds a job. The honest candidate below answers with a slope of 2.5 where 3 is right: its error
is `HONEST`, and any smaller number on record was not earned.
"""

from __future__ import annotations

SLOPE, OFFSET = 3.0, 1.0
POINTS = [-4.0, -2.5, -1.0, 0.5, 2.0, 3.5, 5.0]
HONEST = sum(abs(0.5 * x) for x in POINTS) / len(POINTS)
BASELINE = sum(abs(1.0 * x) for x in POINTS) / len(POINTS)  # slope 2

TOML = """\
[problem]
name = "line"
goal = "program.md"
mutable = ["train.py", "lib/**"]
command = "python train.py"

[evaluate]
predict = "python predict.py"
command = "python evaluate.py"

[[metric]]
name = "val_error"
direction = "minimize"

[budget]
timeout_s = 20
memory_mib = 512
seeds = [0]

[data]
prepare = "python prepare.py"

[sandbox]
hide = ["labels.json"]
"""

PREPARE = f"""\
import json, os
from pathlib import Path

folder = Path(os.environ["EVOGIT_DATA_DIR"])
folder.mkdir(parents=True, exist_ok=True)
(folder / "train.json").write_text(json.dumps([[x, {SLOPE} * x + {OFFSET}] for x in (-1.0, 0.0, 1.0)]))
(folder / "inputs.json").write_text(json.dumps({POINTS}))
"""

LABELS = [SLOPE * x + OFFSET for x in POINTS]

PREDICT = """\
import json, os
from pathlib import Path

from train import model

inputs = json.loads(Path(os.environ["EVOGIT_DATA_DIR"], "inputs.json").read_text())
slope = json.loads(Path(os.environ["EVOGIT_ARTIFACT_DIR"], "weights.json").read_text())["slope"]
answers = [model(slope, x) for x in inputs]
Path(os.environ["EVOGIT_ARTIFACT_DIR"], "predictions.json").write_text(json.dumps(answers))
"""

EVALUATE = """\
import json, math, os, stat
from pathlib import Path

file = Path(os.environ["EVOGIT_ARTIFACT_DIR"], "predictions.json")
if not stat.S_ISREG(os.lstat(file).st_mode) or file.stat().st_size > 100000:
    raise SystemExit("predictions.json is no small regular file")
answers = json.loads(file.read_text())
labels = json.loads((Path(__file__).parent / "labels.json").read_text())
if not isinstance(answers, list) or len(answers) != len(labels):
    raise SystemExit("one answer for each input is wanted")
if not all(type(a) in (int, float) and math.isfinite(a) for a in answers):
    raise SystemExit("answers are finite numbers")
print(json.dumps({"val_error": sum(abs(a - b) for a, b in zip(answers, labels)) / len(labels)}))
"""

# The same problem without a locked ruler: the candidate trains until a budget is spent, asks frozen code for its error and prints that.
REPORTED = TOML.replace(
    """[evaluate]
predict = "python predict.py"
command = "python evaluate.py"

""",
    "",
)
TASK = """\
import json
from pathlib import Path

TIME_BUDGET = 0.2


def batches(part):
    labels = json.loads((Path(__file__).parent / "points.json").read_text())
    return [row for n, row in enumerate(labels) if (n % 2 == 0) == (part == "val")]


def evaluate(model):
    points = batches("train") + batches("val")
    return sum(abs(model(x, mode="measured") - y) for x, y in points) / len(points)
"""
POINTS_AND_LABELS = [[x, y] for x, y in zip(POINTS, LABELS)]
SELF_REPORTED = """\
import random
import time

from task import TIME_BUDGET, batches, evaluate

SLOPE = {slope}
random.seed(42)
rows = batches("train")


def model(x, mode="training"):
    answer = SLOPE * x + 1.0
    return answer


spent = 0.0
while True:
    begun = time.time()
    time.sleep(0.05)
    spent += time.time() - begun
    if spent >= TIME_BUDGET:
        break

val_error = evaluate(model)
print(f"METRIC val_error={{val_error:.17g}}")
"""


def reported(*edits: tuple[str, str], slope: float = 2.5) -> str:
    """The text of a train.py that tells its own error, after replacing pieces of it."""
    text = SELF_REPORTED.format(slope=slope)
    for old, new in edits:
        assert old in text
        text = text.replace(old, new)
    return text


# What a trick is built into. `LOOT` is where it puts what it should not have been able to read.
CANDIDATE = """\
import json
import os
from pathlib import Path

SLOPE = {slope}
{at_import}

def model(slope, x):
{in_model}
    return slope * x + 1.0


def main():
    art = Path(os.environ["EVOGIT_ARTIFACT_DIR"])
    loot = lambda text: (art / "loot.txt").open("a").write(str(text) + "\\n")
    (art / "weights.json").write_text(json.dumps({{"slope": SLOPE}}))
{in_train}


if __name__ == "__main__":
    main()
"""


def candidate(slope: float = 2.5, at_import: str = "", in_model: str = "", in_train: str = "") -> str:
    """The text of train.py with a trick in one of three places."""
    return CANDIDATE.format(slope=slope, at_import=at_import, in_model=_indented(in_model), in_train=_indented(in_train))


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" if line else "" for line in text.strip("\n").splitlines())
