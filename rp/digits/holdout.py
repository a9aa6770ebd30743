"""The held-out ruler: what a network scores on 397 images that no run is trained on, chosen by or told of.

    python holdout.py prepare   writes the images, without labels, where $EVOGIT_DATA_DIR says: `predict.py` then names those
    python holdout.py           scores predictions.json and prints one JSON line, as evaluate.py does

Never mutable, and run for the person alone: `evogit holdout` shows what it says. It believes predictions.json no more than the
ruler does, and scores it by the same rules.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from evaluate import Refused, read, score
from prepare import NOISE, NOISE_SEED, TRAIN, VALIDATION, data_dir, rows

FIRST = TRAIN + VALIDATION


def labels() -> list[int]:
    """The answers, which stay in the installed package."""
    return [row[-1] for row in rows()[FIRST:]]


def prepare() -> None:
    """Write validation.npz (images alone) with the images that prepare.py left out, under noise of the same strength."""
    import numpy as np

    digits = np.array(rows())
    images = (digits[:, :-1] / 16).reshape(-1, 1, 8, 8)
    # The generator goes on where prepare.py's ended: these images get noise that no other image has.
    images = (images + NOISE * np.random.RandomState(NOISE_SEED).standard_normal(images.shape)).astype(np.float32)
    folder = data_dir()
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / "validation.npz", images=images[FIRST:])
    print(f"{len(images) - FIRST} held-out images without labels, in {folder}")


def main() -> None:
    if sys.argv[1:] == ["prepare"]:
        return prepare()
    folder = Path(os.environ.get("EVOGIT_ARTIFACT_DIR") or Path(__file__).parent / "runs")
    try:
        metrics = score(read(folder / "predictions.json"), labels())
    except Refused as reason:
        raise SystemExit(f"predictions.json: {reason}") from None
    print(json.dumps(metrics))


if __name__ == "__main__":
    main()
