from __future__ import annotations

import ast
from pathlib import Path

import pytest

from evogit.search import genes

SAMPLES = sorted((Path(__file__).parents[1] / "agents/offline/samples").glob("*.py"))


def found(text: str) -> dict[str, object]:
    return {g.name: g.value for g in genes.find(text)}


def test_constants_fields_defaults_and_keywords_are_genes():
    text = """
LR = 1e-3
BATCH = 2**7

class Config:
    n_layer: int = 4

class Net:
    def __init__(self, width=64, *, dropout: float = 0.1):
        self.depth = 3

def main(rate=0.5):
    model = Net(width=128)
    opt = Adam(model, lr=LR, weight_decay=0.01)
    fit(model, gain=1.5)
"""

    assert found(text) == {
        "LR": 1e-3,
        "BATCH": 128,
        "Config.n_layer": 4,
        "Net.width": 64,
        "Net.dropout": 0.1,
        "Net.depth": 3,
        "main.rate": 0.5,
        "main.model.width": 128,
        "main.opt.weight_decay": 0.01,
        "main.fit.gain": 1.5,
    }


def test_tuples_are_genes_and_so_are_their_elements():
    text = "WIDTHS = (16, 32)\nopt = Adam(betas=(0.9, 0.95))\n"

    assert found(text) == {
        "WIDTHS": (16, 32),
        "WIDTHS[0]": 16,
        "WIDTHS[1]": 32,
        "opt.betas": (0.9, 0.95),
        "opt.betas[0]": 0.9,
        "opt.betas[1]": 0.95,
    }


def test_components_are_genes_under_a_name_that_swapping_leaves():
    before = "from torch import nn\nACT = nn.ReLU\nnet = nn.Sequential(nn.ReLU(), nn.Linear(4, 4), nn.ReLU())\n"
    after = before.replace("(nn.ReLU()", "(nn.GELU()")

    assert found(before).keys() == found(after).keys() == {"ACT", "net.activation", "net.activation#2"}
    assert found(after)["net.activation"] == "torch.nn.GELU"


def test_defaults_of_options_are_genes_and_their_help_is_not():
    text = 'p.add_argument("--learning-rate", type=float, default=3e-4, help="0.5 is too much")\np.add_argument("--seed", default=3)\n'

    assert found(text) == {"--learning_rate": 3e-4}


@pytest.mark.parametrize(
    "line",
    [
        "SEED = 3",
        "TIME_BUDGET = 300",
        "TRAIN_S = 20",
        "MAX_SECONDS = 5",
        "TIMEOUT = 9",
        "NUM_CLASSES = 10",
        "IMAGE_SIZE = 28",
        "VOCAB_SIZE = 50257",
        "NUM_WORKERS = 4",
        "DEVICE = 0",
        "__version__ = 1.5",
        "PORT = 8080",
        "x = loader(num_workers=4, pin_memory=True, random_state=7)",
        "print(1, end='', flush=True)",
        "torch.manual_seed(seed=4)",
        "y = x.sum(dim=1, keepdim=True)",
        "y = torch.softmax(x, dim=16)",
        "y = x[3:7, -1]",
        "i = -1",
        "def f():\n    total = 0.0\n    total += 2.0",
        "step = 5\nstep += 1",
        "best = 3.5\ndef f():\n    global best\n    best = 2.5",
        "print(f'{x:.3f} {g(rate=0.5)}')",
        "NAME = 'relu'",
        "x: Literal[3, 4]",
    ],
)
def test_what_must_not_move_is_no_gene(line):
    assert found(f"import torch\n{line}\n") == {}


@pytest.mark.parametrize("path", SAMPLES, ids=lambda p: p.stem)
def test_every_gene_of_a_real_script_stands_where_it_says_and_is_named_once(path):
    text = path.read_text(encoding="utf-8")

    all_genes = genes.find(text, "train.py")

    assert all_genes
    assert len({g.name for g in all_genes}) == len(all_genes)
    for gene in all_genes:
        written = text[gene.start : gene.end]
        if gene.kind == "name":
            assert written.rpartition(".")[2] == gene.value.rpartition(".")[2]
        elif gene.kind == "tuple":
            assert tuple(ast.literal_eval(written)) == gene.value
        else:
            assert genes.literal(ast.parse(written, mode="eval").body) == gene.value or ast.literal_eval(written) == gene.value


@pytest.mark.parametrize("text", ["", "\n", "# nothing\n", "def f(:\n", "\ufeffx = [1, 'a']\n"])
def test_a_file_without_genes_has_none(text):
    assert genes.find(text) == []


def test_every_statement_of_the_language_is_walked():
    text = """
import torch
type_alias = dict[str, tuple[int, ...]]

@decorated(rate=0.5)
class A[T]: pass
""".replace("A[T]", "A")
    text += """
async def f(a, /, b=2.5, *c, d=3.5, **e):
    async with g(alpha=0.5) as h, i(beta=0.25):
        pass
    for j in k(width=12):
        gamma = 7.5
    else:
        hidden = 32
    try:
        l(lr=0.125)
    except ValueError:
        m(lr=0.0625)
    finally:
        n(lr=0.03)
    match a:
        case 1:
            o(lr=0.01)
    return [p(lr=0.02) for q in a], lambda r=3: s(lr=0.2), (yield)
"""
    values = set(found(text).values())

    assert values >= {2.5, 3.5, 0.5, 0.25, 12, 7.5, 32, 0.125, 0.0625, 0.03, 0.01, 0.02, 0.2}


def test_a_thousand_lines_have_every_gene_of_their_parts():
    unit = SAMPLES[0].read_text(encoding="utf-8")
    times = 1000 // len(unit.splitlines()) + 1

    found = genes.find("\n".join([unit] * times))

    assert len(found) >= len(genes.find(unit))
    assert len({gene.start for gene in found}) == len(found)


def test_an_expression_deeper_than_the_interpreters_stack_ends_nothing():
    found = genes.find("LR = 0.1\nx = " + " + ".join(["y"] * 3000) + "\n")

    assert [gene.name for gene in found] in ([], ["LR"])
