"""What a person does on the screens, and what comes of it. The lab stands still; the app is the real one."""

from __future__ import annotations

import msgspec
import pytest

from builders import commit_of, run
from evogit.tui import plot
from evogit.tui.screens.dialog import Ask, Choice
from evogit.tui.screens.help import Help
from evogit.tui.screens.place import ALL
from evogit.tui.widgets.lanes import FamilyTree
from evogit.tui.widgets.runtable import RunTable
from evogit.tui.widgets.scatter import Scatter
from evogit.tui.widgets.tables import IdeaTable
from evogit.tui.widgets.topbar import TopBar
from stills import StillLab, stage


def label(on) -> str:
    """The run that is selected."""
    found = on.app.book.run(on.app.selected)
    return found.label if found else ""


def table(on) -> RunTable:
    return on.app.screen.query_one(RunTable)


# frontier -------------------------------------------------------------------------------------------------------------------


def test_what_is_selected_in_the_table_is_selected_in_the_plot_and_the_other_way():
    async def act(on):
        scatter = on.app.screen.query_one(Scatter)
        await on.press("down", "down")
        by_table = (label(on), scatter.selected == on.app.selected)
        x, y = scatter._picture.at[20]
        await on.pilot.click(Scatter, offset=(x, y))
        await on.pilot.pause()
        return by_table, label(on), table(on).commit == on.app.selected

    by_table, by_plot, is_same = stage(act)

    assert by_table == ("61", True)
    assert (by_plot, is_same) == ("20", True)


def test_typing_finds_runs_at_once_and_escape_shows_all_again():
    async def act(on):
        await on.press("slash")
        await on.write("local_tuner -keep")
        found = {on.app.book.runs[at].emitter for at in table(on).shown}, len(table(on).shown)
        await on.press("escape")
        return found, len(table(on).shown)

    found, after = stage(act)

    assert found[0] == {"local_tuner"} and 0 < found[1] < 64
    assert after == 64


def test_a_click_on_a_title_sorts_by_it_and_a_second_one_reverses():
    async def act(on):
        await on.pilot.click(RunTable, offset=(25, 0))
        await on.pilot.pause()
        best = table(on).shown[0]
        await on.pilot.click(RunTable, offset=(25, 0))
        await on.pilot.pause()
        return on.app.book.runs[best].commit == on.app.book.incumbent, table(on).view.is_reversed

    assert stage(act) == (True, True)


def test_axes_turn_through_the_metrics_and_the_frontier_follows():
    async def act(on):
        await on.press("x")
        scatter = on.app.screen.query_one(Scatter)
        await on.until(lambda: on.app.reader.over == ("val_loss", "params"), "the frontier is asked for")
        return scatter.x, plot.title(scatter.axes()[0], on.app.letters, is_up=False)

    assert stage(act) == ("params", "params ←")


def test_no_metric_is_plotted_over_itself():
    async def act(on):
        scatter = on.app.screen.query_one(Scatter)
        seen = []
        for key in "xxxyyxy":
            await on.press(key)
            seen.append((scatter.x, scatter.y))
        return seen

    assert all(x != y for x, y in stage(act))


def test_a_search_that_finds_nothing_says_so_in_the_plot_too():
    async def act(on):
        await on.press("slash")
        await on.write("zzz")
        await on.until(lambda: on.text.count("no run is like that") == 2, "the words, above and below")
        return on.text

    assert "┬" not in stage(act)


def test_columns_that_a_wider_terminal_has_are_named():
    async def act(on):
        small = on.text
        await on.pilot.resize_terminal(220, 40)
        await on.until(lambda: "wider terminal" not in on.text, "all are there")
        return small

    assert "by run; a wider terminal adds params, emitter, agent, took, cost" in stage(act, size=(80, 24))


def test_a_verdict_key_shows_that_verdict_alone():
    async def act(on):
        await on.press("f")
        return {on.app.book.runs[at].verdict.value for at in table(on).shown}

    assert stage(act) == {"keep"}


def test_zoom_gives_the_table_the_whole_screen_then_the_plot():
    async def act(on):
        found = []
        for _ in range(3):
            await on.press("z")
            found.append((on.app.screen.query_one(Scatter).size.height, table(on).size.height))
        return found

    table_alone, plot_alone, both = stage(act)

    assert table_alone[0] == 0 and plot_alone[1] == 0 and min(both) > 5


def test_a_run_that_lands_is_on_top_and_the_selection_stays_where_a_person_put_it():
    async def act(on):
        await on.press("down")
        before = label(on)
        new = run("64", 0.08, parents=("53",), incumbent=commit_of("53"), emitter="contrarian", summary="fresh off the backend")
        on.lab.land(new)
        await on.until(lambda: "fresh off" in on.text, "the run shows")
        return before, label(on), table(on).shown[0]

    before, after, first = stage(act)

    assert before == after == "62"
    assert first == 64


def test_who_looks_at_the_newest_run_follows_it():
    async def act(on):
        await on.press("home")
        on.lab.land(run("64", 0.08, parents=("53",), incumbent=commit_of("53")))
        await on.until(lambda: len(on.app.book) == 65, "the run is there")
        await on.pilot.pause()
        return label(on)

    assert stage(act) == "64"


# lineage ----------------------------------------------------------------------------------------------------------------------


def test_in_the_tree_left_goes_to_the_parent_o_to_the_other_one_and_space_unfolds():
    async def act(on):
        joined = next(r for r in on.app.book.runs if len(r.parents) == 2 and r.is_kept)
        parents = [on.app.book.run(p).label for p in joined.parents]
        on.app.selected = joined.commit
        await on.press("2")
        await on.press("left")
        first = label(on)
        on.app.selected = joined.commit
        await on.pilot.pause()
        await on.press("o")
        other = label(on)
        tree = on.app.screen.query_one(FamilyTree)
        lines = len(tree.twigs)
        tree.cursor = next(i for i, twig in enumerate(tree.twigs) if len(twig.ends) > 1)
        ends = len(tree.twigs[tree.cursor].ends)
        await on.press("space")
        return parents, [first, other], len(tree.twigs) - lines - ends + 1

    parents, gone, difference = stage(act)

    assert gone == parents
    assert difference == 0


def test_following_selects_each_run_that_lands():
    async def act(on):
        await on.press("2", "F")
        on.lab.land(run("64", 0.3, parents=("53",), incumbent=commit_of("53")))
        await on.until(lambda: label(on) == "64", "the newest is selected")
        return "following" in on.text

    assert stage(act)


@pytest.mark.parametrize("key", "12345")
def test_a_screen_that_hears_of_a_run_while_it_is_taken_down_is_no_fault(key, monkeypatch):
    lost = []

    def hear_of_it(bar: TopBar) -> None:
        lost.append(bar)
        bar.app.call_later(bar.screen.tell, ALL)  # by then the bar is gone

    async def act(on):
        await on.press(key)
        monkeypatch.setattr(TopBar, "on_unmount", hear_of_it, raising=False)

    stage(act)

    assert lost


# run --------------------------------------------------------------------------------------------------------------------------


def test_a_run_opens_with_its_story_its_diff_its_log_and_its_files():
    async def act(on):
        on.app.selected = on.app.book.runs[28].commit
        await on.pilot.pause()
        await on.press("enter")
        await on.until(lambda: "prediction and outcome" in on.text and "schedule" in on.text, "story and diff")
        story = on.text
        await on.press("l")
        await on.until(lambda: "loss 0.09" in on.text, "the log")
        await on.press("w", "down", "enter")
        await on.until(lambda: "emitter" in on.text and "plan.json" in on.text, "the file")
        await on.press("right_square_bracket")
        await on.until(lambda: "run 29" in on.text, "the next run")
        return story

    story = stage(act, size=(120, 60))

    for words in ("hypothesis", "as predicted", "believes", "next ideas", "what it rests on", "LR = 0.014", "none: its code"):
        assert words in story


def test_what_cannot_be_read_of_a_run_is_said():
    async def act(on):
        on.app.open_run(on.app.book.runs[12].commit)
        await on.until(lambda: "cannot be shown" in on.text, "the words")
        return on.text

    assert "1 of 2 lines of its reviews' note cannot be read" in stage(act, size=(120, 60))


def test_on_a_small_screen_one_half_is_shown_at_a_time():
    async def act(on):
        on.app.open_run(on.app.book.runs[28].commit)
        await on.until(lambda: "hypothesis" in on.text, "the story")
        story = "train.py" not in on.text
        await on.press("d")
        diff = "train.py" in on.text and "hypothesis" not in on.text
        await on.press("tab")
        return story, diff, "hypothesis" in on.text

    assert stage(act, size=(80, 24)) == (True, True, True)


def test_a_run_in_the_air_shows_its_log_and_becomes_the_run_when_it_lands():
    async def act(on):
        await on.press("5", "enter")
        await on.until(lambda: "in the air" in on.text and "loss 0.09" in on.text, "the flight and its log")
        on.lab.land(run("64", 0.08, parents=("53",), incumbent=commit_of("53"), summary="landed now"))
        await on.until(lambda: "landed now" in on.text and "verdict" in on.text, "the run")
        return label(on)

    assert stage(act) == "64"


def test_enter_on_a_run_that_has_just_been_decided_opens_it():
    async def act(on):
        on.app.selected = ""
        await on.press("5")
        await on.until(lambda: "in the air" in on.text, "the flights")
        on.app.book.extend([run("64", 0.08, parents=("53",), incumbent=commit_of("53"), summary="landed a moment ago")])
        on.lab.made = list(on.app.book.runs)
        await on.press("enter")
        await on.until(lambda: "landed a moment ago" in on.text and "verdict" in on.text, "the run")
        return label(on)

    assert stage(act) == "64"


def test_a_reading_that_ended_gives_way_to_the_run_that_was_read():
    async def act(on):
        on.app.selected = ""
        on.app.flying = (msgspec.structs.replace(on.app.flying[0], run="70", of="28"),)
        on.app.open_flight("70")
        await on.until(lambda: "reads" in on.text and "run 28 once more" in on.text, "the reading")
        on.app.flying = ()
        await on.until(lambda: "hypothesis" in on.text, "the run")
        return label(on)

    assert stage(act) == "28"


# live -------------------------------------------------------------------------------------------------------------------------


def test_the_log_of_a_run_that_has_ended_is_not_called_live():
    async def act(on):
        await on.press("5")
        await on.until(lambda: "log of run 64, live" in on.text and "Enter: all about it" in on.text, "its log")
        on.app.flying = ()
        await on.until(lambda: "log of run 64, ended" in on.text, "the words")
        return "Enter: all about it" in on.text

    assert stage(act) is False


def test_without_a_loop_the_live_screen_says_how_to_start_one_and_x_what_is_missing():
    class Idle(StillLab):
        def flying(self):
            return []

        def events(self, start):
            return [], 1

        def status(self):
            return msgspec.structs.replace(super().status(), loop_pid=0)

    async def act(on):
        await on.press("5")
        await on.until(lambda: on.text.count("`evogit loop` starts one") == 2, "the hints")
        await on.press("X")
        await on.until(lambda: "nothing is in the air that could be cancelled" in on.text, "the words")
        return on.text

    assert "what the run under the cursor writes shows here" in stage(act, lab=Idle())


# portfolio --------------------------------------------------------------------------------------------------------------------


def test_ideas_are_raised_lowered_and_dropped_after_one_question_each():
    class Asked(StillLab):
        said = ()

        def raise_idea(self, id):
            self.said += (("raise", id),)
            return self.ideas_told[0]

        def drop_idea(self, id, because):
            self.said += (("drop", id, because),)
            return self.ideas_told[0]

    async def act(on):
        await on.press("4")
        await on.until(lambda: on.app.screen.query_one(IdeaTable).idea is not None, "the ideas")
        await on.press("down", "plus")
        is_asked = isinstance(on.app.screen, Ask)
        await on.press("enter")
        await on.until(lambda: on.lab.said, "it is raised")
        await on.press("D")
        await on.write("too dear")
        await on.press("escape")
        await on.press("D")
        await on.write("no")
        await on.press("enter")
        await on.until(lambda: len(on.lab.said) > 1, "it is dropped")
        return is_asked, on.lab.said

    is_asked, said = stage(act, lab=Asked())

    assert is_asked
    assert said == (("raise", "0" * 16), ("drop", "0" * 16, "no"))


def test_tab_brings_every_panel_to_the_front_on_a_small_screen():
    async def act(on):
        await on.press("4")
        await on.until(lambda: on.app.screen._portfolio is not None, "the portfolio")
        found = []
        for _ in range(5):
            found.append(on.text)
            await on.press("tab")
        return found

    shown = "\n".join(stage(act, size=(80, 24)))

    for words in ("a narrower head", "5 of 39 filled", "raising LR helps", "RuntimeError: mat"):
        assert words in shown


def test_while_the_search_is_read_no_panel_says_that_there_is_nothing():
    class Slow(StillLab):
        def __init__(self):
            super().__init__()
            self.go = False

        def ideas(self):
            return []

        def portfolio(self):
            while not self.go:
                yield None
            yield super().portfolio()

    async def act(on):
        await on.press("4")
        await on.until(lambda: on.text.count("reading what the search learnt") == 2 and "no ideas: i adds one" in on.text, "the words")
        reading = "no niche has a run yet" in on.text
        await on.press("minus")
        await on.until(lambda: "there is no idea to rank or drop" in on.text, "why nothing happens")
        on.lab.go = True
        await on.until(lambda: on.app.screen._portfolio is not None, "the answer")
        return reading, "reading what" in on.text

    assert stage(act, lab=Slow()) == (False, False)


# steering ---------------------------------------------------------------------------------------------------------------------


class Steered(StillLab):
    """Remembers what it was asked to do."""

    def __init__(self):
        super().__init__()
        self.done = []

    def judge(self, commit, verdict, because):
        from evogit.domain.verdict import Verdict
        from evogit.judging import Judging

        self.done.append((verdict, because))
        of = self.run(commit)
        return Judging(run=of, was=of.verdict if of.verdict is not Verdict.KEEP else Verdict.DISCARD, before=of, incumbent=of)

    def mark(self, commit, on):
        self.done.append(("mark", on))
        return self.run(commit)

    def pick(self, labels, *, onto, squash, dry_run):
        from evogit.errors import UserError
        from evogit.picking import Pick

        if onto == "nowhere":
            raise UserError("there is no branch nowhere", hint="git branch")
        self.done.append(("try" if dry_run else "pick", onto, squash, len(labels)))
        return Pick(
            branch=onto or "main", commits=(("a" * 40, "raise LR"),), present=("3",), notes=("run 5 was discarded",), is_done=not dry_run
        )

    def add_idea(self, text, **more):
        self.done.append((text, more))
        return self.ideas_told[0]


def test_a_judgement_is_asked_for_once_and_needs_a_reason():
    async def act(on):
        on.app.selected = on.app.book.runs[60].commit
        await on.pilot.pause()
        await on.press("J", "enter")
        is_refused = "because is missing" in on.text and not on.lab.done
        await on.write("half the size")
        await on.press("enter")
        await on.until(lambda: on.lab.done, "it is judged")
        return is_refused, on.lab.done

    assert stage(act, lab=Steered()) == (True, [("keep", "half the size")])


def test_nothing_is_done_when_a_question_is_left():
    async def act(on):
        for key in ("J", "P", "R", "i"):
            await on.press(key)
            assert isinstance(on.app.screen, Ask)
            await on.press("escape")
        await on.pilot.pause()
        return [what for what in on.lab.done if what[0] != "try"]

    assert stage(act, lab=Steered()) == []


def test_a_pick_shows_what_would_happen_before_it_happens():
    async def act(on):
        await on.press("P")
        await on.until(lambda: "raise LR" in on.text and "there already: 3" in on.text, "the dry run")
        before = list(on.lab.done)
        on.app.screen.query_one("#field-onto").focus()
        await on.write("nowhere")
        await on.until(lambda: "there is no branch nowhere" in on.text, "the refusal")
        await on.press(*["backspace"] * 7)
        await on.write("wins")
        await on.until(lambda: "onto wins" in on.text, "the other branch")
        await on.press("enter")
        await on.until(lambda: on.lab.done[-1][0] == "pick", "it is picked")
        return before, on.lab.done[-1]

    before, last = stage(act, lab=Steered())

    assert {what[0] for what in before} == {"try"}
    assert last == ("pick", "wins", False, 1)


def test_a_mark_is_put_on_and_taken_off_by_the_same_key():
    async def act(on):
        await on.press("m")
        await on.until(lambda: len(on.lab.done) == 1, "marked")
        return on.lab.done

    assert stage(act, lab=Steered()) == [("mark", True)]


def test_an_idea_starts_from_the_incumbent_or_from_the_selected_run():
    async def act(on):
        await on.press("i")
        await on.write("a cosine schedule")
        on.app.screen.query_one("#field-source", Choice).value = f"run {label(on)}"
        await on.press("enter")
        await on.until(lambda: on.lab.done, "added")
        return label(on), on.lab.done[0]

    chosen, (text, more) = stage(act, lab=Steered())

    assert text == "a cosine schedule"
    assert more == {"mutation_type": "", "priority": 0.9, "source": chosen}


@pytest.mark.parametrize("key", ["p", "T"])
def test_without_a_loop_there_is_nothing_to_pause_or_stop(key):
    async def act(on):
        on.app.status = msgspec.structs.replace(on.app.status, loop_pid=0)
        await on.press(key)
        await on.until(lambda: "no loop runs" in on.text, "the words")
        return isinstance(on.app.screen, Ask), "no loop runs" in on.text

    assert stage(act) == (False, True)


def test_help_names_every_key_of_the_screen_and_every_steering_key():
    async def act(on):
        await on.press("question_mark")
        assert isinstance(on.app.screen, Help)
        return on.text

    text = stage(act, size=(150, 100))

    for words in (
        "what the plot has across",
        "show one verdict alone",
        "leave the search",
        "judge the run",
        "pick runs onto",
        "incumbent",
        "near miss",
        "noise alone may have made it",
    ):
        assert words in text


def test_the_palette_goes_anywhere():
    async def act(on):
        await on.press("ctrl+p")
        await on.write("portfolio screen")
        await on.until(lambda: "Portfolio screen" in on.text, "the entry")
        await on.press("down", "enter")
        await on.until(lambda: on.app.current_mode == "portfolio", "the screen")
        return on.app.current_mode

    assert stage(act) == "portfolio"


def test_the_palette_says_what_each_key_of_the_screen_does_and_names_no_theme_by_its_name_alone():
    async def act(on):
        return {command.title: command.help for command in on.app.get_system_commands(on.app.screen)}

    said = stage(act)

    assert said["Here: show one verdict alone, the next one at each press, then all"] == "key f"
    assert said["Here: leave the search and show all runs"] == "key Esc"
    assert said["Theme nord"] == "the colours of nord" and "dark terminal" in said["Theme evogit-dark"]


def test_a_run_is_found_by_any_name_that_the_lab_knows():
    async def act(on):
        on.app.action_find_run()
        await on.pilot.pause()
        await on.write("30")
        await on.press("enter")
        await on.until(lambda: "run 30" in on.text, "the run")
        on.app.action_find_run()
        await on.pilot.pause()
        await on.write("999")
        await on.press("enter")
        await on.until(lambda: "there is no run 999" in on.text, "the refusal")
        return label(on)

    assert stage(act) == "30"


@pytest.mark.parametrize("sizes", [[(80, 24), (200, 60), (40, 10)]])
def test_every_screen_takes_every_size(sizes):
    async def act(on):
        for screen in "12345":
            await on.press(screen)
            for size in sizes:
                await on.pilot.resize_terminal(*size)
                await on.pilot.pause()
        await on.press("1")
        return on.text

    assert "64 runs" in stage(act)


def test_a_tab_is_clicked_and_the_mouse_wheel_scrolls():
    async def act(on):
        await on.pilot.click("#top", offset=(26, 0))
        await on.pilot.pause()
        mode = on.app.current_mode
        await on.press("1", "end")
        return mode, table(on).scroll_offset.y

    mode, scrolled = stage(act)

    assert mode == "lineage" and scrolled > 0


def test_editor_and_pager_get_a_runs_files_and_safe_text(tmp_path, monkeypatch):
    from evogit.tui import handing

    tool = tmp_path / "tool"
    tool.write_text(f'#!/bin/sh\ncat "$@" > {tmp_path}/seen\necho "$@" > {tmp_path}/named\n')
    tool.chmod(0o755)
    monkeypatch.setenv("GIT_EDITOR", str(tool))
    monkeypatch.setenv("GIT_PAGER", f"{tool} -u")

    wrong = handing.edit({"train.py": "LR = 1\n", "../out/of/here.py": "x = 2\n"})
    seen = (tmp_path / "seen").read_text()
    paged = handing.page(["+LR = 2"], "run-3.diff")

    assert (wrong, paged, seen) == ("", "", "LR = 1\nx = 2\n")
    assert not (tmp_path / "out").exists()
    assert (tmp_path / "named").read_text().startswith("-u ") and (tmp_path / "seen").read_text() == "+LR = 2\n"


def test_a_missing_editor_is_told_in_words(monkeypatch):
    from evogit.tui import handing

    monkeypatch.setenv("GIT_EDITOR", "no-such-editor-here")

    assert handing.edit({"a": ""}) == "no-such-editor-here: no such file or directory"
