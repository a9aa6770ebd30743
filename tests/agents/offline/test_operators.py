from __future__ import annotations

import random
import textwrap
from pathlib import Path

import pytest

from evogit.agents.offline.desk import Desk, Option
from evogit.agents.offline.operators import DEFAULTS, OPERATORS, order
from evogit.domain.briefing import Contrast
from evogit.search import syntax

SAMPLES = Path(__file__).parent / "samples"
HEADER = "import torch\nfrom torch import nn\nimport torch.nn.functional as F\n"


def options(name: str, text: str, *, seed: int = 0, emitter: str = "", contrast: Contrast | None = None) -> list[Option]:
    return OPERATORS[name](Desk({"train.py": text}, random.Random(seed), emitter=emitter, contrast=contrast))


def results(name: str, text: str, **more) -> list[str]:
    return [syntax.splice(text, o.edits) for o in options(name, text, **more)]


def against(before: str, after: str, gain: float = -0.1) -> Contrast:
    return Contrast(run="7", before={"train.py": before}, after={"train.py": after}, gain=gain)


def code(text: str) -> str:
    return HEADER + textwrap.dedent(text)


@pytest.mark.parametrize("sample", sorted(p.stem for p in SAMPLES.glob("*.py")))
@pytest.mark.parametrize("name", sorted(OPERATORS))
def test_every_option_parses_and_touches_nothing_outside_its_spans(name, sample):
    text = (SAMPLES / f"{sample}.py").read_text(encoding="utf-8")

    for option in options(name, text, emitter="local_tuner"):
        edited = syntax.splice(text, option.edits)
        syntax.parse(edited)
        assert edited != text
        assert _kept(text, option) == _kept_after(edited, option)
        assert option.summary and option.hypothesis and option.change and "\n" not in option.summary


def _kept(text: str, option: Option) -> list[str]:
    edits, at, parts = sorted(option.edits, key=lambda e: (e.start, e.end)), 0, []
    for edit in edits:
        parts.append(text[at : edit.start])
        at = edit.end
    return [*parts, text[at:]]


def _kept_after(edited: str, option: Option) -> list[str]:
    edits, at, parts, shift = sorted(option.edits, key=lambda e: (e.start, e.end)), 0, [], 0
    for edit in edits:
        parts.append(edited[at : edit.start + shift])
        shift += len(edit.text) - (edit.end - edit.start)
        at = edit.end + shift
    return [*parts, edited[at:]]


def test_only_the_local_tuner_moves_how_long_training_takes():
    text = "EPOCHS = 10\nLR = 0.1\nfit(LR, EPOCHS)\n"

    assert any("EPOCHS" in o.summary for o in options("tune_near", text, emitter="local_tuner"))
    assert not any("EPOCHS" in o.summary for o in options("tune_far", text, emitter="contrarian"))


def test_a_constant_that_nothing_reads_is_hardly_ever_drawn():
    text = "class C:\n    depth: int = 3\n    width: int = 8\n\nLR = 0.1\nOLD_LR = 0.2\nfit(LR, C(depth=LR).depth, C.width)\n"
    weights = {o.summary.split()[1].rstrip(":"): o.weight for o in options("tune_near", text)}

    assert weights["LR"] > 10 * weights["OLD_LR"]
    assert weights["C.width"] > 10 * weights["C.depth"]


def test_widths_stay_multiples_of_the_heads():
    text = "class Config:\n    n_head: int = 6\n    n_embd: int = 96\nuse(Config.n_head, Config.n_embd)\n"

    widths = [o.edits[0].text for seed in range(20) for o in options("change_width", text, seed=seed)]

    assert widths and all(int(w) % 12 == 0 for w in widths)


def test_literal_widths_that_must_agree_move_together():
    text = code("""
        class Net(nn.Module):
            def __init__(self):
                self.conv = nn.Conv2d(3, 16, 3)
                self.norm = nn.BatchNorm2d(16)
                self.fc = nn.Linear(784, 64)
                self.drop = nn.Linear(in_features=64, out_features=10)
    """)

    edited = results("halve_capacity", text)

    assert text.replace("(3, 16, 3)", "(3, 8, 3)").replace("(16)", "(8)").replace("784", "392") in edited
    assert text.replace("784, 64", "784, 32").replace("in_features=64", "in_features=32") in edited
    assert len(edited) == 2


def test_a_layer_is_added_with_its_activation_and_a_square_one_can_go():
    text = code("net = nn.Sequential(nn.Linear(8, W), nn.ReLU(), nn.Linear(W, W), nn.ReLU(), nn.Linear(W, 3))\n")

    edited = results("change_depth", text)

    assert text.replace("nn.ReLU(), nn.Linear(W, W)", "nn.ReLU(), nn.Linear(W, W), nn.ReLU(), nn.Linear(W, W)", 1) in edited
    assert text.replace(" nn.Linear(W, W), nn.ReLU(),", "", 1) in edited


def test_repeated_blocks_and_listed_widths_are_depth():
    blocks = "net = [Block(8) for _ in range(4)]\n"
    listed = "WIDTHS = (16, 32, 32)\nfor w in WIDTHS:\n    add(w)\n"

    assert blocks.replace("4", "5") in results("change_depth", blocks)
    assert {listed.replace("32, 32", "32, 32, 32"), listed.replace("32, 32", "32")} <= set(results("change_depth", listed))


def test_swapping_an_optimizer_drops_what_it_does_not_take_and_keeps_its_scale():
    text = code("opt = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=D, nesterov=True)\n")
    back = code("opt = torch.optim.Adam(model.parameters(), lr=RATE, betas=(0.9, 0.95))\n")

    assert code("opt = torch.optim.Adam(model.parameters(), lr=0.005, weight_decay=D)\n") in results("swap_optimizer", text)
    assert code("opt = torch.optim.SGD(model.parameters(), lr=RATE * 20, momentum=0.9)\n") in results("swap_optimizer", back)


def test_a_norm_gives_way_to_one_of_the_same_features():
    text = code("a = nn.BatchNorm2d(32, eps=1e-3)\nb = nn.LayerNorm(W)\nc = F.rms_norm(x, (x.size(-1),))\n")

    edited = results("swap_norm", text)

    assert text.replace("nn.BatchNorm2d(32, eps=1e-3)", "nn.GroupNorm(8, 32)") in edited
    assert text.replace("nn.LayerNorm(W)", "nn.RMSNorm(W)") in edited
    assert text.replace("rms_norm", "layer_norm") in edited


def test_an_alias_is_swapped_where_it_is_defined():
    text = code(
        "ACT = nn.ReLU\nNORM = nn.Identity\nPOOL = nn.MaxPool2d\nnet = nn.Sequential(nn.Conv2d(1, 8, 3), NORM(8), ACT(), POOL(2))\n"
    )

    assert text.replace("nn.ReLU", "nn.GELU") in results("swap_activation", text)
    assert text.replace("nn.Identity", "nn.BatchNorm2d") in results("swap_norm", text)
    assert text.replace("nn.MaxPool2d", "nn.AvgPool2d") in results("swap_pooling", text)


def test_nothing_is_swapped_for_what_the_imports_cannot_spell():
    text = "from torch.nn import ReLU, Linear\nnet = [Linear(2, 2), ReLU()]\n"

    assert options("swap_activation", text) == []


def test_a_schedule_is_made_before_the_loop_and_stepped_inside_it():
    text = code("""
        def main():
            opt = torch.optim.Adam(model.parameters(), lr=0.1)
            for epoch in range(EPOCHS):
                for x, y in loader:
                    opt.step()
                print(epoch)
    """)
    expected = text.replace("    for epoch", "    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(opt, T_max=EPOCHS)\n    for epoch")
    expected = expected.replace("        print(epoch)\n", "        print(epoch)\n        scheduler.step()\n")

    assert expected in results("change_schedule", text)


def test_a_schedule_that_is_there_is_not_doubled():
    text = code(
        "opt = torch.optim.Adam(p, lr=0.1)\ns = torch.optim.lr_scheduler.StepLR(opt, 5)\nfor i in range(9):\n    opt.step()\n    s.step()\n"
    )

    assert all(t.count("lr_scheduler") == 1 for t in results("change_schedule", text))


def test_inserted_lines_have_the_files_own_tabs_and_line_ends():
    text = "import torch\r\ndef main():\r\n\topt = torch.optim.Adam(model.parameters())\r\n\tfor i in range(9):\r\n\t\topt.step()"

    for edited in results("change_schedule", text) + results("swap_init", text) + results("insert_regulariser", text):
        syntax.parse(edited)
        assert edited.count("\n") == edited.count("\r\n")
        assert "    " not in edited


def test_labels_are_smoothed_only_in_a_loss_that_is_learnt_from():
    learnt = code("def step(x, y):\n    loss = F.cross_entropy(net(x), y)\n    loss.backward()\n")
    reported = code("def loss(x, y):\n    return F.cross_entropy(net(x), y)\n")

    assert any("label_smoothing" in t for t in results("insert_regulariser", learnt))
    assert results("insert_regulariser", reported) == []


def test_what_is_removed_is_whole_lines_and_never_the_last_of_a_block():
    text = code("""
        class Net(nn.Module):
            def forward(self, x):
                x = self.drop(x)  # noise
                x = self.fc(x)
                return x

            def only(self, x):
                x = self.norm(x)
    """)

    assert text.replace("        x = self.drop(x)  # noise\n", "") in results("remove_something", text)
    assert not any("only" in t and "self.norm" not in t for t in results("remove_something", text))
    assert all("self.fc" in t for t in results("remove_something", text))


def test_a_schedule_is_removed_with_its_steps():
    text = code("opt = make()\ns = torch.optim.lr_scheduler.StepLR(opt, 5)\nfor i in range(9):\n    opt.step()\n    s.step()\n")

    assert code("opt = make()\nfor i in range(9):\n    opt.step()\n") in results("remove_something", text)


def test_a_setting_goes_with_its_comma_wherever_it_stands():
    text = code("opt = torch.optim.SGD(p, weight_decay=0.1, lr=0.2,\n                      momentum=0.9)\n")

    edited = results("remove_something", text)

    assert text.replace(", weight_decay=0.1", "") in edited
    assert text.replace(",\n                      momentum=0.9", "") in edited


def test_neutral_is_zero_off_or_identity():
    text = code("DROPOUT = 0.5\nAUGMENT = True\nLR = 0.1\nnorm = nn.LayerNorm(8)\nuse(DROPOUT, AUGMENT)\n")

    assert set(results("neutralise", text)) == {
        text.replace("0.5", "0.0"),
        text.replace("True", "False"),
        text.replace("nn.LayerNorm(8)", "nn.Identity()"),
    }


def test_the_opposite_of_a_doubled_number_is_half_of_it():
    before = "LR = 0.1\nuse(LR)\n"

    assert results("reverse_change", before, contrast=against(before, before.replace("0.1", "0.2"))) == ["LR = 0.05\nuse(LR)\n"]


def test_the_opposite_of_a_swap_is_a_third_component():
    before = code("act = nn.ReLU()\n")

    edited = results("reverse_change", before, contrast=against(before, before.replace("ReLU", "GELU")))

    assert edited and not any("ReLU()" in t and "Leaky" not in t or "GELU" in t for t in edited)


def test_structure_that_hurt_is_taken_back_where_it_still_stands():
    before = "a = 1\nb = 2\n"
    after = "a = 1\nextra()\nb = 2\n"

    assert results("reverse_change", after, contrast=against(before, after)) == [before]
    assert results("reverse_change", before, contrast=against(before, after)) == []


def test_half_of_a_step_lies_between_on_the_genes_own_scale():
    before = "LR = 0.1\nWIDTH = 16\nBETA = 0.9\nuse(LR, WIDTH, BETA)\n"
    after = before.replace("0.1", "0.4").replace("16", "64").replace("0.9", "0.99")

    edited = results("halve_step", before, contrast=against(before, after))

    assert edited == [before.replace("0.1", "0.2"), before.replace("16", "32"), before.replace("0.9", "0.968377")]


def test_one_of_several_moves_or_hunks_is_taken_alone():
    before = "LR = 0.1\nWIDTH = 16\n"
    moved = "LR = 0.4\nWIDTH = 64\n"
    rewritten = "first()\nLR = 0.1\nWIDTH = 16\nlast()\n"

    assert results("isolate_change", before, contrast=against(before, moved)) == ["LR = 0.4\nWIDTH = 16\n", "LR = 0.1\nWIDTH = 64\n"]
    assert results("isolate_change", before, contrast=against(before, rewritten)) == ["first()\n" + before, before + "last()\n"]
    assert results("isolate_change", before, contrast=against(before, before.replace("0.1", "0.4"))) == []


@pytest.mark.parametrize("name", ["reverse_change", "halve_step", "isolate_change", "mix_genes"])
def test_without_a_contrast_there_is_nothing_to_look_at(name):
    assert options(name, "LR = 0.1\n") == []


def test_the_plans_operators_come_first_and_unknown_ones_are_passed_over():
    assert order(("neutralise", "no_such_thing"), "simplifier") == ["neutralise", "remove_something", "halve_capacity"]
    assert order((), "somebody's own") == ["tune_near", "tune_constant"]
    assert all(name in OPERATORS for names in DEFAULTS.values() for name in names)
