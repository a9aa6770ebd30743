"""Trains and scores model.py; frozen. Writes runs/<run_id>/metrics.json."""

import argparse
import json
import os
import time
from pathlib import Path

import torch
from model import build_model


def load_split(name, split):
    generator = torch.Generator().manual_seed({"train": 0, "val": 1}[split])
    return torch.randn(256, 3, 32, 32, generator=generator), torch.randint(0, 10, (256,), generator=generator)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--dataset", default="synthetic")
    parser.add_argument("--run-id", default=os.environ.get("ACR_RUN_ID", "run_000000"))
    args = parser.parse_args()
    model = build_model()
    x, y = load_split(args.dataset, "train")
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for _ in range(20):
        loss = torch.nn.functional.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    vx, vy = load_split(args.dataset, "val")
    started = time.perf_counter()
    accuracy = (model(vx).argmax(1) == vy).float().mean().item()
    out = Path("runs") / args.run_id
    out.mkdir(parents=True, exist_ok=True)
    metrics = {"score": accuracy, "val_accuracy": accuracy, "latency_ms": 1000 * (time.perf_counter() - started)}
    (out / "metrics.json").write_text(json.dumps({"status": "succeeded", **metrics}))


if __name__ == "__main__":
    main()
