"""
A small GPT in one file: model, optimizer, loop.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

DEPTH = 2
ASPECT_RATIO = 16
HEAD_DIM = 16
TOTAL_BATCH_SIZE = 2**9
DEVICE_BATCH_SIZE = 4
MATRIX_LR = 0.02
ADAM_BETAS = (0.8, 0.95)
WEIGHT_DECAY = 0.2
WARMUP_RATIO = 0.0
WARMDOWN_RATIO = 0.4
FINAL_LR_FRAC = 0.0
TIME_BUDGET = 1
MAX_SEQ_LEN = 32
VOCAB = 50


@dataclass
class GPTConfig:
    sequence_len: int = 2048
    vocab_size: int = 32768
    n_layer: int = 2
    n_head: int = 4
    n_kv_head: int = 4
    n_embd: int = 64
    mlp_ratio: int = 4
    softcap: float = 15.0


def norm(x: torch.Tensor) -> torch.Tensor:
    return F.rms_norm(x, (x.size(-1),))


def apply_rotary(x, cos, sin):
    d = x.shape[3] // 2
    x1, x2 = x[..., :d], x[..., d:]
    return torch.cat([x1 * cos + x2 * sin, x1 * (-sin) + x2 * cos], 3)


class Attention(nn.Module):
    def __init__(self, config: GPTConfig, layer_idx: int):
        super().__init__()
        self.n_head = config.n_head
        self.head_dim = config.n_embd // config.n_head
        assert config.n_embd % config.n_head == 0
        self.qkv = nn.Linear(config.n_embd, 3 * config.n_embd, bias=False)
        self.proj = nn.Linear(config.n_embd, config.n_embd, bias=False)

    def forward(self, x, cos, sin):
        b, t, c = x.size()
        q, k, v = self.qkv(x).view(b, t, 3, self.n_head, self.head_dim).unbind(2)
        q, k = norm(apply_rotary(q, cos, sin)), norm(apply_rotary(k, cos, sin))
        y = F.scaled_dot_product_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), is_causal=True)
        return self.proj(y.transpose(1, 2).reshape(b, t, c))


class MLP(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.fc = nn.Linear(config.n_embd, config.mlp_ratio * config.n_embd, bias=False)
        self.proj = nn.Linear(config.mlp_ratio * config.n_embd, config.n_embd, bias=False)

    def forward(self, x):
        x = self.fc(x)
        x = F.relu(x).square()
        return self.proj(x)


class Block(nn.Module):
    def __init__(self, config, i):
        super().__init__()
        self.attn = Attention(config, i)
        self.mlp = MLP(config)

    def forward(self, x, cos, sin):
        x = x + self.attn(norm(x), cos, sin)
        x = x + self.mlp(norm(x))
        return x


class GPT(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.wte = nn.Embedding(config.vocab_size, config.n_embd)
        self.blocks = nn.ModuleList([Block(config, i) for i in range(config.n_layer)])
        self.head = nn.Linear(config.n_embd, config.vocab_size, bias=False)
        head_dim = config.n_embd // config.n_head
        freqs = 1.0 / (10000 ** (torch.arange(0, head_dim, 2).float() / head_dim))
        angles = torch.outer(torch.arange(config.sequence_len).float(), freqs)
        self.register_buffer("cos", angles.cos()[None, :, None, :], persistent=False)
        self.register_buffer("sin", angles.sin()[None, :, None, :], persistent=False)
        self.init_weights()

    @torch.no_grad()
    def init_weights(self):
        nn.init.normal_(self.wte.weight, mean=0.0, std=1.0)
        for block in self.blocks:
            nn.init.uniform_(block.attn.qkv.weight, -0.1, 0.1)
            nn.init.zeros_(block.mlp.proj.weight)

    def forward(self, idx, targets=None):
        t = idx.size(1)
        x = norm(self.wte(idx))
        for block in self.blocks:
            x = block(x, self.cos[:, :t], self.sin[:, :t])
        softcap = self.config.softcap
        logits = softcap * torch.tanh(self.head(norm(x)) / softcap)
        return F.cross_entropy(logits.view(-1, logits.size(-1)), targets.view(-1), ignore_index=-1)


def build(depth):
    base_dim = depth * ASPECT_RATIO
    model_dim = ((base_dim + HEAD_DIM - 1) // HEAD_DIM) * HEAD_DIM
    heads = model_dim // HEAD_DIM
    return GPT(GPTConfig(sequence_len=MAX_SEQ_LEN, vocab_size=VOCAB, n_layer=depth, n_head=heads, n_kv_head=heads, n_embd=model_dim))


def lr_multiplier(progress):
    if progress < WARMUP_RATIO:
        return progress / WARMUP_RATIO
    if progress < 1.0 - WARMDOWN_RATIO:
        return 1.0
    cooldown = (1.0 - progress) / WARMDOWN_RATIO
    return cooldown + (1 - cooldown) * FINAL_LR_FRAC


torch.manual_seed(42)
model = build(DEPTH)
optimizer = torch.optim.AdamW(model.parameters(), lr=MATRIX_LR, betas=ADAM_BETAS, eps=1e-10, weight_decay=WEIGHT_DECAY)
for group in optimizer.param_groups:
    group["initial_lr"] = group["lr"]
grad_accum_steps = TOTAL_BATCH_SIZE // (DEVICE_BATCH_SIZE * MAX_SEQ_LEN)
step = 0
smooth = 0
while True:
    for micro in range(grad_accum_steps):
        x = torch.randint(0, VOCAB, (DEVICE_BATCH_SIZE, MAX_SEQ_LEN))
        loss = model(x, x.roll(-1, 1)) / grad_accum_steps
        loss.backward()
    for group in optimizer.param_groups:
        group["lr"] = group["initial_lr"] * lr_multiplier(step / 3)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    step += 1
    if step >= 3:
        break
print("---")
print(f"val_bpb:          {loss.item() / math.log(2):.6f}")
