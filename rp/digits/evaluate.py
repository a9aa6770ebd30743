"""The locked ruler: scores predictions.json and prints one JSON line, e.g. {"val_error": 0.117, "params": 14090, "latency_ms": 1.2}.

Never mutable. It never imports candidate code, never unpickles anything, and loads the standard library only (0.1 s). It reads one
plain file that a candidate may have written, so it believes nothing in it: anything odd is one line on stderr and exit code 1.
"""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

from prepare import validation_labels

LARGEST = 1 << 20  # bytes; 900 answers take about 3,000


class Refused(Exception):
    """The predictions cannot be scored."""


def read(file: Path) -> dict:
    """The object in `file`. Raises Refused if it is missing, larger than 1 MiB, a link, or not a JSON object."""
    if file.is_symlink() or not file.is_file():
        raise Refused("no such file: run `python predict.py` first")
    if file.stat().st_size > LARGEST:
        raise Refused(f"larger than {LARGEST} bytes")
    try:
        answers = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as wrong:
        raise Refused(f"not JSON: {type(wrong).__name__}") from None
    if not isinstance(answers, dict):
        raise Refused(f"expected an object, found {type(answers).__name__}")
    return answers


def score(answers: dict, labels: list[int]) -> dict[str, float]:
    """The three metrics. Raises Refused unless there is one label of 0 to 9 for each image, and sane sizes and times."""
    predictions = answers.get("predictions")
    if not isinstance(predictions, list) or len(predictions) != len(labels):
        found = len(predictions) if isinstance(predictions, list) else type(predictions).__name__
        raise Refused(f"`predictions` must be a list of {len(labels)} labels, found {found}")
    for position, label in enumerate(predictions):
        if type(label) is not int or not 0 <= label <= 9:
            raise Refused(f"`predictions[{position}]` must be a label of 0 to 9, found {str(label)[:40]!r}")
    params, latency = answers.get("params"), answers.get("latency_ms")
    if type(params) is not int or not 0 < params < 10**9:
        raise Refused(f"`params` must be a whole number above 0, found {str(params)[:40]!r}")
    if type(latency) not in (int, float) or not math.isfinite(latency) or latency <= 0:
        raise Refused(f"`latency_ms` must be a number above 0, found {str(latency)[:40]!r}")
    wrong = sum(mine != truth for mine, truth in zip(predictions, labels))
    return {"val_error": wrong / len(labels), "params": params, "latency_ms": latency}


def main() -> None:
    folder = Path(os.environ.get("EVOGIT_ARTIFACT_DIR") or Path(__file__).parent / "runs")
    try:
        metrics = score(read(folder / "predictions.json"), validation_labels())
    except Refused as reason:
        raise SystemExit(f"predictions.json: {reason}") from None
    print(json.dumps(metrics))


if __name__ == "__main__":
    main()
