"""A script."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

SEED = 3
LR = 1e-3
WIDTH = 64
DEPTH = 2
DROPOUT = 0.0
BATCH_SIZE = 2**5
WIDTHS = (16, 32)
AUGMENT = True


@dataclass
class Config:
    n_layer: int = 2
    lr: float = 3e-4


class Net(nn.Module):
    def __init__(self, width=WIDTH, p: float = 0.1):
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(64, width), nn.ReLU(), nn.Dropout(p=0.2), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 10)
        )
        self.norm = nn.LayerNorm(64, eps=1e-5)

    def forward(self, x):
        x = self.norm(x)
        return self.net(F.relu(x))


def main():
    torch.manual_seed(SEED)
    total = 0.0
    noise = 0.1
    model = Net()
    opt = torch.optim.Adam(model.parameters(), lr=LR, betas=(0.9, 0.999), weight_decay=1e-4)
    for step in range(50):
        x = torch.randn(32, 64) + noise
        loss = F.cross_entropy(model(x), torch.randint(0, 10, (32,)), label_smoothing=0.1)
        opt.zero_grad(set_to_none=True)
        loss.backward()
        opt.step()
        total += loss.item()
    print(f"{total:.3f} é", end="\n")


main()
