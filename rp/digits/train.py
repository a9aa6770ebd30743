"""Learns to name noisy handwritten digits. The only file that a run may change; the rules are in program.md.

    python train.py          trains on one CPU thread, about a second after torch has loaded, and saves the weights
    python train.py --smoke  two batches, to see that it runs

`predict.py` builds `Net()` and loads what is saved here. It does not measure itself: nothing printed here counts.
"""

from __future__ import annotations

import argparse

import torch
import torch.nn.functional as F
from task import batches, begin, weights_file
from torch import nn

WIDTH = 16
HIDDEN = 64
DROPOUT = 0.0
ACTIVATION = nn.ReLU
NORM = nn.Identity
POOL = nn.MaxPool2d

BATCH = 32
LR = 0.02
MOMENTUM = 0.9
WEIGHT_DECAY = 0.0
LABEL_SMOOTHING = 0.0


class Net(nn.Module):
    """Two convolutions and a hidden layer: images (n, 1, 8, 8) to logits (n, 10)."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, WIDTH, kernel_size=3, padding=1),
            NORM(WIDTH),
            ACTIVATION(),
            POOL(2),
            nn.Conv2d(WIDTH, 2 * WIDTH, kernel_size=3, padding=1),
            NORM(2 * WIDTH),
            ACTIVATION(),
            nn.AdaptiveMaxPool2d(2),
            nn.Flatten(),
        )
        self.head = nn.Sequential(
            nn.Linear(2 * WIDTH * 4, HIDDEN),
            ACTIVATION(),
            nn.Dropout(DROPOUT),
            nn.Linear(HIDDEN, 10),
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.features(images))


def train(seed: int, smoke: bool) -> Net:
    """Spend the budget of training images once."""
    net = Net()
    optimizer = torch.optim.SGD(net.parameters(), lr=LR, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY)
    for images, labels in batches(BATCH, seed, smoke):
        loss = F.cross_entropy(net(images), labels, label_smoothing=LABEL_SMOOTHING)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print(f"last batch's loss {loss.item():.4f}")
    return net


def main() -> None:
    parser = argparse.ArgumentParser(description="Train the network and save its weights.")
    parser.add_argument("--smoke", action="store_true", help="two batches only")
    smoke = parser.parse_args().smoke
    net = train(begin(), smoke)
    torch.save(net.state_dict(), weights_file())


if __name__ == "__main__":
    main()
