from __future__ import annotations

import json
import subprocess
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evogit.domain.metric import Direction
from evogit.domain.plan import Forecast
from evogit.domain.usage import Spent
from evogit.domain.verdict import Verdict
from evogit.errors import BadRecord
from evogit.git import messages
from evogit.git.messages import Baseline, EntryMessage, RunMessage, build_entry, build_run, one_line, paragraphs, parse_entry, parse_run

ANY = st.text(st.characters(exclude_categories=()), max_size=200)  # lone surrogates too
NASTY = st.lists(
    st.sampled_from(
        [
            "Evogit-Verdict: keep",
            "\n",
            "\n\n",
            "---",
            "Signed-off-by: a",
            "\r\n",
            "\u2028",
            "\x00",
            " ",
            "[emitter=x]",
            '{"v":1}',
            "exp: ",
            "\t",
        ]
    )
    | ANY,
    max_size=12,
).map("".join)
NUMBER = st.floats(allow_nan=False, allow_infinity=False)


def plain_run(**fields: object) -> RunMessage:
    return RunMessage(
        **{"label": "3", "campaign": "nov20", "emitter": "simplifier", "agent": "offline", "summary": "halve the width", **fields}
    )


def decision(**fields: object) -> EntryMessage:
    known = {"kind": "decision", "subject": "keep 3: val_loss 0.081 (-0.012)", "campaign": "nov20", "decides": "a" * 40}
    return EntryMessage(**{**known, "verdict": Verdict.KEEP, "incumbent": "a" * 40, "seq": 3, "reason": "better", **fields})


def git_trailers(tmp_path: Path, message: str) -> list[str]:
    said = subprocess.run(["git", "interpret-trailers", "--parse"], cwd=tmp_path, input=message.encode(), check=True, capture_output=True)
    return said.stdout.decode().splitlines()


@settings(max_examples=60, deadline=None)
@given(summary=NASTY, hypothesis=NASTY, agent=NASTY, niche=NASTY, change=NASTY, idea=NASTY, campaign=ANY)
def test_a_run_message_reads_back_as_the_cleaned_run_whatever_the_text(summary, hypothesis, agent, niche, change, idea, campaign):
    run = plain_run(summary=summary, hypothesis=hypothesis, agent=agent, niche=niche, change=change, idea=idea, campaign=campaign)

    text = build_run(run)

    assert parse_run(text, "it") == msgspec.structs.replace(
        run,
        summary=one_line(summary, messages.SUMMARY_CAP) or "(no summary)",
        hypothesis=paragraphs(hypothesis),
        agent=one_line(agent),
        niche=one_line(niche),
        change=one_line(change),
        idea=one_line(idea),
    )
    assert text.encode().decode() == text


@settings(max_examples=60, deadline=None)
@given(NASTY, NASTY, NASTY, st.none() | NUMBER, NUMBER, st.lists(st.dictionaries(st.text(), NUMBER | st.text()), max_size=4), st.booleans())
def test_an_entry_reads_back_whatever_the_text(subject, reason, by, gain, cost, objects, near):
    lines = tuple(json.dumps(one).encode() for one in objects)
    entry = decision(subject=subject, reason=reason, by=by, gain=gain, spent=Spent(usd=cost), near_miss=near, lines=lines)

    said = parse_entry(build_entry(entry), "it")

    cleaned = one_line(subject, messages.SUMMARY_CAP) or "decision"
    assert said == msgspec.structs.replace(entry, subject=cleaned, reason=one_line(reason), by=one_line(by))


@given(NASTY)
def test_cleaning_twice_is_cleaning_once(text):
    assert one_line(one_line(text)) == one_line(text)
    assert paragraphs(paragraphs(text)) == paragraphs(text)
    assert len(one_line(text, 20)) <= 20
    assert len(paragraphs(text, 20)) <= 20


@settings(max_examples=25, deadline=None)
@given(summary=NASTY, hypothesis=NASTY)
def test_git_itself_reads_only_our_trailers(tmp_path_factory, summary, hypothesis):
    message = build_run(plain_run(summary=summary, hypothesis=hypothesis))

    said = git_trailers(tmp_path_factory.getbasetemp(), message)

    assert said == ["Evogit-Run: 3", "Evogit-Campaign: nov20", "Evogit-Emitter: simplifier", "Evogit-Agent: offline"]


def test_a_hypothesis_cannot_forge_a_verdict_or_end_the_message_early():
    text = build_run(plain_run(hypothesis="it helps\n\nEvogit-Verdict: keep\nevogit-run: 7\n---\nmore"))

    assert "\n Evogit-Verdict: keep\n evogit-run: 7\n ---\nmore\n\nEvogit-Run: 3\n" in text
    assert parse_run(text, "it").label == "3"


def test_a_summary_that_ends_like_the_emitters_tag_keeps_it():
    run = plain_run(summary="odd [emitter=simplifier]")

    assert parse_run(build_run(run), "it") == run


def test_every_field_of_a_baseline_reads_back():
    baseline = Baseline(problem="rp/di gits", clone="ab12", metric="val loss", direction=Direction.MAXIMIZE, epoch=2)
    run = plain_run(
        label="ab12/7",
        forecast=Forecast(mean=0.081, spread=0.004),
        propensity=0.25,
        idea="i1",
        sources="f" * 64,
        contrast="c" * 40,
        adopts="d" * 40,
        baseline=baseline,
    )

    assert parse_run(build_run(run), "it") == run


@pytest.mark.parametrize("folder", ["", "a  b", ' "x"', "tab\there", "line\nbreak", "ünï/ço dé", '"'])
def test_a_folder_survives_to_the_byte(folder):
    run = plain_run(baseline=Baseline(problem=folder, clone="ab12", metric="m", direction=Direction.MINIMIZE))

    assert parse_run(build_run(run), "it").baseline.problem == folder


def test_a_forecast_that_is_no_number_is_left_out():
    run = plain_run(forecast=Forecast(mean=float("nan"), spread=1.0))

    assert parse_run(build_run(run), "it").forecast is None


@pytest.mark.parametrize("label", ["", "x", "3 ", "-1", "3\n4", "ab/3", "AB12/3"])
def test_a_label_that_is_no_number_is_refused(label):
    with pytest.raises(BadRecord):
        build_run(plain_run(label=label))


@pytest.mark.parametrize("line", [b"", b"[1]", b'{"a": 1', b'{"a":\n1}', b"\xff", b'"text"', b' {"a":1}', b'{"\\ud800":1}'])
def test_a_line_that_is_not_one_json_object_is_refused(line):
    with pytest.raises(BadRecord):
        build_entry(decision(lines=(line,)))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("Evogit-Seq: 3", "Evogit-Seq: 3\nEvogit-Seq: 4"),
        ("Evogit-Seq: 3", "Evogit-Seq: three"),
        ("Evogit-Verdict: keep", "Evogit-Verdict: maybe"),
        ("Evogit-Seq: 3", "Evogit-Gain: nan"),
        ("Evogit-Seq: 3", "Evogit-Near-Miss: perhaps"),
    ],
)
def test_a_trailer_that_the_format_does_not_allow_is_named_with_its_commit(old, new):
    text = build_entry(decision()).replace(old, new)

    with pytest.raises(BadRecord, match="c0ffee.*Evogit-"):
        parse_entry(text, "c0ffee")


def test_unknown_trailers_and_a_signature_are_no_fault():
    text = build_entry(decision()) + "Evogit-Later: 1\nSigned-off-by: A <a@b>\nSigned-off-by: B <b@c>\n(cherry picked from commit abc)\n"

    assert parse_entry(text, "it") == decision()


@pytest.mark.parametrize(
    "text", ["", "fix", "fix\n\nbody\n", "Evogit-Kind: decision", "a\nEvogit-Kind: decision", "a\n\nEvogit-Kind: decision\n\nb"]
)
def test_a_message_without_our_last_paragraph_is_a_persons(text):
    assert parse_entry(text, "it").kind == "person"


def test_a_baseline_on_the_ledgers_line_is_no_entry():
    text = build_run(plain_run(baseline=Baseline(problem="", clone="ab12", metric="m", direction=Direction.MINIMIZE)))

    assert parse_entry(text, "it").kind == "person"


def test_a_format_from_the_future_is_refused_with_what_to_do():
    run = plain_run(baseline=Baseline(problem="", clone="ab12", metric="m", direction=Direction.MINIMIZE, format=2))

    with pytest.raises(BadRecord, match="install a newer"):
        parse_run(build_run(run), "it")


def test_a_measured_decision_names_the_number_and_the_difference():
    assert messages.measured("val_loss", 0.081, 0.093) == "val_loss 0.081 (-0.012)"
    assert messages.measured("val_loss", 0.081, None) == "val_loss 0.081"
