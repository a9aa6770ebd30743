from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evogit.domain.metric import Direction, Metric
from evogit.domain.problem import Evaluate, Problem
from evogit.errors import ProblemError
from evogit.problem import globs

PROBLEM = Problem(
    name="p",
    folder="rp/digits",
    layout="evogit",
    goal="program.md",
    mutable=("train.py",),
    command="python train.py",
    metrics=(Metric(name="loss", direction=Direction.MINIMIZE),),
)


def problem(*mutable: str, **changes: object) -> Problem:
    return msgspec.structs.replace(PROBLEM, mutable=mutable, **changes)


@pytest.mark.parametrize(
    ("glob", "path", "matches"),
    [
        ("train.py", "rp/digits/train.py", True),
        ("train.py", "train.py", False),
        ("train.py", "rp/digits/src/train.py", False),
        ("train.py", "rp/digits2/train.py", False),
        ("*.py", "rp/digits/a.py", True),
        ("*.py", "rp/digits/src/a.py", False),
        ("*", "rp/digits/Makefile", True),
        ("**", "rp/digits/a/b/c", True),
        ("src/**", "rp/digits/src/a/b.py", True),
        ("src/**", "rp/digits/src", False),
        ("**/*.py", "rp/digits/a.py", True),
        ("**/*.py", "rp/digits/x/y/a.py", True),
        ("a/**/b.py", "rp/digits/a/b.py", True),
        ("a/**/b.py", "rp/digits/a/x/y/b.py", True),
        ("a/**/b.py", "rp/digits/ab.py", False),
        ("v?.py", "rp/digits/v1.py", True),
        ("v?.py", "rp/digits/v12.py", False),
        ("a?b", "rp/digits/a/b", False),
        ("x[1].py", "rp/digits/x[1].py", True),
        ("x[1].py", "rp/digits/x1.py", False),
        ("modèle é.py", "rp/digits/modèle é.py", True),
        ("a.py", "rp/digits/abpy", False),
    ],
)
def test_a_star_stays_in_its_segment_and_two_cross_segments(glob, path, matches):
    assert globs.is_mutable(problem(glob), path) is matches


@pytest.mark.parametrize(
    "path",
    [
        "rp/digits/.gitattributes",
        "rp/digits/src/.gitmodules",
        "rp/digits/.GITATTRIBUTES",
        "rp/digits/.git/hooks/x",
        "rp/digits/evogit.toml",
        "rp/digits/sub/evogit.toml",
        "rp/digits/program.md",
        "rp/digits/evaluate.py",
        "rp/digits/../secret",
        "rp/digits/a//b",
        "rp/digits/",
        "rp/digits",
    ],
)
def test_what_judges_a_run_is_frozen_even_where_the_globs_take_everything(path):
    everything = problem("**", evaluate=Evaluate(command="python ./evaluate.py --strict", predict="python predict.py"))

    assert not globs.is_mutable(everything, path)
    assert globs.is_mutable(everything, "rp/digits/predict.py")


def test_a_problem_at_the_top_sees_paths_as_they_are():
    top = problem("src/*.py", folder="")

    assert globs.mutable_paths(top, ["src/b.py", "src/a.py", "a.py", "src/a.py"]) == ["src/a.py", "src/b.py"]


@pytest.mark.parametrize(
    ("glob", "fix"),
    [
        ("", "train.py"),
        ("/etc/passwd", "relative"),
        ("C:/x", "relative"),
        ("../x.py", "down"),
        ("a/../../x", "down"),
        ("src/", "src/**"),
        ("./train.py", "train.py"),
        ("a//b", "a/b"),
        ("a\\b", "/"),
        ("src/**.py", "src/**/*.py"),
    ],
)
def test_a_glob_that_leaves_the_folder_or_means_nothing_comes_with_its_fix(glob, fix):
    found = globs.fault(glob)

    assert found is not None
    assert fix in found[1]


def test_a_glob_without_a_committed_file_is_named_with_the_files_there_are():
    with pytest.raises(ProblemError, match=r"rp/digits/evogit.toml: mutable\[1\].*model.py") as error:
        globs.check_mutable(problem("train.py", "model.py"), ["rp/digits/train.py", "model.py"])

    assert "train.py" in error.value.hint


def test_a_glob_that_names_a_folder_is_told_to_add_stars():
    with pytest.raises(ProblemError) as error:
        globs.check_mutable(problem("src"), ["rp/digits/src/a.py"])

    assert error.value.hint == 'write "src/**"'


SEGMENT = st.text(alphabet="ab.é*?", min_size=1, max_size=4).filter(lambda s: "**" not in s and s not in (".", ".."))


@given(
    st.lists(st.one_of(SEGMENT, st.just("**")), min_size=1, max_size=4), st.lists(st.sampled_from(["a", "b", "ab", ".a", "é"]), max_size=4)
)
def test_matching_agrees_with_a_walk_over_segments(pattern, path):
    import fnmatch

    def walk(p: list[str], q: list[str]) -> bool:
        if not p:
            return not q
        if p[0] == "**":
            return bool(q) if len(p) == 1 else any(walk(p[1:], q[i:]) for i in range(len(q) + 1))
        return bool(q) and fnmatch.fnmatchcase(q[0], p[0]) and walk(p[1:], q[1:])

    one = problem("/".join(pattern), folder="", goal="")

    assert globs.is_mutable(one, "/".join(path)) == (bool(path) and walk(pattern, path))
