"""What a campaign has learnt, asked of an open lab: ideas, emitters, certificates, conclusion. Answers about its mind fold the ledger anew.

It changes nothing but the queue of ideas, and that only by a person's word.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import msgspec

from evogit import registry
from evogit.domain.review import Recommendation
from evogit.errors import UnknownName, WorkFailed
from evogit.git.campaign import Campaign
from evogit.glancing import Glance, is_comparable
from evogit.ideabook import Ideabook
from evogit.present import noise_floor, pooled_std

if TYPE_CHECKING:
    from evogit.agents.packet import Packet
    from evogit.concluding import CampaignConclusion
    from evogit.domain.idea import IdeaStatus
    from evogit.domain.lore import MemoryLine, Warning_
    from evogit.domain.metric import Metric
    from evogit.domain.problem import Problem
    from evogit.domain.report import Costs, Replayed
    from evogit.domain.run import Run
    from evogit.git.repository import Repository
    from evogit.ideabook import Told
    from evogit.search.facts import Facts
    from evogit.search.hypervolume import Step
    from evogit.search.memory import Memory
    from evogit.search.portfolio import Account
    from evogit.search.whatif import Estimate


class Emitters(msgspec.Struct, frozen=True, kw_only=True):
    """How the search roles did: `evogit emitters`."""

    policy: str
    accounts: tuple[Account, ...]
    chances: dict[str, float]  # of the next choice; 0.0 for a role that has nothing to offer now, or rests
    over_uniform: str  # what the portfolio gained over an even hand, in words
    asked: str = ""  # another policy
    estimate: Estimate | None = None  # credit per run under that one; None where the records cannot tell
    chosen: int = 0  # runs that a policy chose, of the newest ones: those that `over_uniform` and `estimate` rest on


class Learnt:
    """The part of `Lab` that asks memory."""

    repo: Repository
    campaign: Campaign
    problem: Problem
    _glanced: Glance | None = None

    def memory(self) -> Memory:
        """Memory as the ledger gives it now, ideas included. O(runs), about 0.3 ms each."""
        from evogit.search.memory import Memory

        campaign = self.campaign
        memory = Memory.of(campaign.problem, campaign.history.lessons(), campaign, campaign.history.incumbent)
        Ideabook(self.repo, campaign.history, memory.ideas).recall()
        return memory

    def remembered(self) -> list[MemoryLine]:
        """What memory holds of this epoch beside runs and ideas: near misses, elites, conjectures, dead ends, crashes. As `memory`."""
        from evogit.search.recital import remembered

        return remembered(self.memory())

    def facts(self) -> Facts:
        """What a glance needs of the same. About 10 us a run the first time, later the new ones alone; it moves on with the next call."""
        return self._glance.facts()

    @property
    def _glance(self) -> Glance:
        """What is folded of the campaign and kept as long as its contract holds."""
        history, problem = self.campaign.history, self.problem
        if self._glanced is None or self._glanced.history is not history or self._glanced.problem is not problem:
            self._glanced = Glance(history, problem)
        return self._glanced

    def noise_floors(self, before: Run, after: Run) -> dict[str, float]:
        """Metric -> the difference of two runs' means that chance alone stays below in 95 % of cases; 0.0 where nothing is known.

        The primary metric's is the campaign's noise; of the others only what the two runs' own seeds tell. As `facts`.
        """
        facts, found = self.facts(), {}
        for metric in self.problem.metrics:
            groups = [run.readings.get(metric.name, ()) for run in (before, after)]
            spread = facts.spread.std if metric is self.problem.primary and after.epoch == facts.epoch else 0.0
            found[metric.name] = noise_floor(spread or pooled_std(groups), *map(len, groups))
        return found

    def warnings(self, facts: Facts | None = None) -> list[Warning_]:
        """What deserves a look in the state of the campaign, the gravest first; the loop tells the same. `facts`: where they are known."""
        from evogit.search.warnings import warnings

        return [*warnings(facts or self.facts()), *self.idea_refusals()]

    def idea_refusals(self) -> list[Warning_]:
        """Why ideas that somebody wrote are not in the queue, or not whole."""
        from evogit import ideabook

        return ideabook.refusals(self.repo, self.campaign.history)

    def ideas(self, status: IdeaStatus | None = None) -> list[Told]:
        """People's and reviewers' ideas, with what became of them."""
        from evogit import ideabook

        return ideabook.ideas_of(self.repo, self.campaign.history, status)

    def add_idea(self, text: str, *, mutation_type: str = "", priority: float = 0.9, source: str = "", expected_benefit: str = "") -> Told:
        """Put a person's idea into the queue. Raises UserError, UnknownName, Busy."""
        from evogit import ideabook

        said = Recommendation(mutation_type=mutation_type, description=text, priority=priority, expected_benefit=expected_benefit)
        return ideabook.add(self.repo, self.campaign.history, self.campaign.history.find(source or "incumbent"), said)

    def emitters(self, what_if: str = "") -> Emitters:
        """What each search role earned, and what another policy would have earned on the same runs. Raises UnknownName."""
        from evogit.search import whatif

        memory, names = self.memory(), registry.names("emitters")
        name = self.problem.search.policy or registry.DEFAULT_POLICY
        able = self._offering(memory, names)
        chances = registry.find("policies", name)().chances(memory, able) if able else {}
        estimate = None
        if what_if:
            other = registry.find("policies", what_if)()
            estimate = whatif.what_if(*whatif.replayed(self.problem, self.campaign.history.lessons(), other, names))
        return Emitters(
            policy=name,
            accounts=tuple(memory.portfolio.tally()),
            chances={role: chances.get(role, 0.0) for role in names},
            over_uniform=memory.portfolio.verdict_over_uniform(),
            asked=what_if,
            chosen=len(whatif.chosen(memory.portfolio.records)),
            estimate=estimate,
        )

    def _offering(self, memory: Memory, names: Sequence[str]) -> list[str]:
        """Search roles that have a plan now and do not rest: those that the next choice is among."""
        from evogit.stages import choose

        number = 1 + max(self.campaign.history.numbers.values(), default=0)
        try:
            roles = [registry.find("emitters", name)() for name in names]
            return list(choose.offers(memory, roles, random.Random(f"{self.campaign.tag}/{number}/0")))
        except WorkFailed:
            return []

    def hypervolume(self, over: tuple[str, ...] = ()) -> list[Step]:
        """Share of the objectives' box that the frontier covers, each time it grew. Raises UnknownName."""
        from evogit.search.hypervolume import over_runs

        return over_runs(list(self.comparable()), self.objectives(over))

    def comparable(self) -> Iterator[Run]:
        """Runs of this epoch that did not crash, in the order of their decisions."""
        epoch = self.campaign.history.epoch
        return (run for run in self.campaign.history.runs if is_comparable(run, epoch))

    def objectives(self, over: tuple[str, ...] = ()) -> list[Metric]:
        """The metrics of those names, the problem's own objectives without any. Raises UnknownName."""
        problem = self.problem
        for name in over:
            if problem.metric(name) is None:
                raise UnknownName(f"the problem has no metric {name!r}", hint=f"it has: {', '.join(m.name for m in problem.metrics)}")
        return [m for name in over if (m := problem.metric(name))] or list(problem.objectives)

    def cost(self, by: str = "agent") -> Costs:
        """What this campaign cost, by agent, emitter, verdict or model; or what each of the repository's did, by campaign."""
        from evogit import billing
        from evogit.git import refs
        from evogit.git.history import History

        if by != "campaign":
            return billing.costs(self.repo, [self.campaign.history], by)
        return billing.costs(self.repo, (History.read(self.repo, tag) for tag in refs.campaigns(self.repo)), by)

    def replay(self, label: str) -> Replayed:
        """A run's candidate, rebuilt from its record without asking a model. Raises UserError where nothing was recorded."""
        from evogit import replaying

        run = self.campaign.history.find(label)
        is_now = run.epoch == self.campaign.history.epoch
        said = replaying.rebuild(self.campaign if is_now else self.campaign.under(run.commit), run)
        before = run.readings.get(self.problem.primary.name, ())
        return msgspec.structs.replace(said, before=before, spread=self.facts().spread.std)

    def readings_of(self, label: str) -> int:
        """How many readings of a run were taken after its decision."""
        return len(self.campaign.history.replicates.get(self.campaign.history.find(label).commit, ()))

    def compared(self, replayed: Replayed, readings: int) -> Replayed:
        """A replay with what was measured again: those replicates of the run that came after its first `readings`."""
        from evogit import replaying

        name = self.problem.primary.name
        later = self.campaign.history.replicates.get(replayed.commit, [])[readings:]
        after = tuple(line.metrics[name] for line in later if name in line.metrics)
        within = replaying.is_within_noise(replayed.before, after, replayed.spread)
        return msgspec.structs.replace(replayed, after=after, is_within_noise=within)

    def context(self, parent: str = "", emitter: str = "") -> Packet:
        """What an agent would be told next, as the loop's next plan or as one of that emitter from that parent. Moves no ref.

        Raises UnknownName, and WorkFailed where the search has nothing to ask for (a campaign without a baseline).
        """

        from evogit.agents.packet import render
        from evogit.stages import choose, propose

        campaign, memory = self.campaign, self.memory()
        start = campaign.history.find(parent) if parent else None
        policy = registry.find("policies", self.problem.search.policy or registry.DEFAULT_POLICY)()
        emitters = [registry.find("emitters", name)() for name in ([emitter] if emitter else registry.names("emitters"))]
        number = 1 + max(campaign.history.numbers.values(), default=0)
        plan = choose.choose(memory, emitters, policy, random.Random(f"{campaign.tag}/{number}/0"), ideas=not (emitter or start))
        if start is not None:
            plan = msgspec.structs.replace(plan, parents=(start.commit,), merge=False, contrast="", aims=(), forecast=None)
        return render(propose.told(campaign, memory, plan)[1])

    def conclude(self) -> CampaignConclusion:
        """The campaign's conclusion from its evidence: what helped, what did not, what broke, what is open."""
        from evogit import concluding

        campaign = self.campaign
        path = "/".join(part for part in (campaign.problem.folder, campaign.problem.goal) if part)
        goal = (self.repo.blob(campaign.in_force, path) or b"") if campaign.problem.goal else b""
        return concluding.conclude(self.memory(), campaign.history.runs, goal.decode("utf-8", "replace"))
