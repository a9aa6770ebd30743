"""Runs a trained candidate on the validation images and writes its answers: predictions.json beside the weights.

Frozen, but it runs candidate code (`train.Net`), so nothing that it writes is believed without a check, and it sees no label.
Weights are loaded as plain tensors: a pickle in disguise is refused by torch.
"""

from __future__ import annotations

import json
import time

import torch
from task import artifact_dir, begin, validation_images, weights_file
from train import Net

BATCH = 64
TIMED = 40


def latency_ms(net: torch.nn.Module, images: torch.Tensor) -> float:
    """Milliseconds for one batch of 64: the fastest of 40, since other work on the machine can only add to it."""
    batch, fastest = images[:BATCH], float("inf")
    for _ in range(TIMED):
        start = time.perf_counter()
        net(batch)
        fastest = min(fastest, time.perf_counter() - start)
    return fastest * 1000


def main() -> None:
    begin()
    if not weights_file().is_file():
        raise SystemExit(f"{weights_file()} is missing: run `python train.py` first")
    weights = torch.load(weights_file(), weights_only=True)
    net = Net()
    net.load_state_dict(weights)
    net.eval()
    images = validation_images()
    with torch.inference_mode():
        logits = net(images)
        if tuple(logits.shape) != (len(images), 10):
            raise SystemExit(f"the network gave {tuple(logits.shape)} for {len(images)} images, not ({len(images)}, 10)")
        answers = {
            "predictions": logits.argmax(dim=1).tolist(),
            "params": sum(tensor.numel() for tensor in weights.values()),
            "latency_ms": round(latency_ms(net, images), 4),
        }
    (artifact_dir() / "predictions.json").write_text(json.dumps(answers), encoding="utf-8")


if __name__ == "__main__":
    main()
