"""What models and the backend cost is on record, adds up, and stays below the cap."""

from __future__ import annotations

import json

import msgspec
import pytest

import paying_hands
from evogit.domain.event import Replicated, Stopped, Warned
from evogit.domain.options import LoopOptions
from evogit.errors import CapReached, ServiceDown, UserError
from evogit.git import flights
from evogit.git.messages import parse_entry
from evogit.lab import Lab
from evogit.paying import Payment
from paying_hands import COST, WORST, calls
from toys import evogit, git, make_toy
from workers import LOWER_LR, worker

TUNER = ("local_tuner",)
COSTLY = {"command": """python -c 'print("{\\"cost_usd\\": 0.02}")'"""}  # a reviewer that says afterwards what it cost


@pytest.fixture
def log(tmp_path, monkeypatch):
    return paying_hands.install(tmp_path / "plugins", monkeypatch)


def loop(repo, *, agent="paid", **options) -> list:
    """The events of a loop in this process."""
    return list(Lab.open(repo, tag="t1").loop(LoopOptions(agent=agent, emitters=TUNER, **options)))


def lab(repo) -> Lab:
    return Lab.open(repo, tag="t1")


def with_hourly_price(repo, usd: float, timeout_s: float = 36.0) -> None:
    """From here on the backend costs that much; the baseline, which did not, gives way to another one's."""
    git(repo, "switch", "-q", "autoresearch/t1")
    toml = (repo / "evogit.toml").read_text().replace("timeout_s = 20", f"timeout_s = {timeout_s}\nusd_per_hour = {usd}")
    (repo / "evogit.toml").write_text(toml)
    git(repo, "commit", "-q", "-am", "the machine has a price")
    git(repo, "switch", "-q", "main")


def test_every_call_is_on_its_runs_decision_and_all_add_up_to_what_was_counted(repo, log):
    loop(repo, max_runs=3, reviewer="paid")

    book = lab(repo)
    runs = book.runs()[1:]
    assert calls(log) == ["agent", "reviewer"] * 3
    for run in runs:
        assert run.spent.calls == 2
        assert (run.spent.input, run.spent.output) == (4000, 1000)
        assert run.cost_usd == pytest.approx(2 * COST)
        said = parse_entry(git(repo, "log", "-1", "--format=%B", run.decision), run.decision)
        assert said.spent == run.spent
    assert book.status().cost_usd == pytest.approx(6 * COST)


def test_the_branch_alone_tells_what_it_cost(repo, log):
    loop(repo, max_runs=2)
    for ref in git(repo, "for-each-ref", "--format=%(refname)", "refs/notes", "refs/evogit").split():
        git(repo, "update-ref", "-d", ref)

    assert lab(repo).cost("agent").total.usd == pytest.approx(2 * COST)


def test_a_reject_of_an_agent_that_failed_costs_what_it_was_paid(repo, log):
    loop(repo, max_runs=1, agent_options={"what": "fail"})

    book = lab(repo)
    [_, run] = book.runs()
    assert (run.verdict.value, run.spent.calls, run.cost_usd) == ("reject", 1, pytest.approx(COST))
    assert book.artifact(run.label, "answers/1.json") == b"I would rather not."


def test_an_agent_that_changed_nothing_is_a_replicate_that_carries_its_cost(repo, log):
    events = loop(repo, max_runs=1, agent_options={"what": "nothing"})

    book = lab(repo)
    [again] = [one for one in book.campaign.history.lessons() if hasattr(one, "of")]
    assert [e for e in events if isinstance(e, Replicated)]
    assert (again.spent.calls, again.spent.usd, again.agent, again.emitter) == (1, pytest.approx(COST), "paid", "local_tuner")
    assert book.status().cost_usd == pytest.approx(COST)
    [path] = [p for p in book.show("0").files if p.endswith("/calls.jsonl")]
    assert json.loads(book.artifact("0", path))["usd"] == pytest.approx(COST)
    assert book.artifact("0", path.replace("calls.jsonl", "answers/1.json")) == b"{}"


def test_a_call_without_a_known_price_makes_the_cost_null_and_is_counted(repo, log):
    loop(repo, max_runs=1, agent_options={"model": "my-own"})

    [_, run] = lab(repo).runs()
    assert (run.unpriced, run.cost_usd, run.total_usd) == (1, 0.0, None)
    line = json.loads(evogit(repo, "log", "--tag", "t1", "--json").stdout.splitlines()[-1])
    assert line["cost_usd"] is None
    status = evogit(repo, "status", "--tag", "t1").stdout
    assert "1 call of unknown price" in status


def test_a_price_in_the_problems_file_makes_it_known(repo, log):
    with_hourly_price(repo, 0.0)
    git(repo, "switch", "-q", "autoresearch/t1")
    with (repo / "evogit.toml").open("a") as file:
        file.write('\n[prices."my-own"]\ninput = 1.0\noutput = 2.0\n')
    git(repo, "commit", "-q", "-am", "a price")
    git(repo, "switch", "-q", "main")

    loop(repo, max_runs=1, max_cost=1.0, agent_options={"model": "my-own-20260101"}, reviewer="paid", reviewer_options={"model": "my-own"})

    assert lab(repo).runs()[-1].cost_usd == pytest.approx(0.006)


# the cap


def test_a_call_that_could_pass_the_cap_is_not_made_and_the_loop_ends_with_that_reason(repo, log):
    events = loop(repo, max_cost=COST + WORST)

    stopped = events[-1]
    assert isinstance(stopped, Stopped)
    assert stopped.reason.startswith("the next call could pass --max-cost")
    assert calls(log) == ["agent", "agent"]
    assert lab(repo).status().cost_usd == pytest.approx(2 * COST)
    [flight] = flights.listing(lab(repo).repo, "t1")
    assert (flight.flight.state.value, flight.flight.calls, flight.flight.reserved_usd) == ("planned", (), 0.0)


def test_the_plan_that_found_no_money_is_carried_out_by_the_next_loop(repo, log):
    loop(repo, max_cost=WORST)
    assert len(calls(log)) == 1

    loop(repo, max_runs=1)

    book = lab(repo)
    assert [run.label for run in book.runs()] == ["0", "1", "2"]
    assert flights.listing(book.repo, "t1") == []


def test_an_unknown_price_under_a_cap_ends_the_loop_before_the_first_call(repo, log):
    with pytest.raises(UserError) as fault:
        loop(repo, max_cost=5.0, agent_options={"model": "my-own"})

    assert "my-own" in fault.value.message and '[prices."my-own"]' in fault.value.hint
    assert calls(log) == []


@pytest.mark.parametrize(
    "asked",
    [
        ("--agent", "openai", "--model", "my-own"),
        ("--reviewer", "openai", "--model", "my-own"),
        ("--agent", "anthropic", "--model", "my-own"),
    ],
)
def test_a_model_without_a_price_is_refused_under_a_cap_before_anything_is_written(repo, asked, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-nobody-will-see-this")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-nobody-will-see-this")
    before = git(repo, "for-each-ref")

    done = evogit(repo, "loop", "--tag", "t1", "--max-cost", "5", *asked, check=False)

    assert done.returncode == 2
    assert done.stdout == ""
    assert "the price of my-own is not known" in done.stderr and '[prices."my-own"]' in done.stderr
    assert git(repo, "for-each-ref") == before


def test_where_nothing_was_begun_a_model_without_a_price_begins_no_campaign(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-nobody-will-see-this")
    top = make_toy(tmp_path / "fresh")

    done = evogit(top, "loop", "--max-cost", "5", "--agent", "openai", "--model", "my-own", check=False)

    assert (done.returncode, done.stdout) == (2, "")
    assert git(top, "for-each-ref", "refs/heads/autoresearch", "refs/evogit") == ""


def test_a_price_in_a_commit_that_the_loop_is_about_to_take_in_counts(repo, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-nobody-will-see-this")
    git(repo, "switch", "-q", "autoresearch/t1")
    with (repo / "evogit.toml").open("a") as file:
        file.write('\n[prices."my-own"]\ninput = 1.0\noutput = 2.0\n')
    git(repo, "commit", "-q", "-am", "a price")
    git(repo, "switch", "-q", "main")

    nowhere = ("--agent-option", "base_url=http://127.0.0.1:9/v1", "--agent-option", "retries=0")
    done = evogit(repo, "loop", "--tag", "t1", "--max-cost", "5", "--agent", "openai", "--model", "my-own", *nowhere, check=False)

    assert done.returncode == 3  # it went as far as the service, which is not there
    assert "out of reach" in done.stderr


def test_a_program_that_says_afterwards_what_it_cost_passes_the_cap_by_one_run_and_the_loop_says_so_first(repo, tmp_path):
    program = worker(tmp_path, LOWER_LR.replace('"model_py": text', '"model_py": text, "cost_usd": 0.3'))

    events = loop(repo, agent="command", agent_options={"command": program}, max_cost=0.5, max_runs=9, workers=2)

    told = [event.message for event in events if isinstance(event, Warned)]
    assert "command says what it cost when it has spent it: its last run may pass --max-cost 0.5, and no later one begins" in told
    assert lab(repo).status().cost_usd == pytest.approx(0.6)
    assert events[-1].reason == "--max-cost 0.5 is spent ($0.6000)"


def test_who_is_refused_the_money_is_not_asked_again_until_some_comes_back_and_the_loop_ends(repo, tmp_path, monkeypatch):
    begin, asked = Payment.begin, []
    monkeypatch.setattr(Payment, "begin", lambda self: (asked.append(self), begin(self)))
    slow = "time.sleep(1)\n" + LOWER_LR.replace('"model_py": text', '"model_py": text, "cost_usd": 0.3')

    events = loop(repo, agent="command", agent_options={"command": worker(tmp_path, slow)}, max_cost=0.3, workers=2, prefetch=2)

    assert events[-1].reason == "--max-cost 0.3 is spent ($0.3000)"
    assert len(asked) <= 4  # one works for a second; each of the three others asks once meanwhile, and hears of the end from nobody


def test_a_hand_that_refuses_itself_for_want_of_money_ends_the_loop(repo, log, monkeypatch):
    asked = []

    def give_up(self, briefing, workspace):
        asked.append(briefing)
        raise CapReached("what is left buys nothing")

    monkeypatch.setattr(paying_hands.PaidAgent, "propose", give_up)
    events = loop(repo, max_cost=5.0, max_runs=9, workers=2)

    assert events[-1].reason == "what is left buys nothing"
    assert 1 <= len(asked) <= 4


def test_an_unknown_price_of_the_reviewer_ends_the_loop_too_and_what_was_measured_waits(repo, log):
    with pytest.raises(UserError, match="my-own"):
        loop(repo, max_cost=5.0, reviewer="paid", reviewer_options={"model": "my-own"})

    assert calls(log) == ["agent"]
    [stored] = flights.listing(lab(repo).repo, "t1")
    assert stored.flight.state.value == "measured"
    loop(repo, max_runs=1)
    assert calls(log) == ["agent"]
    assert [run.spent.calls for run in lab(repo).runs()] == [0, 1]


def test_a_reviewer_for_whom_nothing_is_left_gives_a_fallback_and_the_run_is_decided(repo, log):
    events = loop(repo, max_cost=WORST, reviewer="paid")

    book = lab(repo)
    assert calls(log) == ["agent"]
    assert len(book.runs()) == 2
    assert "could pass --max-cost" in book.show("1").reviews[-1].fallback
    assert "could pass --max-cost" in events[-1].reason


def test_a_second_call_that_does_not_fit_leaves_what_the_first_one_made(repo, log):
    loop(repo, max_cost=WORST + COST / 2, agent_options={"what": "twice"})

    [_, run] = lab(repo).runs()
    assert (run.spent.calls, calls(log)) == (1, ["agent"])
    assert run.verdict.value != "reject"


def test_what_an_agent_without_a_purse_paid_is_charged_and_ends_the_loop_one_call_later(repo, log):
    events = loop(repo, agent="unasked", max_cost=0.05, max_runs=9)

    assert lab(repo).status().cost_usd == pytest.approx(0.06)
    assert events[-1].reason == "--max-cost 0.05 is spent ($0.0600)"


def test_an_agent_that_lost_its_own_account_is_on_record_with_what_was_settled(repo, log):
    loop(repo, max_runs=1, agent_options={"what": "forget"})

    [_, run] = lab(repo).runs()
    assert run.verdict.value == "reject"
    assert (run.spent.calls, run.unpriced, run.cost_usd) == (1, 0, pytest.approx(COST))


def test_a_fault_that_nobody_foresaw_during_a_repair_loses_none_of_the_calls_before_it(repo, log):
    loop(repo, max_runs=1, agent_options={"what": "stumble"})

    book = lab(repo)
    [_, run] = book.runs()
    assert (run.verdict.value, run.reason) == ("reject", "ValueError: nobody foresaw this")
    assert calls(log) == ["agent", "agent"]
    assert (run.spent.calls, run.unpriced, run.cost_usd) == (2, 0, pytest.approx(2 * COST))
    assert book.artifact(run.label, "answers/1.json") == b"def (:"


def test_a_reviewer_is_not_paid_for_what_a_gate_refused(repo, log):
    loop(repo, max_runs=1, agent_options={"what": "fail"}, reviewer="paid")

    book = lab(repo)
    [_, run] = book.runs()
    [said] = book.show(run.label).reviews
    assert calls(log) == ["agent"]
    assert (run.verdict.value, said.reviewer, said.fallback) == ("reject", "heuristic", "")
    assert said.observation.endswith("Its reviewer was not asked: a gate had refused it.")


def test_a_reviewer_without_a_purse_is_not_asked_once_the_cap_is_spent(repo, log):
    loop(repo, agent="unasked", agent_options={"usd": "0.06"}, max_cost=0.05, max_runs=9, reviewer="command", reviewer_options=COSTLY)

    book = lab(repo)
    assert len(book.runs()) == 2
    assert book.status().cost_usd == pytest.approx(0.06)
    assert "--max-cost" in book.show("1").reviews[-1].fallback


def test_a_service_that_is_down_and_charged_nothing_leaves_nothing_on_record(repo, log):
    with pytest.raises(ServiceDown):
        loop(repo, max_cost=1.0, agent_options={"what": "down"})

    [stored] = flights.listing(lab(repo).repo, "t1")
    loop(repo, max_runs=1)
    assert stored.flight.state.value == "planned"
    assert [run.spent.calls for run in lab(repo).runs()] == [0, 1]


def test_a_trial_that_could_pass_the_cap_is_not_begun(repo, log):
    with_hourly_price(repo, 100.0)  # a trial of at most 36 s may cost one dollar

    events = loop(repo, agent="offline", max_cost=0.99)

    assert "--max-cost 0.99" in events[-1].reason
    assert lab(repo).campaign.history.runs[-1].label == "0"


def test_trials_are_settled_at_what_they_took_and_count_with_the_models(repo, log):
    with_hourly_price(repo, 100.0)

    events = loop(repo, max_cost=1.5, max_runs=2)

    book = lab(repo)
    spent = book.cost("agent").total
    assert "--max-cost" not in events[-1].reason
    assert 0 < spent.compute_usd < 1.0
    assert spent.spent.usd == pytest.approx(2 * COST)
    assert spent.usd <= 1.5


def test_two_workers_share_the_cap_and_one_waits_for_what_the_other_gives_back(repo, log):
    with_hourly_price(repo, 100.0)

    events = loop(repo, agent="offline", max_cost=1.5, max_runs=2, workers=2)

    assert "2 runs decided" in events[-1].reason
    assert len(lab(repo).runs()) == 4  # two baselines, two runs


# other rules


def test_a_streak_of_crashes_and_rejects_ends_the_loop(repo, log):
    events = loop(repo, crash_streak=2, max_runs=9, agent_options={"what": "fail"})

    assert events[-1].reason == "2 runs in a row crashed or were refused"
    assert len(calls(log)) == 2


def test_patience_goes_on_counting_where_the_loop_before_it_was_ended_and_one_run_is_made_at_least(repo, log):
    loop(repo, max_runs=2, agent_options={"what": "fail"})

    ends = [loop(repo, patience=3, max_runs=9, agent_options={"what": "fail"})[-1] for _ in range(2)]

    assert [end.reason for end in ends] == ["3 runs in a row kept nothing", "4 runs in a row kept nothing"]
    assert [end.decided for end in ends] == [1, 1]


def test_status_tells_of_a_running_loops_cap(repo, log):
    book = lab(repo)
    for event in book.loop(LoopOptions(agent="paid", emitters=TUNER, max_cost=1.0, max_runs=1)):
        if type(event).__name__ == "Decided":
            status = lab(repo).status()

    assert (status.max_cost, status.loop_usd) == (1.0, pytest.approx(COST))
    after = lab(repo).status()
    assert (after.max_cost, after.loop_usd) == (0.0, 0.0)
    assert msgspec.to_builtins(after)["spent"]["calls"] == 1
