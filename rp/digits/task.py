"""What training and prediction share: the data, the budget of training images, where the weights go.

Frozen. It knows no network and no optimizer, and it never sees a label of the validation set.
"""

from __future__ import annotations

import os
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from prepare import data_dir

EXAMPLES = 10000  # training images that one run may look at, repetitions counted: the budget, whatever the machine's speed


def begin() -> int:
    """Fix threads and randomness, and return the seed: $EVOGIT_SEED, by default 0."""
    seed = int(os.environ.get("EVOGIT_SEED") or 0)
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS") or 1))
    torch.manual_seed(seed)
    sys.modules.setdefault("torch._dynamo", _Later("torch._dynamo"))
    torch._dynamo = sys.modules["torch._dynamo"]
    return seed


def weights_file() -> Path:
    """`model.pt` in $EVOGIT_ARTIFACT_DIR, by default `runs` beside this file; the folder is made."""
    folder = artifact_dir()
    return folder / "model.pt"


def artifact_dir() -> Path:
    """Where a run leaves what it made."""
    folder = Path(os.environ.get("EVOGIT_ARTIFACT_DIR") or Path(__file__).parent / "runs")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def batches(size: int, seed: int, smoke: bool = False) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """The training budget: batches of (images, labels), EXAMPLES images in all, each pass in a new order.

    Images: float32, (size, 1, 8, 8), ink 0 to 1 plus noise. Labels: int64, (size,). A smoke run gets two batches.
    """
    with np.load(_data("train.npz")) as arrays:
        images, labels = torch.from_numpy(arrays["images"]), torch.from_numpy(arrays["labels"])
    order = torch.Generator().manual_seed(seed)
    queue = torch.empty(0, dtype=torch.int64)
    for _ in range(2 if smoke else max(1, EXAMPLES // size)):
        while len(queue) < size:
            queue = torch.cat([queue, torch.randperm(len(images), generator=order)])
        chosen, queue = queue[:size], queue[size:]
        yield images[chosen], labels[chosen]


def validation_images() -> torch.Tensor:
    """The images to be named, float32, (n, 1, 8, 8): the 900, or those of a set that nobody is told of."""
    with np.load(_data("validation.npz")) as arrays:
        return torch.from_numpy(arrays["images"])


def _data(name: str) -> Path:
    file = data_dir() / name
    if not file.is_file():
        raise SystemExit(f"{file} is missing: run `python prepare.py` first")
    return file


class _Later(types.ModuleType):
    """Stands in for torch's compiler until something needs it.

    Every torch optimizer imports the compiler only to tell it to keep away, which costs two seconds a process, as much as
    all of the training. Whatever else is asked of it (`torch.compile` does) gets the real one.
    """

    def graph_break(self) -> None:
        """Without a compiler there is no graph to break."""

    def disable(self, fn, recursive=True, **_):
        """Without a compiler there is nothing to switch off."""
        return fn

    def __getattr__(self, name: str):
        import importlib

        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(importlib.import_module(self.__name__), name)
