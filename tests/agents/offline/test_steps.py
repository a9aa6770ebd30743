from __future__ import annotations

import ast

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from evogit.agents.offline import steps
from evogit.search import genes
from evogit.search.genes import Gene

ROLES = ["LR", "WEIGHT_DECAY", "DROPOUT", "MOMENTUM", "WIDTH", "BATCH_SIZE", "DEPTH", "EPOCHS", "N_HEADS", "GAIN", "WARMUP", "ANYTHING"]


def gene(name: str, value: float) -> Gene:
    [one] = genes.find(f"{name} = {value!r}\n")
    return one


@given(
    st.sampled_from(ROLES),
    st.one_of(st.integers(1, 70000), st.floats(1e-9, 1e6, allow_nan=False)),
    st.floats(0.05, 20).filter(lambda f: f < 0.95 or f > 1.05),
    st.booleans(),
)
@example("LR", 0.99999, 20.0, False)
def test_a_step_keeps_type_direction_and_bounds(name, value, factor, far):
    one = gene(name, value)

    new = steps.scaled(one, factor, far=far)

    assume(new is not None)
    assert type(new) is type(value)
    assert (new > value) == (factor > 1)
    assert new > 0
    if one.kind == "ratio":
        assert new < 1
    if name == "LR":
        assert 1e-6 <= new <= 10 or abs(new - value) < 1.05 * value  # a step is rounded to two digits
    if isinstance(new, int):
        assert new <= 2 * steps.LARGEST + 140000
    if name == "EPOCHS" and isinstance(value, int):
        assert value // 2 <= new <= 2 * value


@pytest.mark.parametrize(
    ("name", "value", "factor", "new"),
    [
        ("LR", 0.001, 2.0, 0.002),
        ("LR", 9.0, 2.0, 10.0),
        ("LR", 10.0, 2.0, None),
        ("BETA", 0.999, 2.0, 0.9995),
        ("MOMENTUM", 0.9, 0.5, 0.8),
        ("DROPOUT", 0.5, 2.0, 0.75),
        ("DROPOUT", 0.0, 1.5, 0.1),
        ("DROPOUT", 0.0, 0.5, None),
        ("GAIN", 0.0, 2.0, None),
        ("WIDTH", 64, 1.2, 80),
        ("WIDTH", 64, 0.5, 32),
        ("WIDTH", 1, 0.5, None),
        ("DEPTH", 3, 1.3, 4),
        ("DEPTH", 1, 0.7, None),
        ("BATCH", 128, 1.2, 256),
        ("EPOCHS", 10, 9.0, 20),
        ("N_HEADS", 4, 1.2, 8),
    ],
)
def test_steps_are_those_a_person_would_take(name, value, factor, new):
    assert steps.scaled(gene(name, value), factor) == new


@given(
    st.one_of(st.integers(1, 10**7), st.floats(1e-12, 1e9, allow_nan=False)),
    st.sampled_from(["1e-3", "2**7", "1 << 4", "10_000", "0.5", "3E4"]),
)
def test_what_is_written_reads_back_as_the_value(value, old):
    text = steps.written(value, old)

    assert genes.literal(ast.parse(text, mode="eval").body) == value


@pytest.mark.parametrize(
    ("value", "old", "text"),
    [
        (256, "2**7", "2**8"),
        (32, "1 << 4", "1 << 5"),
        (20000, "10_000", "20_000"),
        (0.002, "1e-3", "2e-3"),
        (0.002, "0.001", "0.002"),
        (96, "2**6", "96"),
    ],
)
def test_a_number_is_written_in_the_style_of_the_old_one(value, old, text):
    assert steps.written(value, old) == text
