"""`evogit cost`: sums that are no more certain than they are, in 80 columns."""

from __future__ import annotations

import json

import pytest

from builders import baseline, commit_of, run
from evogit import billing
from evogit.cli.cost import _lines, _object
from evogit.cli.page import Page, cells
from evogit.domain.run import Again
from evogit.domain.trial import Status, TrialLine
from evogit.domain.usage import Spent
from evogit.domain.verdict import Verdict

PAGE = Page(width=80, height=40, unicode=True, colour=False, terminal=True)


class Books:
    """As much of a history as a bill needs."""

    def __init__(self, *lessons, tag: str = "nov20") -> None:
        self.tag, self._lessons = tag, lessons

    def lessons(self):
        return iter(self._lessons)


def paid(usd: float, *, unpriced: int = 0, calls: int = 1) -> Spent:
    return Spent(usd=usd, unpriced=unpriced, calls=calls, input=1500, output=200, cache_read=1_000_000)


def cost(label: str, models: Spent, compute: float = 0.0, **more):
    return run(label, 0.1, spent=models, cost_usd=models.usd + compute, **more)


def line(usd: float) -> TrialLine:
    return TrialLine(id="x", time="", purpose="replicate", run=commit_of("0"), seed=0, status=Status.OK, cost_usd=usd)


BOOKS = Books(
    baseline(0.2, cost_usd=0.5),
    cost("1", paid(1.0), 0.25, agent="anthropic", verdict=Verdict.KEEP),
    cost("2", paid(0.5), 0.25, agent="anthropic"),
    cost("3", paid(0.0, unpriced=1), 0.25, agent="claude-code", emitter="contrarian", verdict=Verdict.REJECT),
    Again(of=commit_of("0"), purpose="replicate", lines=(line(0.125),), spent=paid(0.25), emitter="local_tuner", agent="anthropic"),
    Again(of=commit_of("0"), purpose="certify", lines=(line(0.125),)),
)


def bills(by: str, *books) -> dict[str, billing.Bill]:
    return {bill.name: bill for bill in billing.costs(None, books or [BOOKS], by).lines}


def test_models_and_backend_are_summed_apart_and_together():
    total = billing.costs(None, [BOOKS], "agent").total

    assert (total.spent.usd, total.compute_usd, total.usd) == (1.75, 1.5, 3.25)
    assert (total.runs, total.kept, total.readings, total.spent.calls) == (4, 1, 2, 4)


@pytest.mark.parametrize("by", ["agent", "emitter", "verdict", "campaign"])
def test_the_lines_add_up_to_the_total_whatever_they_are_by(by):
    costs = billing.costs(None, [BOOKS], by)

    assert sum(bill.usd for bill in costs.lines) == pytest.approx(costs.total.usd)
    assert sum(bill.runs for bill in costs.lines) == costs.total.runs
    assert sum(bill.spent.calls for bill in costs.lines) == costs.total.spent.calls


def test_an_agent_that_changed_nothing_has_its_cost_and_a_look_of_a_certificate_is_nobodys():
    by = bills("agent")

    assert by["anthropic"].spent.usd == 1.75
    assert by["anthropic"].readings == 1
    assert by["certify"].usd == 0.125


def test_a_baseline_is_no_kept_improvement():
    assert bills("verdict")["keep"].kept == 1
    assert bills("agent")["baseline"].kept == 0


def test_campaigns_are_a_line_each():
    by = bills("campaign", BOOKS, Books(cost("7", paid(2.0)), tag="nov21"))

    assert (by["nov20"].usd, by["nov21"].usd) == (3.25, 2.0)


def test_dollars_for_each_kept_improvement_are_those_of_all_runs():
    assert billing.costs(None, [BOOKS], "agent").total.per_kept_usd == 3.25
    assert bills("agent")["claude-code"].per_kept_usd is None


@pytest.mark.parametrize("by", ["agent", "emitter", "verdict", "campaign"])
def test_no_line_is_wider_than_80_columns(by):
    wide = Books(*(cost(str(n), paid(12345.678, unpriced=n % 2), 999.5, agent=f"an-agent-with-a-long-name-{n}") for n in range(1, 4)))

    lines = _lines(billing.costs(None, [wide], by), PAGE)

    assert max(map(cells, lines)) <= 80


def test_no_call_of_a_model_is_no_table():
    [words] = _lines(billing.costs(None, [Books(baseline(0.2))], "model"), PAGE)

    assert words == "campaign nov20: no model was asked, and nothing that was used has a price"


def test_what_is_not_known_is_said():
    text = "\n".join(_lines(billing.costs(None, [BOOKS], "agent"), PAGE))

    assert "at least $3.25, and 1 call of unknown price" in " ".join(text.split())
    assert "at least $3.25 for its 1 kept improvement" in text
    assert "?" in text  # claude-code's models
    assert "$3.25+" in text


def test_a_campaign_that_paid_nobody_says_so_in_one_line():
    lines = _lines(billing.costs(None, [Books(baseline(0.1), run("1", 0.2))], "agent"), PAGE)

    assert lines[-1] == "campaign nov20: no model was asked, and nothing that was used has a price"


def test_in_json_a_cost_with_an_unknown_part_is_null_and_its_known_part_is_beside_it():
    told = _object(billing.costs(None, [BOOKS], "agent"))

    lines = {bill["name"]: bill for bill in told["lines"]}
    assert (lines["claude-code"]["cost_usd"], lines["claude-code"]["known_usd"]) == (None, 0.25)
    assert (lines["anthropic"]["cost_usd"], lines["anthropic"]["per_kept_usd"]) == (2.375, 2.375)
    assert told["total"]["per_kept_usd"] is None
    assert json.loads(json.dumps(told)) == told
