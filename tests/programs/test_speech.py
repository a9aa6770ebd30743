from __future__ import annotations

import json
import time

import pytest

from evogit.programs import speech


@pytest.mark.parametrize(
    "text",
    [
        '{"a": 1}',
        'loading {weights}\n{"level": "info"}\n{"a": 1}\n',
        'Here it is:\n```json\n{"a": 1}\n```\nGood luck {"b": 2}',
        '\ufeff{"a": 1}',
        '{"a": {"a": 2}, "b": "}"}'.replace('{"a": 2}', "1"),
        'x = {"unclosed": "{" \n {"a": 1} }}}',
    ],
)
def test_the_object_is_found_among_other_words(text):
    found = speech.json_object(text, ("a",))

    assert found is not None
    assert found["a"] == 1


@pytest.mark.parametrize("text", ["", "no braces", "[1, 2]", "{", '{"a": 1', "{'a': 1}", "{" * 5000])
def test_where_there_is_no_object_none_is_found(text):
    assert speech.json_object(text) is None


@pytest.mark.parametrize(
    "text", ["{" * 2_000_000, '{"a":' * 400_000, '{"a": "' + "x" * 4_000_000, '{"a": [' * 300_000], ids=["braces", "deep", "open", "lists"]
)
def test_a_hostile_text_costs_little_and_hides_no_object_behind_it(text):
    began = time.monotonic()

    found = speech.json_object(text + '\n{"answer": "yes"}\n', ("answer",))

    assert time.monotonic() - began < 10
    assert found == {"answer": "yes"} or text.endswith("x")


def test_the_answer_of_megabytes_survives():
    said = {"model_py": "x = 1\n" * 500_000}

    assert speech.json_object("log\n" + json.dumps(said), ("model_py",)) == said


def test_control_characters_and_terminal_escapes_are_taken_out():
    assert speech.one_line("\x1b[31mred\x1b[0m \x07\x1b]0;title\x07 \u202eevil\u202c\n two") == "red evil two"


def test_a_key_is_hidden_by_its_name_and_a_short_value_is_none(monkeypatch):
    monkeypatch.setenv("SOME_API_KEY", "planted-key-1")
    monkeypatch.setenv("SHORT_TOKEN", "the")

    assert speech.Secrets().hide("the key planted-key-1 leaks") == "the key [SOME_API_KEY] leaks"


@pytest.mark.parametrize(
    ("name", "is_secret"), [("OPENAI_API_KEY", True), ("HF_TOKEN", True), ("TOKENIZERS_PARALLELISM", False), ("PATH", False)]
)
def test_a_secret_is_known_by_its_name(name, is_secret):
    assert speech.is_secret(name) is is_secret
