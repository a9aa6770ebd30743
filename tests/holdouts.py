"""The toy with a locked ruler and held-out data, whose scores are easily found wherever they should not be."""

from __future__ import annotations

import json
from pathlib import Path

from evogit import holdout
from evogit.domain.holdout import Look
from evogit.git.holdout_book import HoldoutBook
from evogit.lab import Lab
from toys import TOML, TRAIN, make_toy

SECRET = "7316429"  # begins every held-out score
HELD_TOML = (
    TOML.replace("[0, 1]", "[0]")
    + """
[evaluate]
predict = "python predict.py"
command = "python evaluate.py"

[data]
prepare = "python prepare.py seen"

[holdout]
prepare = "python prepare.py unseen"
command = "python holdout.py"

[sandbox]
env = ["TOY_GATE", "TOY_SCORE"]
"""
)
HELD_TRAIN = TRAIN.replace(
    'if __name__ == "__main__":\n',
    'if __name__ == "__main__":\n    open(os.path.join(os.environ["EVOGIT_ARTIFACT_DIR"], "model"), "w").write(repr(loss(int(os.environ["EVOGIT_SEED"]))))\n',
)
FILES = {
    "prepare.py": 'import os, sys\nopen(os.path.join(os.environ["EVOGIT_DATA_DIR"], "inputs"), "w").write(sys.argv[1])\n',
    "predict.py": """\
import json, os
made = os.environ["EVOGIT_ARTIFACT_DIR"]
inputs = open(os.path.join(os.environ["EVOGIT_DATA_DIR"], "inputs")).read()
json.dump([inputs, float(open(made + "/model").read())], open(made + "/predictions.json", "w"))
""",
    "evaluate.py": """\
import json, os
inputs, loss = json.load(open(os.environ["EVOGIT_ARTIFACT_DIR"] + "/predictions.json"))
assert inputs == "seen"
print(json.dumps({"val_loss": loss}))
""",
    "holdout.py": """\
import json, os
inputs, loss = json.load(open(os.environ["EVOGIT_ARTIFACT_DIR"] + "/predictions.json"))
assert inputs == "unseen", inputs
if os.environ.get("TOY_GATE"):
    open(os.environ["TOY_GATE"]).close()
if os.environ.get("TOY_SCORE"):
    print(os.environ["TOY_SCORE"])
else:
    print(json.dumps({"val_loss": int("731" + "6429") + loss}))
""",
}


def make_held(where: Path, **more: str) -> Path:
    """A committed toy with held-out data; returns the repository's top."""
    return make_toy(where, **{"toml": HELD_TOML, "train": HELD_TRAIN, "extra": FILES, **more})


def book(repo: Path, tag: str = "t1") -> HoldoutBook:
    return holdout.book_of(Lab.open(repo, tag=tag).campaign)


def waiting(repo: Path) -> list[str]:
    """Labels of runs that a look waits for."""
    return [request.label for request in book(repo).pending()]


def looked(repo: Path) -> list[str]:
    """Labels of runs that were looked at, look by look."""
    return [look.label for look in book(repo).looks()]


def write_looks(repo: Path, gaps: dict[str, float]) -> None:
    """A book in which those runs have those gaps, and nothing else."""
    kept = book(repo)
    kept.file.unlink(missing_ok=True)
    for label, gap in gaps.items():
        run = Lab.open(repo, tag="t1").run(label)
        value = run.mean("val_loss")
        told = {
            "id": f"{run.commit[:16]}.1",
            "run": run.commit,
            "label": label,
            "epoch": 0,
            "seed": 0,
            "look": 1,
            "asked": "loop",
            "time": "",
        }
        kept.append(Look(**told, metrics={"val_loss": value + gap}, validation={"val_loss": value}))


def spoken(text: str) -> dict:
    """The object that `evogit holdout --json` prints."""
    return json.loads(text)
