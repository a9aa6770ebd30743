"""Data, tokenizer and evaluation of an autoresearch-like problem. Frozen."""

import math
import os
import time

import pyarrow.parquet as pq
import torch

MAX_SEQ_LEN = 2048
TIME_BUDGET = 300
EVAL_TOKENS = 40 * 524288
CACHE_DIR = os.path.join(os.path.expanduser("~"), ".cache", "autoresearch")
VAL_SHARD = 6542
VAL_FILENAME = f"shard_{VAL_SHARD:05d}.parquet"


class Tokenizer:
    def __init__(self, enc):
        self.enc = enc

    @classmethod
    def from_directory(cls):
        return cls(torch.load(os.path.join(CACHE_DIR, "tokenizer.pt")))

    def get_vocab_size(self):
        return self.enc.n_vocab

    def encode(self, text):
        return self.enc.encode_ordinary(text)


def _document_batches(split):
    files = sorted(os.listdir(CACHE_DIR))
    chosen = [f for f in files if f == VAL_FILENAME] if split == "val" else [f for f in files if f != VAL_FILENAME]
    while True:
        for path in chosen:
            yield from pq.read_table(os.path.join(CACHE_DIR, path)).column("text").to_pylist()


def make_dataloader(tokenizer, B, T, split):
    batches = _document_batches(split)
    while True:
        rows = [tokenizer.encode(next(batches)) for _ in range(B)]
        block = torch.tensor([row[: T + 1] for row in rows])
        yield block[:, :-1], block[:, 1:]


@torch.no_grad()
def evaluate_bpb(model, tokenizer, batch_size):
    loader = make_dataloader(tokenizer, batch_size, MAX_SEQ_LEN, "val")
    nats, count = 0.0, 0
    started = time.time()
    for _ in range(EVAL_TOKENS // (batch_size * MAX_SEQ_LEN)):
        x, y = next(loader)
        loss = model(x, y, reduction="none").view(-1)
        nats, count = nats + loss.sum().item(), count + y.numel()
    print(f"evaluated in {time.time() - started:.1f} s")
    return nats / (math.log(2) * count)
