import torch
import torch.nn.functional as F
from torch import nn
from torch.optim import lr_scheduler

LR = 0.05
STEPS = 3
BATCH = 16
CHANNELS = 8


class Block(nn.Module):
    def __init__(self, channels, dropout=0.1):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm = nn.GroupNorm(2, channels)
        self.drop = nn.Dropout(dropout)

    def forward(self, x):
        y = F.gelu(self.norm(self.conv(x)))
        y = self.drop(y)
        return x + y


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.BatchNorm2d(16),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
            nn.Conv2d(16, CHANNELS, kernel_size=3, padding=1),
            nn.ReLU(),
            *[Block(CHANNELS) for _ in range(2)],
        )
        self.stem = nn.Sequential(
            nn.Conv2d(1, 12, 3, padding=1), nn.BatchNorm2d(12), nn.ReLU(), nn.Conv2d(12, 24, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2)
        )
        self.head = nn.Sequential(
            nn.Flatten(), nn.Linear(24 * 4 * 4, 64), nn.ReLU(), nn.Dropout(0.2), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)
        )
        self.side = nn.Linear(CHANNELS, 10)
        for m in self.modules():
            if isinstance(m, nn.Linear):
                nn.init.kaiming_normal_(m.weight, nonlinearity="relu")

    def forward(self, x):
        x = x + 0.1 * torch.randn_like(x)
        side = self.features(x).mean(dim=(2, 3))
        return self.head(self.stem(x)) + self.side(side)


def main():
    torch.manual_seed(0)
    model = Net()
    opt = torch.optim.SGD(model.parameters(), lr=LR, momentum=0.9, nesterov=True)
    sched = lr_scheduler.CosineAnnealingLR(opt, T_max=STEPS)
    loss_fn = nn.CrossEntropyLoss()
    for step in range(STEPS):
        x = torch.randn(BATCH, 1, 8, 8)
        y = torch.randint(0, 10, (BATCH,))
        loss = loss_fn(model(x), y)
        opt.zero_grad(set_to_none=True)
        loss.backward()
        opt.step()
        sched.step()
    print("val_loss", loss.item())


main()
