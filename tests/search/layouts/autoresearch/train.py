"""One file, one GPU: an autoresearch-like training script that prints its own summary."""

import os

os.environ["PYTORCH_ALLOC_CONF"] = "expandable_segments:True"
os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"

import gc
import math
import time
from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from prepare import MAX_SEQ_LEN, TIME_BUDGET, Tokenizer, evaluate_bpb, make_dataloader
from torch import nn

torch.backends.cuda.matmul.allow_tf32 = True
torch._inductor.config.coordinate_descent_tuning = True


@dataclass
class GPTConfig:
    sequence_len: int = 2048
    vocab_size: int = 32768
    n_layer: int = 8
    n_head: int = 6
    n_embd: int = 768


class Block(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.c_fc = nn.Linear(config.n_embd, 4 * config.n_embd, bias=False)
        self.c_proj = nn.Linear(4 * config.n_embd, config.n_embd, bias=False)

    def forward(self, x):
        return x + self.c_proj(F.relu(self.c_fc(F.rms_norm(x, (x.size(-1),)))).square())


class GPT(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.wte = nn.Embedding(config.vocab_size, config.n_embd)
        self.h = nn.ModuleList([Block(config) for _ in range(config.n_layer)])
        self.lm_head = nn.Linear(config.n_embd, config.vocab_size, bias=False)

    def forward(self, idx, targets=None, reduction="mean"):
        x = self.wte(idx)
        for block in self.h:
            x = block(x)
        logits = 15 * torch.tanh(self.lm_head(x) / 15)
        if targets is None:
            return logits
        return F.cross_entropy(logits.view(-1, logits.size(-1)), targets.reshape(-1), ignore_index=-1, reduction=reduction)


DEPTH = 8
TOTAL_BATCH_SIZE = 2**19
DEVICE_BATCH_SIZE = 128
MATRIX_LR = 0.04
WARMDOWN_RATIO = 0.5

t_start = time.time()
torch.manual_seed(42)
torch.cuda.manual_seed(42)
device = torch.device("cuda")
tokenizer = Tokenizer.from_directory()
config = GPTConfig(n_layer=DEPTH, vocab_size=tokenizer.get_vocab_size())
print(f"config: {asdict(config)}")
model = torch.compile(GPT(config).to(device), dynamic=False)
optimizer = torch.optim.AdamW(model.parameters(), lr=MATRIX_LR, betas=(0.8, 0.95), fused=True)
train_loader = make_dataloader(tokenizer, DEVICE_BATCH_SIZE, MAX_SEQ_LEN, "train")
x, y = next(train_loader)

step, total_training_time, smooth = 0, 0.0, 0.0
while True:
    torch.cuda.synchronize()
    t0 = time.time()
    loss = model(x, y)
    loss.backward()
    progress = min(total_training_time / TIME_BUDGET, 1.0)
    scale = 1.0 if progress < 1.0 - WARMDOWN_RATIO else (1.0 - progress) / WARMDOWN_RATIO
    for group in optimizer.param_groups:
        group["lr"] = MATRIX_LR * scale
    optimizer.step()
    model.zero_grad(set_to_none=True)
    x, y = next(train_loader)
    if math.isnan(loss.item()) or loss.item() > 100:
        print("FAIL")
        raise SystemExit(1)
    torch.cuda.synchronize()
    if step > 10:
        total_training_time += time.time() - t0
    print(f"\rstep {step:05d} | loss: {loss.item():.6f}", end="", flush=True)
    if step == 0:
        gc.collect()
        gc.freeze()
        gc.disable()
    step += 1
    if step > 10 and total_training_time >= TIME_BUDGET:
        break

print()
model.eval()
with torch.autocast(device_type="cuda", dtype=torch.bfloat16):
    val_bpb = evaluate_bpb(model, tokenizer, DEVICE_BATCH_SIZE)
print("---")
print(f"val_bpb:          {val_bpb:.6f}")
print(f"training_seconds: {total_training_time:.1f}")
print(f"total_seconds:    {time.time() - t_start:.1f}")
print(f"peak_vram_mb:     {torch.cuda.max_memory_allocated() / 1024 / 1024:.1f}")
print(f"num_steps:        {step}")
