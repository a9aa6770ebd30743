from __future__ import annotations

import ast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evogit.search import syntax
from evogit.search.syntax import Splice

ODD = "x = 'é€𝄞'; y = 1  # ünï\r\nif x:\r\n\tz = (\f2 +\r\n\t\t3)\r\n"
ends = st.sampled_from(["\n", "\r\n", "\r"])
line = st.sampled_from(["a = 1", "b = 'é\u2028'", "# \f \x0b \x85 comment", "", "c = [1,  2]", "def f(x): return x"])


@given(st.lists(st.tuples(line, ends)))
def test_lines_joined_again_are_the_text(pairs):
    text = "".join(a + b for a, b in pairs)

    lines = syntax.split_lines(text)

    assert "".join(lines) == text
    assert len(lines) == len(text.encode().replace(b"\r\n", b"\n").replace(b"\r", b"\n").decode().split("\n")) - 1


@given(st.lists(st.tuples(line, ends)), st.booleans())
def test_a_span_holds_what_the_parser_read_there(pairs, marked):
    source = syntax.read(("\ufeff" if marked else "") + "".join(a + b for a, b in pairs))

    for node in syntax.walk(source.tree):
        if isinstance(node, ast.Constant):
            assert ast.literal_eval(source.at(node)) == node.value
        if isinstance(node, ast.Name):
            assert source.at(node) == node.id


def test_spans_are_right_after_tabs_form_feeds_and_letters_of_several_bytes():
    source = syntax.read(ODD)

    numbers = [source.at(n) for n in syntax.walk(source.tree) if isinstance(n, ast.Constant)]

    assert numbers == ["'é€𝄞'", "1", "2", "3"]


@given(st.text(max_size=40), st.data())
def test_splicing_leaves_every_other_character_alone(text, data):
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), min_size=4, max_size=4)))
    edits = [Splice(cuts[0], cuts[1], "<A>"), Splice(cuts[2], cuts[3], "<B>")]

    out = syntax.splice(text, edits)

    assert out == text[: cuts[0]] + "<A>" + text[cuts[1] : cuts[2]] + "<B>" + text[cuts[3] :]


def test_overlapping_edits_are_refused():
    with pytest.raises(ValueError, match="overlap"):
        syntax.splice("abcdef", [Splice(0, 3, "x"), Splice(2, 4, "y")])


@pytest.mark.parametrize("text", ["def f(:", "x = 1\0", "(" * 5000, "'\udc80'", "  x = 1"])
def test_text_that_is_no_python_is_not_read_and_nothing_else_is_raised(text):
    assert syntax.read(text) is None

    with pytest.raises(SyntaxError):
        syntax.parse(text)


def test_names_are_followed_through_imports_and_spelled_with_them():
    source = syntax.read("import torch\nimport torch.nn as nn\nfrom torch.nn import functional as F\nACT = nn.ReLU\nx = F.relu\n")

    names = {source.dotted(n) for n in syntax.walk(source.tree) if isinstance(n, ast.Attribute)}

    assert names == {"torch.nn.ReLU", "torch.nn.functional.relu"}
    assert source.spell("torch.nn.functional.gelu") == "F.gelu"
    assert source.spell("torch.nn.GELU") == "nn.GELU"
    assert source.spell("torch.optim.Adam") == "torch.optim.Adam"
    assert source.spell("numpy.zeros") is None
    assert source.meaning(ast.Name("ACT")) == "torch.nn.ReLU"


def test_an_import_inside_a_function_spells_nothing_outside():
    source = syntax.read("def f():\n    import torch\n    return torch.relu\n")

    assert source.spell("torch.relu") is None
