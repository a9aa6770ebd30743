"""The built-in reviewer: rules over the numbers, in plain words. No model, no network, no randomness."""

from __future__ import annotations

from evogit.domain.review import Branch, Recommendation, Review, ReviewBrief


class HeuristicReviewer:
    """Compares child with parent, in units of the noise between seeds where that is known."""

    name = "heuristic"
    is_free = True

    def review(self, brief: ReviewBrief) -> Review:
        """Never raises. A rejected or crashed run gets a review that says what to mend."""
        if brief.rejected:
            return self._unmeasured(brief, f"A gate refused it before it ran: {brief.rejected}.", Branch.FIX, 0.9)
        if brief.crash is not None:
            where = f" at {brief.crash.where}" if brief.crash.where else ""
            return self._unmeasured(brief, f"It crashed{where}: {brief.crash.kind}: {brief.crash.message}.", Branch.FIX, 0.8)
        child, parent = brief.child.get(brief.primary.name, ()), brief.parent.get(brief.primary.name, ())
        if not child:
            return self._unmeasured(brief, f"It gave no {brief.primary.name}.", Branch.FIX, 0.6)
        if not parent:
            return self._baseline(brief, sum(child) / len(child))
        return self._compare(brief, sum(child) / len(child), sum(parent) / len(parent), len(child))

    def _compare(self, brief: ReviewBrief, child: float, parent: float, seeds: int) -> Review:
        gain = brief.primary.gain(child, parent)
        noise = brief.spread
        z = abs(gain) / noise if noise else 0.0  # without a known noise no difference is a large one
        improved = gain > brief.primary.min_delta
        size = ("beyond twice" if z > 2 else "within") + " the noise between seeds" if noise else "how noisy that is, nobody knows yet"
        direction = "better" if gain > 0 else "worse" if gain < 0 else "equal"
        observation = (
            f"{brief.primary.name} {parent:.6g} -> {child:.6g} over {seeds} seed{'s' * (seeds != 1)}: "
            f"{direction} by {abs(gain):.4g} ({size}). {self._secondary(brief)}{self._forecast(brief, child)}"
        ).strip()
        branch = Branch.CONTINUE if improved else Branch.ABANDON if z > 2 else Branch.BRANCH
        return Review(
            reviewer=self.name,
            valid=True,
            is_improvement=improved,
            branch_recommendation=branch,
            confidence=round(min(0.95, 0.5 + 0.15 * min(z, 3.0)), 2),
            observation=observation,
            next_belief=self._belief(brief, gain, z),
            recommended_next_mutations=self._next(brief, gain, z),
        )

    @staticmethod
    def _secondary(brief: ReviewBrief) -> str:
        """What happened to the other metrics, where both runs have them."""
        words = []
        for metric in brief.metrics[1:]:
            a, b = brief.parent.get(metric.name, ()), brief.child.get(metric.name, ())
            if a and b and sum(a):
                change = (sum(b) / len(b)) / (sum(a) / len(a)) - 1
                if abs(change) >= 0.01:
                    words.append(f"{metric.name} {change:+.0%}")
        return f"Beside it: {', '.join(words)}. " if words else ""

    @staticmethod
    def _forecast(brief: ReviewBrief, child: float) -> str:
        if brief.forecast is None:
            return ""
        off = (child - brief.forecast.mean) / brief.forecast.spread
        return f"Forecast {brief.forecast.mean:.4g} ± {brief.forecast.spread:.2g}, off by {off:+.1f} sd."

    @staticmethod
    def _belief(brief: ReviewBrief, gain: float, z: float) -> str:
        what = brief.summary or "the change"
        if not brief.spread:
            word = "help" if gain > 0 else "hurt" if gain < 0 else "change nothing"
            return f"{what!r} may {word}; seeds that differ would tell how much of it is noise."
        if z <= 2:
            return f"{what!r} does not matter measurably here; more seeds or a larger step would tell."
        return f"{what!r} {'helps' if gain > 0 else 'hurts'} under this budget."

    @staticmethod
    def _next(brief: ReviewBrief, gain: float, z: float) -> tuple[Recommendation, ...]:
        kind, what = brief.change or "hyperparameter", brief.summary or "the last change"
        if gain > 0:
            step = "the same direction again, another step" if z > 2 else "the same change, twice as far"
            return (Recommendation(mutation_type=kind, description=f"{step}: {what}", expected_benefit="the gain may go on", priority=0.7),)
        if z > 2:
            return (
                Recommendation(
                    mutation_type=kind, description=f"the opposite of: {what}", expected_benefit="it moved the metric", priority=0.5
                ),
            )
        return (
            Recommendation(mutation_type="simplification", description=f"leave out: {what}", expected_benefit="less code", priority=0.3),
        )

    def _unmeasured(self, brief: ReviewBrief, observation: str, branch: Branch, confidence: float) -> Review:
        fix = Recommendation(
            mutation_type=brief.change or "fix", description=f"the same idea without the fault: {brief.summary}", priority=0.4
        )
        return Review(
            reviewer=self.name,
            valid=False,
            is_improvement=False,
            branch_recommendation=branch,
            confidence=confidence,
            observation=observation,
            next_belief="Nothing was learnt about the idea itself.",
            recommended_next_mutations=(fix,) if brief.summary else (),
        )

    def _baseline(self, brief: ReviewBrief, mean: float) -> Review:
        return Review(
            reviewer=self.name,
            valid=True,
            is_improvement=False,
            branch_recommendation=Branch.CONTINUE,
            confidence=0.9,
            observation=f"{brief.primary.name} is {mean:.6g}. There is nothing to compare it with.",
            next_belief="This is the reference that every later run is measured against.",
        )
