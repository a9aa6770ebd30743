from __future__ import annotations

import ast
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evogit.search import syntax
from evogit.search.change import GeneMove, diff, gene_moves, hunks, line_delta, normalise, sources_hash

CODE = '"""Doc."""\nLR = 0.1  # rate\n\n\ndef f(x):\n    """Doc."""\n    return {"a": x,\n            "b": 2}\n'
SAME = "LR = 0.1\ndef f(x): return {'a': x, 'b': 2}\r\n"
texts = st.text(alphabet="ab \n\r\u2028=1#", max_size=30)


def test_formatting_comments_and_docstrings_do_not_count():
    assert normalise(CODE, "train.py") == normalise(SAME, "train.py")
    assert sources_hash({"train.py": CODE}) == sources_hash({"train.py": SAME})


@pytest.mark.parametrize("other", [CODE.replace("0.1", "0.2"), CODE.replace("2}", "3}"), CODE + "f(1)\n", CODE.replace("f(x)", "g(x)")])
def test_another_program_has_another_hash(other):
    assert sources_hash({"train.py": CODE}) != sources_hash({"train.py": other})


def test_a_function_of_nothing_but_a_docstring_stays_a_function():
    assert normalise('def f():\n    """Doc."""\n', "a.py") == normalise("def f():\n    pass\n", "a.py")


@pytest.mark.parametrize("text", ["def f(:", "x = '\udc80'", "(" * 5000, "x = 1\0"])
def test_python_that_does_not_parse_is_taken_as_it_is(text):
    assert normalise(text, "a.py") == text
    assert len(sources_hash({"a.py": text})) == 64


def test_other_files_count_but_for_white_space_at_their_ends():
    assert normalise(" a: 1  \r\nb: 2\n\n", "a.yaml") == "a: 1\nb: 2"
    assert sources_hash({"a.yaml": "a: 1\n"}) != sources_hash({"a.yaml": "a: 2\n"})


def test_paths_count_and_their_order_does_not():
    assert sources_hash({"a.py": "x = 1", "b.py": "y = 1"}) == sources_hash({"b.py": "y = 1", "a.py": "x = 1"})
    assert sources_hash({"a.py": "x = 1", "b.py": "y = 1"}) != sources_hash({"a.py": "y = 1", "b.py": "x = 1"})
    assert sources_hash({"a.txt": "b.txt"}) != sources_hash({"a.txt": "", "b.txt": ""})


@given(texts, texts)
def test_git_can_apply_a_diff_backwards_and_forwards(before, after):
    hunk_lines = diff({"f": before}, {"f": after}).split("\n")

    assert (before == after) == (hunk_lines == [""])
    assert sum(line.startswith("+") and not line.startswith("+++") for line in hunk_lines) == line_delta({"f": before}, {"f": after})[0]
    assert sum(line.startswith("-") and not line.startswith("---") for line in hunk_lines) == line_delta({"f": before}, {"f": after})[1]


def test_a_diff_is_one_that_git_applies(tmp_path):
    before = {"a.py": "x = 1\ny = 2\n", "b.py": "no end", "gone.py": "z = 1\n"}
    after = {"a.py": "x = 1\r\ny = 3\n", "b.py": "no end still", "new.py": "w = 1\n"}
    for name, text in before.items():
        (tmp_path / name).write_bytes(text.encode())

    subprocess.run(["git", "apply", "-"], cwd=tmp_path, input=diff(before, after).encode(), check=True)

    assert {p.name: p.read_bytes().decode() for p in tmp_path.iterdir()} == after


@given(texts, texts)
def test_hunks_put_in_place_make_the_file_after(before, after):
    lines = before.split("\n")
    lines = [line + "\n" for line in lines[:-1]] + ([lines[-1]] if lines[-1] else [])

    for hunk in reversed(hunks({"f": before}, {"f": after})):
        assert tuple(lines[hunk.start : hunk.start + len(hunk.before)]) == hunk.before
        lines[hunk.start : hunk.start + len(hunk.before)] = hunk.after

    assert "".join(lines) == after


def test_moves_name_what_moved_and_nothing_else():
    before = "from torch import nn\nLR = 0.1\nWIDTH = 64\nBETAS = (0.9, 0.95)\nFLAG = True\nACT = nn.ReLU\n"
    after = before.replace("0.1", "0.2").replace("0.95", "0.99").replace("True", "False").replace("ReLU", "GELU") + "# more\n"

    moves = gene_moves({"t.py": before}, {"t.py": after})

    assert [(m.name, m.old, m.new) for m in moves] == [
        ("LR", 0.1, 0.2),
        ("BETAS[1]", 0.95, 0.99),
        ("FLAG", True, False),
        ("ACT", "torch.nn.ReLU", "torch.nn.GELU"),
    ]
    assert moves[0] == GeneMove(path="t.py", name="LR", old=0.1, new=0.2, kind="float", family="lr")


def test_a_tuple_of_another_length_moved_as_a_whole():
    moves = gene_moves({"t.py": "WIDTHS = (16, 32)\n"}, {"t.py": "WIDTHS = (16, 64, 64)\n"})

    assert [(m.name, m.old, m.new) for m in moves] == [("WIDTHS", (16, 32), (16, 64, 64))]


def test_a_file_that_does_not_parse_has_no_moves():
    assert gene_moves({"t.py": "LR = 1.0\n"}, {"t.py": "LR = = 2.0\n"}) == ()


def test_lines_of_added_and_deleted_files_count():
    assert line_delta({"a": "1\n2\n", "b": "1\n"}, {"a": "1\n3\n", "c": "1\n2"}) == (3, 2)


def test_a_normal_form_leaves_the_shared_tree_with_its_docstrings():
    text = 'class Net:\n    """A net."""\n\n    def forward(self, x):\n        """Forward."""\n        if x:\n            return x\n'

    assert normalise(text, "train.py") == "class Net:\n\n    def forward(self, x):\n        if x:\n            return x"
    assert ast.get_docstring(syntax.read(text).tree.body[0].body[1]) == "Forward."
