"""What a person does to a campaign from the screen: each thing is asked once, then handed to the lab, and what came of it is said.

The loop may run in any process: messages go through its inbox. Nothing is done here while a question is open.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from evogit.present import clean, plural
from evogit.tui import news
from evogit.tui.asking import Field, dialog, share, whole_number
from evogit.tui.letters import Line

if TYPE_CHECKING:
    from evogit.domain.idea import Idea
    from evogit.domain.run import Run
    from evogit.domain.sight import Flying
    from evogit.lab import Lab
    from evogit.tui.reader import Reader
    from evogit.tui.screens.dialog import Ask

ANSWER_S = 10.0  # how long a loop's answer is waited for; what it does later shows among the events
NOW = {"keep": "kept", "discard": "discarded", "crash": "a crash", "reject": "refused by a gate"}
MARKED, THIS = "marked runs", "this run"


class Steering:
    """The part of the app that asks and hands over."""

    reader: Reader
    status: Any
    book: Any
    selected: str

    if TYPE_CHECKING:

        def push_screen(self, screen: Any, callback: Any = None) -> Any: ...
        def notify(self, message: str, **more: Any) -> None: ...
        @property
        def screen(self) -> Any: ...
        @property
        def screen_stack(self) -> Any: ...

    # the loop ---------------------------------------------------------------------------------------------------------

    def action_pause(self) -> None:
        """Pause the loop, or have it go on."""
        if not self._has_loop("pause"):
            return
        if self.status.is_paused:
            self._ask(dialog("resume", ["The loop begins runs again."], yes="resume"), lambda said: self._send("resume"))
        else:
            words = ["Nothing further is begun; runs in the air go on until they are decided."]
            self._ask(dialog("pause", words, yes="pause"), lambda said: self._send("pause"))

    def action_stop_loop(self) -> None:
        """Stop the loop after the runs in the air."""
        if self._has_loop("stop"):
            words = ["The loop ends once the runs in the air are decided. Asked a second time, it cancels them."]
            self._ask(dialog("stop the loop", words, yes="stop"), lambda said: self._send("stop"))

    def cancel_flight(self, flight: Flying) -> None:
        """End a trial in the air."""
        if self._has_loop("cancel"):
            fields = [Field("reason", "because", hint="why, for the record (may be empty)")]
            question = dialog(f"cancel run {flight.run}", ["It ends now and is decided as it stands."], fields, yes="cancel the trial")
            self._ask(question, lambda said: self._send("cancel", run=flight.run, reason=said["reason"]))

    def action_measure(self) -> None:
        """Read the selected run again under more seeds."""
        if (run := self._run()) is None:
            return
        where = (
            "The loop that runs does it next."
            if self.status is not None and self.status.loop_pid
            else "No loop runs: the next one does it first."
        )
        fields = [
            Field("seeds", "more seeds", value="2", is_needed=True, check=whole_number(1, 64)),
            Field("reason", "because", hint="may be empty"),
        ]
        question = dialog(
            f"measure run {run.label} again",
            [clean(run.summary), where, "Its verdict stays; later readings sharpen what is believed of it."],
            fields,
            yes="measure",
        )
        self._ask(question, lambda said: self._send("remeasure", run=run.label, seeds=int(said["seeds"]), reason=said["reason"]))

    def _has_loop(self, what: str) -> bool:
        if self.status is not None and self.status.loop_pid:
            return True
        self.notify(f"no loop runs that could {what}; `evogit loop` starts one", severity="warning")
        return False

    def _send(self, kind: str, **more: Any) -> None:
        def send(lab: Lab) -> Iterator[Any]:
            sent = lab.send(kind, **more)
            yield news.REST
            deadline = time.monotonic() + (ANSWER_S if lab.helm() is not None else 0.0)
            while (said := lab.answer(sent)) is None and time.monotonic() < deadline:
                yield news.REST
            yield (sent, said)

        self.reader.ask(f"sent {kind}", send)

    def _answered_sent(self, item: news.Answered) -> None:
        if item.fault is not None:
            self._complain(item.fault)
            return
        sent, said = item.value
        about = f"{sent.kind} {sent.run}".strip()
        if said is None:
            self.notify(f"{about}: the loop has not answered yet" if sent.loop else f"{about}: it waits for the next loop")
        else:
            self.notify(clean(f"{about}: {said.result}"), severity="information" if said.is_done else "warning")
        self.reader.account()

    # the selected run ---------------------------------------------------------------------------------------------------

    def action_judge(self) -> None:
        """A person's verdict in place of the one that the run has."""
        if (run := self._run()) is None:
            return
        fields = [
            Field("verdict", "verdict", "discard" if run.is_kept else "keep", ("keep", "discard")),
            Field("because", "because", is_needed=True, hint="half the size, same loss"),
        ]
        words = [clean(run.summary), f"It is {NOW[run.verdict.value]} now. The old verdict stays in history."]
        question = dialog(f"judge run {run.label}", words, fields, yes="judge")
        self._ask(question, lambda said: self._do("judged", lambda lab: lab.judge(run.commit, said["verdict"], said["because"])))

    def _answered_judged(self, item: news.Answered) -> None:
        if item.fault is not None:
            self._complain(item.fault)
            return
        done = item.value
        moved = f"; the incumbent is run {done.incumbent.label} now" if done.incumbent.commit != done.before.commit else ""
        self.notify(clean(f"run {done.run.label}: {done.run.verdict.value}, was {done.was.value}{moved}"))
        for words in done.said:
            self.notify(clean(words), severity="warning")

    def action_mark(self) -> None:
        """Mark the selected run to be picked later, or take its mark off. The same key takes it back, so nothing is asked."""
        if (run := self._run()) is not None:
            on = run.commit not in self.book.marked
            self._do("marked", lambda lab: (lab.mark(run.commit, on), frozenset(r.commit for r in lab.marks()), on))

    def _answered_marked(self, item: news.Answered) -> None:
        if item.fault is not None:
            self._complain(item.fault)
            return
        run, marks, on = item.value
        self.notify(f"run {run.label} is {'marked to be picked: P picks' if on else 'not marked any more'}")
        if self.book is not None:
            self.book.marked = marks
            self._tell("front")

    def action_pick(self) -> None:
        """Take the marked runs, or the selected one, home onto a branch. What would happen shows before anything does."""
        run, marked = self._run(quiet=True), self.book.marked if self.book is not None else frozenset()
        if run is None and not marked:
            self.notify("no run is selected", severity="warning")
            return
        which = ([MARKED] if marked else []) + ([THIS] if run is not None else [])
        fields = [
            Field("which", "what", which[0], tuple(which)),
            Field("onto", "onto", hint="a branch; empty: the one that is checked out"),
            Field("squash", "as", "a commit a step", ("a commit a step", "one commit")),
        ]
        self._picking = dialog(
            "pick", ["The runs' lines of descent as clean commits. This is what would happen:"], fields, yes="pick", preview=9
        )
        labels = {MARKED: [c for c in self._in_order(marked)], THIS: [run.commit] if run is not None else []}
        self._labels = labels
        self._ask(self._picking, lambda said: self._do("picked", self._pick_of(said, dry_run=False)))
        self.call_after_refresh(lambda: self._try_pick(dict.fromkeys(("onto", "squash"), "") | {"which": which[0]}))

    def _in_order(self, commits: frozenset[str]) -> list[str]:
        return sorted((c for c in commits if c in self.book.at), key=self.book.at.__getitem__)

    def _pick_of(self, said: dict[str, str], *, dry_run: bool) -> Callable[[Lab], Any]:
        labels, onto, squash = self._labels[said["which"]], said["onto"], said["squash"] == "one commit"
        return lambda lab: lab.pick(labels, onto=onto, squash=squash, dry_run=dry_run)

    def on_ask_changed(self, event: Ask.Changed) -> None:
        if self.screen is getattr(self, "_picking", None):
            self._try_pick(event.values)

    def _try_pick(self, values: dict[str, str]) -> None:
        self._do("tried", self._pick_of(values, dry_run=True))

    def _answered_tried(self, item: news.Answered) -> None:
        question = getattr(self, "_picking", None)
        if question is None or self.screen is not question:
            return
        if item.fault is not None:
            hint = getattr(item.fault, "hint", "")
            question.preview([[("! ", "warning"), (clean(news.words_of(item.fault)), "")], *([[(clean(hint), "quiet")]] if hint else [])])
        else:
            question.preview(pick_lines(item.value))

    def _answered_picked(self, item: news.Answered) -> None:
        if item.fault is not None:
            self._complain(item.fault)
            return
        done = item.value
        if done.conflicts:
            words = f"run {done.clash} conflicts in {', '.join(done.conflicts[:3])}"
            left = "; the cherry-pick waits for you in your checkout" if done.is_left else "; nothing was changed"
            self.notify(clean(words + left), severity="warning", timeout=15)
        else:
            self.notify(
                clean(f"{plural(len(done.commits), 'commit')} on {done.branch}" if done.is_done else "nothing to pick: it is there already")
            )
        for words in done.notes:
            self.notify(clean(words), severity="warning")

    # ideas ------------------------------------------------------------------------------------------------------------

    def action_idea(self) -> None:
        """Put an idea into the queue."""
        run = self._run(quiet=True)
        starts = ("incumbent", *([f"run {run.label}"] if run is not None else []))
        fields = [
            Field("text", "idea", is_needed=True, hint="try a cosine schedule"),
            Field("kind", "kind", hint="optimizer, schedule, architecture ... (may be empty)"),
            Field("priority", "priority", "0.9", check=share),
            Field("source", "from", starts[0], starts),
        ]
        source = run.label if run is not None else ""

        def add(said: dict[str, str]) -> None:
            start = "" if said["source"] == "incumbent" else source
            more = {"mutation_type": said["kind"], "priority": float(said["priority"] or 0.9), "source": start}
            self._do("queued", lambda lab: (lab.add_idea(said["text"], **more), lab.ideas()))

        self._ask(dialog("add an idea", ["People's ideas go before all others. A loop that runs takes it up."], fields, yes="add"), add)

    def rank_idea(self, idea: Idea, way: str) -> None:
        """Raise or lower an idea in the queue."""
        words = [clean(idea.description), f"Its priority is {idea.priority:.2f}; a step is 0.1."]
        act = {"raise": lambda lab: lab.raise_idea(idea.id), "lower": lambda lab: lab.lower_idea(idea.id)}[way]
        self._ask(dialog(f"{way} an idea", words, yes=way), lambda said: self._do("queued", lambda lab: (act(lab), lab.ideas())))

    def drop_idea(self, idea: Idea) -> None:
        """Nobody is to carry it out."""
        fields = [Field("because", "because", hint="may be empty")]
        words = [clean(idea.description), "Nobody carries it out. To raise or lower it brings it back."]
        self._ask(
            dialog("drop an idea", words, fields, yes="drop"),
            lambda said: self._do("queued", lambda lab: (lab.drop_idea(idea.id, said["because"]), lab.ideas())),
        )

    def _answered_queued(self, item: news.Answered) -> None:
        if item.fault is not None:
            self._complain(item.fault)
            return
        told, ideas = item.value
        self.notify(clean(f"{told.status.value}, priority {told.idea.priority:.2f}: {told.idea.description[:60]}"))
        self._answered_ideas(news.Answered("ideas", ideas))

    # how --------------------------------------------------------------------------------------------------------------

    def _run(self, *, quiet: bool = False) -> Run | None:
        here = self.screen_stack[0]
        run = self.book.run(getattr(here, "pointed", self.selected)) if self.book is not None else None
        if run is None and not quiet:
            self.notify("no run is selected", severity="warning")
        return run

    def _ask(self, question: Ask, act: Callable[[dict[str, str]], None]) -> None:
        self.push_screen(question, lambda said: act(said) if said is not None else None)

    def _do(self, key: str, work: Callable[[Lab], Any]) -> None:
        self.reader.ask(key, work)

    if TYPE_CHECKING:

        def _complain(self, fault: BaseException) -> None: ...
        def _tell(self, *what: str) -> None: ...
        def _answered_ideas(self, item: news.Answered) -> None: ...
        def call_after_refresh(self, callback: Any) -> None: ...


def pick_lines(pick: Any) -> list[Line]:
    """What a pick would do, in lines."""
    lines: list[Line] = [[(f"onto {clean(pick.branch)}", "title")]]
    lines += [[(f"{commit[:8]} ", "quiet"), (clean(subject), "")] for commit, subject in pick.commits]
    if pick.present:
        lines.append([(f"there already: {', '.join(pick.present)}", "quiet")])
    if pick.conflicts:
        lines.append([("! ", "warning"), (f"run {pick.clash} conflicts in {', '.join(map(clean, pick.conflicts))}", "warning")])
    if pick.rest:
        lines.append([(f"behind it: {', '.join(pick.rest)}", "quiet")])
    if not pick.commits and not pick.conflicts:
        lines.append([("nothing is left to pick", "quiet")])
    return lines + [[("! ", "warning"), (clean(words), "")] for words in pick.notes]
