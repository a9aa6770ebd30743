"""The agents that ask models, with the real clients, against services on loopback that misbehave."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from builders import baseline, commit_of, problem
from evogit.agents.anthropic import AnthropicAgent
from evogit.agents.conversing import carried_out_again
from evogit.agents.openai import OpenAIAgent
from evogit.domain.briefing import Attempt, Briefing, Lore
from evogit.domain.plan import Forecast, Plan
from evogit.domain.usage import spent
from evogit.errors import AgentFailed, ServiceDown, UserError
from evogit.prices import price
from evogit.seams import Agent
from loopback import Loopback, minds
from toys import TRAIN

NOWHERE = Path("/nowhere")
RAISE_LR = minds.change("LR = 0.1", "LR = 0.2", mean=0.25, spread=0.02)

both = pytest.mark.parametrize("name", ["anthropic", "openai"])


def agent(name: str, loopback: Loopback, **options: str) -> Agent:
    options = {"timeout_s": "20", "retries": "2", "base_url": loopback.url, **options}
    if name == "openai":
        return OpenAIAgent(**{"model": "some-model", **options, "base_url": options["base_url"] + "/v1"})
    return AnthropicAgent(**options)


def briefing(**more) -> Briefing:
    plan = Plan(emitter="local_tuner", parents=(commit_of("0"),), seeds=(0, 1), rng=1, instruction="tune one constant")
    return Briefing(
        **{"problem": problem(), "plan": plan, "goal": "", "sources": {"train.py": TRAIN}, "parent": baseline(0.3, 0.31), **more}
    )


def replayed(told: Briefing, answers: dict[str, str]) -> dict[str, str]:
    return carried_out_again(told.problem, told.sources, told.attempts[0].files if told.attempts else {}, answers).changed


@both
def test_an_edit_comes_back_as_files_with_its_forecast_and_its_cost(name, loopback):
    loopback.mind = RAISE_LR
    worker = agent(name, loopback)

    made = worker.propose(briefing(), NOWHERE)

    assert isinstance(worker, Agent) and not worker.edits_in_place and worker.mends
    assert made.files == {"train.py": TRAIN.replace("LR = 0.1", "LR = 0.2", 1)}
    assert (made.summary, made.change) == ("LR = 0.1 to LR = 0.2", "hyperparameter")
    assert made.forecast == Forecast(mean=0.25, spread=0.02)
    (call,), (charge,) = made.calls, loopback.charged
    assert (call.who, call.hand, call.model) == ("agent", name, charge.model)
    assert (call.input, call.output, call.cache_write, call.cache_read) == (
        charge.input,
        charge.output,
        charge.cache_write,
        charge.cache_read,
    )
    assert call.usd == price(call.model, call, None) and call.seconds > 0 and call.error == ""
    assert replayed(briefing(), made.answers) == made.files
    assert list(made.answers) == [call.answer]


@both
def test_a_tool_that_fails_is_told_to_the_model_which_tries_again(name, loopback):
    wrong = minds.change("LR = 0.7", "LR = 0.2")
    loopback.mind = minds.script(wrong, RAISE_LR)

    made = agent(name, loopback).propose(briefing(), NOWHERE)

    assert "LR = 0.2" in made.files["train.py"]
    assert len(made.calls) == 2
    assert "occurs 0 times" in json.dumps(loopback.requests[1].body)
    assert replayed(briefing(), made.answers) == made.files


@both
def test_a_frozen_file_is_refused_with_the_reason_and_the_edit_goes_on(name, loopback):
    loopback.mind = minds.script(minds.frozen, RAISE_LR)

    made = agent(name, loopback).propose(briefing(), NOWHERE)

    assert list(made.files) == ["train.py"]
    assert "evaluate.py is frozen" in json.dumps(loopback.requests[1].body)


@both
@pytest.mark.parametrize(
    ("mind", "calls", "why"),
    [
        (minds.refusal, 1, "the model refused: I cannot help with that."),
        (minds.talk, 2, "the model edited nothing: I would raise"),
        (minds.nothing, 2, "the model edited nothing"),
        (minds.huge, 2, "the model edited nothing: All work"),
        (minds.cut_short, 2, "cut at its limit of tokens, twice"),
        (minds.frozen, 2, "the model edited nothing"),
    ],
)
def test_a_model_that_gives_no_edit_has_failed_and_says_what_it_cost(name, loopback, mind, calls, why):
    loopback.mind = mind
    if mind is minds.frozen:
        loopback.mind = lambda ask: minds.Answer(uses=minds.frozen(ask).uses[1:])

    with pytest.raises(AgentFailed, match=why) as caught:
        agent(name, loopback).propose(briefing(), NOWHERE)

    assert len(caught.value.calls) == len(caught.value.answers) == len(loopback.charged) == calls
    assert sum(call.output for call in caught.value.calls) == sum(charge.output for charge in loopback.charged)
    assert len(caught.value.message) < 400


@both
def test_an_answer_that_was_cut_or_malformed_is_repaired_by_one_more_turn(name, loopback):
    loopback.mind = minds.script(minds.cut_short, RAISE_LR)

    made = agent(name, loopback).propose(briefing(), NOWHERE)

    assert "LR = 0.2" in made.files["train.py"]
    assert "replace_in_file changes a passage" in json.dumps(loopback.requests[1].body)


def test_arguments_that_are_no_json_are_told_to_the_model(loopback):
    loopback.mind = minds.script(minds.malformed, RAISE_LR)

    made = agent("openai", loopback).propose(briefing(), NOWHERE)

    assert "LR = 0.2" in made.files["train.py"]
    assert "no JSON object" in json.dumps(loopback.requests[1].body)


def test_a_stream_whose_arguments_are_no_json_is_asked_for_again(loopback):
    loopback.mind = minds.script(minds.malformed, RAISE_LR)

    made = agent("anthropic", loopback).propose(briefing(), NOWHERE)

    assert "LR = 0.2" in made.files["train.py"]
    assert made.calls[0].error and made.calls[0].answer == "" and made.calls[1].error == ""


@both
@pytest.mark.parametrize("fault", ["429", "500", "529", "stall"])
def test_what_the_client_retries_costs_nobody_a_run(name, loopback, fault):
    loopback.mind, loopback.faults = RAISE_LR, [fault]

    made = agent(name, loopback, timeout_s="0.5" if fault == "stall" else "20").propose(briefing(), NOWHERE)

    assert "LR = 0.2" in made.files["train.py"]
    assert len(made.calls) == 1 and len(loopback.requests) == 2


@both
@pytest.mark.parametrize("fault", ["cut", "truncated", "error-event"])
def test_half_an_answer_is_asked_for_again_and_every_token_of_it_counted(name, loopback, fault):
    if (name, fault) == ("openai", "error-event"):
        pytest.skip("it does not stream")
    loopback.mind, loopback.faults = RAISE_LR, [fault]

    made = agent(name, loopback).propose(briefing(), NOWHERE)

    assert "LR = 0.2" in made.files["train.py"]
    total = spent(made.calls)
    for kind in ("input", "output", "cache_write", "cache_read"):
        assert getattr(total, kind) == sum(getattr(charge, kind) for charge in loopback.charged), kind


@both
@pytest.mark.parametrize("fault", ["500", "529", "stall", "truncated"])
def test_a_service_that_stays_down_keeps_the_plan_and_says_so_in_one_line(name, loopback, fault):
    loopback.faults = lambda seen: fault

    with pytest.raises(ServiceDown) as caught:
        agent(name, loopback, retries="1", timeout_s="0.3" if fault == "stall" else "20").propose(briefing(), NOWHERE)

    assert caught.value.exit_code == 3 and caught.value.hint
    assert "\n" not in caught.value.message
    assert all(call.error for call in caught.value.calls) and caught.value.calls
    assert {call.usd for call in caught.value.calls} == (
        {0.0} if fault.isdigit() else {None}
    )  # what a silent service counted, nobody knows


@both
def test_what_was_paid_before_the_service_failed_comes_along(name, loopback):
    loopback.mind = minds.change("LR = 0.7", "LR = 0.2")
    loopback.faults = ["", "500", "500"]

    with pytest.raises(ServiceDown) as caught:
        agent(name, loopback, retries="1").propose(briefing(), NOWHERE)

    assert [bool(call.error) for call in caught.value.calls] == [False, True]
    assert spent(caught.value.calls).output == loopback.charged[0].output


@both
@pytest.mark.parametrize(
    ("fault", "why"),
    [("401", "invalid x-api-key|Incorrect API key provided"), ("403", "fault 403"), ("404", "some-model|claude-sonnet-4-6")],
)
def test_a_refused_key_or_model_is_the_persons_to_mend_in_the_services_words(name, loopback, fault, why):
    loopback.faults = [fault]

    with pytest.raises(UserError, match=why) as caught:
        agent(name, loopback).propose(briefing(), NOWHERE)

    assert loopback.key not in str(caught.value) + caught.value.message + str([c.error for c in caught.value.calls])
    assert len(loopback.requests) == 1


@both
def test_another_refused_request_costs_one_run(name, loopback):
    loopback.faults = ["400"]

    with pytest.raises(AgentFailed, match="refuses the request: "):
        agent(name, loopback).propose(briefing(), NOWHERE)


def test_a_page_of_html_is_no_completion(loopback):
    loopback.faults = lambda seen: "html"

    with pytest.raises(ServiceDown, match="no completion|no choices"):
        agent("openai", loopback).propose(briefing(), NOWHERE)


@both
def test_a_service_out_of_reach_is_named(name):
    with Loopback() as gone:
        pass
    with pytest.MonkeyPatch.context() as patch:
        for key, value in gone.env.items():
            patch.setenv(key, value)

        with pytest.raises(ServiceDown, match="127.0.0.1:.*out of reach"):
            agent(name, gone, retries="0").propose(briefing(), NOWHERE)


@both
def test_without_a_key_the_variable_and_the_way_without_are_named(name, monkeypatch):
    variable = f"{name.upper()}_API_KEY"
    monkeypatch.delenv(variable, raising=False)

    with pytest.raises(UserError, match=f"{variable} is not set") as caught:
        OpenAIAgent(model="m") if name == "openai" else AnthropicAgent()

    assert "offline" in caught.value.hint or "base_url" in caught.value.hint


@both
@pytest.mark.parametrize(
    "option", [{"max_tokens": "many"}, {"max_tokens": "0"}, {"timeout_s": "-1"}, {"timeout_s": "nan"}, {"retries": "-1"}]
)
def test_an_option_that_makes_no_sense_is_named(name, loopback, option):
    with pytest.raises(UserError, match=next(iter(option))):
        agent(name, loopback, **option)


def test_openai_has_to_be_told_its_model(loopback):
    with pytest.raises(UserError, match="which model"):
        OpenAIAgent(base_url=loopback.url)


def test_a_server_of_ones_own_needs_no_key(loopback, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY")
    loopback.key, loopback.mind = "none", RAISE_LR

    assert agent("openai", loopback).propose(briefing(), NOWHERE).files


def test_a_server_without_tools_is_asked_in_plain_text(loopback):
    loopback.has_tools = False
    loopback.mind = minds.offline()
    worker = agent("openai", loopback)

    first = worker.propose(briefing(), NOWHERE)
    asked = len(loopback.requests)
    worker.propose(briefing(), NOWHERE)

    assert first.files["train.py"] != TRAIN and first.summary and first.forecast
    assert asked == 2 and len(loopback.requests) == 3  # what was learnt is not asked again
    assert "WRITE path/of/the/file" in loopback.requests[1].body["messages"][0]["content"]
    assert replayed(briefing(), first.answers) == first.files


def without_strict_tools_or_any(loopback: Loopback) -> None:
    loopback.has_strict = loopback.has_tools = False


@both
def test_a_server_that_wants_the_request_in_another_form_uses_up_no_try(name, loopback):
    broken = "truncated" if name == "anthropic" else "html"
    loopback.mind = RAISE_LR
    loopback.faults = lambda seen: broken if seen.number < 2 else without_strict_tools_or_any(loopback) or ""

    made = agent(name, loopback).propose(briefing(), NOWHERE)

    assert "LR = 0.2" in made.files["train.py"]
    assert len(loopback.requests) == 4  # broken twice, then refused for its form, then answered


@both
def test_a_service_that_stays_broken_says_what_is_wrong_whatever_form_it_wanted(name, loopback):
    broken = "truncated" if name == "anthropic" else "html"
    without_strict_tools_or_any(loopback)
    loopback.faults = lambda seen: broken if seen.number else ""

    with pytest.raises(ServiceDown, match="(broke off|is no completion).*, 3 times$"):
        agent(name, loopback).propose(briefing(), NOWHERE)


@both
def test_an_attempt_that_a_gate_refused_goes_on_from_its_own_files(name, loopback):
    attempt = Attempt(files={"train.py": TRAIN.replace("LR = 0.1", "LR = (")}, refusal="train.py:8 is not Python")
    told = briefing(attempts=(attempt,))
    loopback.mind = minds.change("LR = (", "LR = 0.3")

    made = agent(name, loopback).propose(told, NOWHERE)

    assert made.files == {"train.py": TRAIN.replace("LR = 0.1", "LR = 0.3", 1)}
    assert "train.py:8 is not Python" in json.dumps(loopback.requests[0].body)
    assert replayed(told, made.answers) == made.files
    assert all(answer.startswith("agent-2") for answer in made.answers)


def test_the_fixed_prefix_is_the_same_in_every_run_and_read_from_the_cache(loopback):
    loopback.mind = RAISE_LR
    worker = agent("anthropic", loopback)

    first = worker.propose(briefing(), NOWHERE)
    second = worker.propose(briefing(lore=Lore(conjectures=("raising LR helps",), runs=7)), NOWHERE)
    third = worker.propose(briefing(sources={"train.py": TRAIN + "# more\n"}), NOWHERE)

    system, code, *_ = zip(*(seen.prefixes for seen in loopback.requests))
    assert len(set(system)) == 1
    assert code[0] == code[1] != code[2]
    assert first.calls[0].cache_read == 0
    assert second.calls[0].cache_read > third.calls[0].cache_read > 0


def test_no_more_than_twelve_requests_are_made_for_one_assignment(loopback):
    loopback.mind = lambda ask: minds.Answer(uses=[("replace_in_file", {"path": "train.py", "old": "nowhere", "new": ""})])

    with pytest.raises(AgentFailed, match="no edit came of 12 turns"):
        agent("anthropic", loopback).propose(briefing(), NOWHERE)

    assert len(loopback.requests) == 12


def test_an_edit_that_was_never_finished_is_taken_as_it_is(loopback):
    write = minds.Answer(uses=[("write_file", {"path": "train.py", "text": "LR = 1\n"})])
    loopback.mind = minds.script(write, minds.talk, minds.talk)

    made = agent("anthropic", loopback).propose(briefing(), NOWHERE)

    assert made.files == {"train.py": "LR = 1\n"}
    assert "never finished" in made.summary


def test_the_key_is_in_nothing_that_is_kept(loopback):
    loopback.mind = lambda ask: minds.Answer(text=f"your key is {loopback.key}", uses=RAISE_LR(ask).uses)

    made = agent("anthropic", loopback).propose(briefing(), NOWHERE)

    assert loopback.key not in msgspec.json.encode(made).decode()
    assert "[key]" in made.transcript
