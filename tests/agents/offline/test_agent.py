from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evogit.agents.offline.agent import OfflineAgent
from evogit.agents.offline.operators import DEFAULTS, OPERATORS
from evogit.domain.briefing import Briefing
from evogit.domain.metric import Direction, Metric
from evogit.domain.plan import Plan
from evogit.domain.problem import Problem
from evogit.domain.proposal import Proposal
from evogit.errors import WorkFailed
from evogit.seams import Agent
from evogit.search.change import sources_hash

SAMPLES = sorted((Path(__file__).parent / "samples").glob("*.py"))
CATEGORIES = {
    *("hyperparameter", "optimizer", "schedule", "architecture", "capacity_increase", "capacity_decrease"),
    *("regularization", "simplification", "recombination", "replicate", "initialisation"),
}
ODD = (
    '\ufeff# größe\r\nfrom __future__ import annotations\r\nimport torch\r\n\r\nLR = 1e-3\t# é€𝄞\r\nPairs = "list[tuple[int, int]]"\r\n\r\n'
    "@torch.no_grad()\r\ndef f(x, *, width=64, name=f'{LR:.2f} ünï'):\r\n\tif x:\r\n\t\treturn g(rate=0.3)\r\n\treturn f'{width=}'"
)


def ask(
    sources: dict[str, str],
    *,
    emitter: str = "local_tuner",
    operators: tuple[str, ...] = (),
    rng: int = 1,
    tried: frozenset[str] = frozenset(),
) -> Proposal:
    problem = Problem(
        name="toy", folder="", layout="evogit", goal="", mutable=("*.py",), command="python train.py",
        metrics=(Metric(name="val_loss", direction=Direction.MINIMIZE),),
    )  # fmt: skip
    plan = Plan(emitter=emitter, parents=("0" * 40,), seeds=(0,), rng=rng, operators=operators)
    briefing = Briefing(problem=problem, plan=plan, goal="", sources=sources, parent=None, tried=tried)
    return OfflineAgent().propose(briefing, Path("/nowhere"))


def test_it_fills_the_seam_and_needs_no_checkout():
    agent = OfflineAgent()

    assert isinstance(agent, Agent)
    assert (agent.name, agent.edits_in_place) == ("offline", False)


@pytest.mark.parametrize("emitter", [*DEFAULTS, "somebody's own"])
@pytest.mark.parametrize("path", SAMPLES, ids=lambda p: p.stem)
def test_every_role_finds_an_edit_in_every_torch_script(path, emitter):
    text = path.read_text(encoding="utf-8")

    if path.stem == "numpy_script" and emitter in {"architecture_mutator", "optimizer_hacker"}:
        pytest.skip("a plain script has no architecture, and no optimizer that it names")
    proposal = ask({"train.py": text}, emitter=emitter)

    assert proposal.files.keys() == {"train.py"}
    assert sources_hash(proposal.files) != sources_hash({"train.py": text})
    assert proposal.change in CATEGORIES
    assert proposal.summary and proposal.hypothesis and proposal.transcript
    assert proposal.forecast is None


@given(seed=st.integers(0, 2**40), name=st.sampled_from(sorted(OPERATORS)), path=st.sampled_from(SAMPLES))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_the_same_plan_gives_the_same_edit(seed, name, path):
    sources = {"train.py": path.read_text(encoding="utf-8"), "notes.md": "LR = 1\n"}

    first = ask(sources, operators=(name,), rng=seed)

    assert first == ask(sources, operators=(name,), rng=seed)
    assert first.files.keys() == {"train.py"}


@given(seed=st.integers(0, 2**40))
@settings(max_examples=40, deadline=None)
def test_an_edit_leaves_line_ends_tabs_marks_and_letters_as_they_are(seed):
    text = ask({"train.py": ODD}, rng=seed).files["train.py"]

    before, after = ODD.split("\r\n"), text.split("\r\n")
    changed = [(a, b) for a, b in zip(before, after) if a != b]
    assert len(before) == len(after)
    assert len(changed) == 1
    assert changed[0][0].partition("#")[2] == changed[0][1].partition("#")[2]


def test_what_was_tried_is_not_proposed_again_until_nothing_is_left():
    text, tried = "FLAG = True\nuse(FLAG)\n", set()

    first = ask({"train.py": text}, emitter="simplifier", operators=("neutralise",))
    tried.add(sources_hash(first.files))

    with pytest.raises(WorkFailed, match="no untried edit"):
        ask({"train.py": text}, emitter="simplifier", operators=("neutralise",), tried=frozenset(tried))


def test_two_hundred_edits_of_one_script_are_all_different():
    text = next(p for p in SAMPLES if p.stem == "mlp").read_text(encoding="utf-8")
    tried: set[str] = set()

    for number in range(200):
        emitter = list(DEFAULTS)[number % 2]
        proposal = ask({"train.py": text}, emitter=emitter, rng=number, tried=frozenset(tried))
        digest = sources_hash(proposal.files)
        assert digest not in tried
        tried.add(digest)


def test_the_next_family_is_asked_when_the_first_has_nothing():
    proposal = ask({"train.py": "LR = 0.1\nuse(LR)\n"}, operators=("swap_norm", "tune_far"))

    assert proposal.summary.startswith(("raise LR", "lower LR"))
    assert "swap_norm: 0 options" in proposal.transcript


def test_an_edit_changes_one_file_of_several():
    sources = {"a.py": "LR = 0.1\nuse(LR)\n", "b.py": "WIDTH = 64\nuse(WIDTH)\n", "broken.py": "x = (\n"}

    changed = {tuple(ask(sources, rng=seed).files) for seed in range(20)}

    assert changed == {("a.py",), ("b.py",)}


@pytest.mark.parametrize(
    ("sources", "message"),
    [
        ({"model.py": "def f(:\n"}, "model.py cannot be parsed"),
        ({"config.yaml": "lr: 1\n"}, "no mutable file is Python"),
        ({}, "no mutable file is Python"),
        ({"train.py": ""}, "no untried edit"),
        ({"train.py": "print('hello')\n"}, "no untried edit"),
    ],
)
def test_where_there_is_nothing_to_edit_it_says_so(sources, message):
    with pytest.raises(WorkFailed, match=message) as caught:
        ask(sources)

    assert caught.value.hint


@pytest.mark.slow
def test_nearly_every_edit_of_a_torch_script_still_trains():
    pytest.importorskip("torch").set_num_threads(1)
    rng = random.Random(0)
    ran = asked = 0
    for path in (p for p in SAMPLES if p.stem in {"mlp", "cnn", "gpt"}):
        text = path.read_text(encoding="utf-8")
        for number in range(40):
            emitter = rng.choice(list(DEFAULTS))
            edited = ask({"train.py": text}, emitter=emitter, operators=(rng.choice(list(OPERATORS)),), rng=number).files["train.py"]
            asked += 1
            ran += _trains(edited)

    assert ran / asked >= 0.85


def _trains(text: str) -> bool:
    """Run a script in this process: a process each would load torch a hundred times."""
    try:
        exec(compile(text, "train.py", "exec"), {"__name__": "__main__"})  # noqa: S102
    except (RuntimeError, ValueError, TypeError, NameError, AttributeError, AssertionError, ZeroDivisionError):
        return False
    return True
