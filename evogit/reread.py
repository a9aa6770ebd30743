"""What an open lab does with runs that exist: it reads the baseline again, or any run, and certifies gains on fresh seeds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from evogit.domain.options import LoopOptions
from evogit.errors import UnknownName

if TYPE_CHECKING:
    from evogit.bench import Bench
    from evogit.domain.event import Event
    from evogit.domain.report import InFlight
    from evogit.git.campaign import Campaign
    from evogit.search.evidence import Test
    from evogit.stopping import Stopper


class Reread:
    """The part of `Lab` that reads runs once more."""

    campaign: Campaign
    has_campaign: bool

    if TYPE_CHECKING:

        def _bench(self, options: LoopOptions) -> Bench: ...
        def in_flight(self) -> list[InFlight]: ...

    def baseline(self, seeds: int, options: LoopOptions, stop: Stopper | None = None) -> Iterator[Event]:
        """Measure the baseline, or measure it again until it has `seeds` readings in all."""
        from evogit import starting
        from evogit.scheduler import Loop

        bench = self._bench(options)
        before = bench.campaign.history.baseline
        yield from Loop(bench, stop).run_one(
            lambda: starting.baseline_voyage(bench, seeds, is_new=bench.campaign.history.baseline != before)
        )

    def certify(self, run: str, looks: int, options: LoopOptions, stop: Stopper | None = None) -> Iterator[Event]:
        """Read a run ("" for the incumbent) and its last certified ancestor under fresh seeds, at most `looks` pairs. Raises UserError."""
        from evogit import certifying
        from evogit.loop import Voyage
        from evogit.scheduler import Loop

        self._no_campaign_to_certify()
        bench = self._bench(options)
        if self.campaign.history.runs and not self.in_flight():  # what is in the air may be the run that is meant
            certifying.target(bench, run)
        next_flight = certifying.errand(bench, run, looks)
        yield from Loop(bench, stop).run_many(lambda: Voyage(bench, stored) if (stored := next_flight()) is not None else None)

    def measure_again(self, label: str, options: LoopOptions, stop: Stopper | None = None) -> Iterator[Event]:
        """A run that exists, measured once more under the seeds that it had: a replicate."""
        from evogit import starting
        from evogit.scheduler import Loop

        bench = self._bench(options)
        yield from Loop(bench, stop).run_one(lambda: starting.again_voyage(bench, label))

    def measure_more(self, label: str, seeds: int, options: LoopOptions, stop: Stopper | None = None) -> Iterator[Event]:
        """A run that exists, read `seeds` times more under seeds that it was not read under: a replicate. Raises UserError, Busy."""
        from evogit import control, starting
        from evogit.loop import Voyage
        from evogit.scheduler import Loop

        bench = self._bench(options)
        run = control.readable(self.campaign, label, seeds)
        why = f"{bench.repo.identity().name} asked for it"
        yield from Loop(bench, stop).run_one(lambda: Voyage(bench, starting.more_readings(bench, run, seeds, bench.FIRST, why)))

    def certificate(self, run: str = "") -> tuple[Test, str]:
        """The test of a run ("" for the incumbent) as it stands, and the same in one line."""
        from evogit import certifying

        bench = self._bench(LoopOptions())
        test = bench.memory.certification.test(*(each.commit for each in certifying.target(bench, run)))
        return test, certifying.say(bench, test)

    def _no_campaign_to_certify(self) -> None:
        if not self.has_campaign:
            raise UnknownName("there is no campaign yet, so nothing to certify", hint="find a gain first: `evogit loop`")
