"""Dollars of a call: the table, the problem's own prices over it, and what nobody knows."""

from __future__ import annotations

import msgspec
import pytest

from builders import problem
from evogit import prices
from evogit.domain.problem import Price
from evogit.domain.usage import Call

CALL = Call(who="agent", hand="anthropic", input=1000, output=2000, cache_write=4000, cache_read=8000)


def test_a_call_costs_its_tokens_at_their_four_prices():
    usd = prices.price("claude-sonnet-4-6", CALL, problem())

    assert usd == pytest.approx((1000 * 3 + 2000 * 15 + 4000 * 3.75 + 8000 * 0.3) / 1e6)


@pytest.mark.parametrize("model", ["claude-sonnet-4-6-20260101", "claude-sonnet-4-6@20260101", "claude-sonnet-4-6"])
def test_a_date_at_its_end_does_not_make_another_model(model):
    assert prices.find(model, problem()) == prices.table()["claude-sonnet-4-6"]


def test_the_longest_name_that_fits_counts():
    mine = problem(prices={"m": Price(input=1.0, output=1.0), "m-2026": Price(input=2.0, output=2.0)})

    assert prices.find("m-2026-01-01", mine).input == 1.0
    assert prices.find("m-2026-20260101", mine).input == 2.0


@pytest.mark.parametrize("model", ["", "claude-sonnet-4-6-turbo", "claude-sonnet", "my-claude-sonnet-4-6", "gpt-5-mini-high"])
def test_a_model_that_nobody_priced_costs_none_and_never_zero(model):
    assert prices.price(model, CALL, problem()) is None
    assert prices.worst(model, 1000, 1000, problem()) is None


def test_sonnet_5_5_does_not_cost_what_sonnet_5_does():
    assert prices.find("claude-sonnet-5-5", problem()).cache_read != prices.find("claude-sonnet-5", problem()).cache_read


def test_the_problems_own_price_goes_before_the_table():
    mine = problem(prices={"claude-sonnet-4-6": Price(input=1.0, output=1.0, cache_write=1.0, cache_read=1.0)})

    assert prices.price("claude-sonnet-4-6-20260101", CALL, mine) == pytest.approx(15000 / 1e6)


def test_cached_tokens_without_a_price_cost_what_other_input_costs():
    mine = problem(prices={"local": Price(input=1.0, output=0.0)})

    assert prices.price("local", CALL, mine) == pytest.approx(13000 / 1e6)


def test_a_model_that_is_free_costs_zero():
    mine = problem(prices={"local": Price(input=0.0, output=0.0)})

    assert prices.price("local", CALL, mine) == 0.0
    assert prices.worst("local", 10**6, 10**6, mine) == 0.0


def test_a_call_without_tokens_has_no_known_price():
    assert prices.price("claude-sonnet-4-6", Call(who="agent", hand="x"), problem()) is None


def test_beyond_the_longest_prompt_that_a_price_is_for_nothing_is_known():
    limit = prices.table()["claude-haiku-5-5"].up_to

    assert prices.price("claude-haiku-5-5", Call(who="agent", hand="x", input=limit), problem()) is not None
    assert prices.price("claude-haiku-5-5", Call(who="agent", hand="x", input=limit, cache_read=1), problem()) is None
    assert prices.worst("claude-haiku-5-5", limit + 1, 10, problem()) is None


def test_no_call_costs_more_than_its_worst():
    for model in prices.table():
        prompt = CALL.input + CALL.cache_write + CALL.cache_read

        assert prices.price(model, CALL, problem()) <= prices.worst(model, prompt, CALL.output, problem()), model


def test_every_price_of_the_table_is_one():
    for model, price in prices.table().items():
        assert 0 < price.input <= price.output, model
        assert (price.cache_read or 0) < price.input, model


def test_the_table_says_when_and_where_its_prices_were_found():
    from pathlib import Path

    head = Path(prices.__file__).with_name("prices.toml").read_text().partition("[")[0]

    assert "2026-" in head and "platform.claude.com" in head and "openai.com" in head


def test_calls_whose_hand_told_tokens_alone_get_their_price_and_no_others():
    told, broken, unknown = (msgspec.structs.replace(CALL, **more) for more in ({"usd": 0.5}, {"error": "cut"}, {"model": "nobody's"}))
    plain = msgspec.structs.replace(CALL, model="claude-sonnet-4-6")

    found = prices.priced((told, broken, unknown, plain), problem())

    assert [call.usd for call in found] == [0.5, None, None, prices.price(plain.model, plain, problem())]
