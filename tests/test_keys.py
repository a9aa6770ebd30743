"""Keys come from the environment or a `.env`, and go nowhere else."""

from __future__ import annotations

import os

import pytest

from evogit import keys
from evogit.domain.proposal import Proposal
from evogit.domain.usage import Call

KEY = "sk-ant-0123456789abcdef"


@pytest.fixture(autouse=True)
def no_keys(monkeypatch):
    """The environment without any, and as it was afterwards."""
    for name in keys.NAMES:
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


def dotenv(folder, text: str):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ".env").write_text(text)
    return folder


def test_a_dotenv_gives_what_hands_know_and_nothing_else(tmp_path, monkeypatch):
    monkeypatch.delenv("DATABASE_PASSWORD", raising=False)
    place = dotenv(tmp_path, f"ANTHROPIC_API_KEY={KEY}\nDATABASE_PASSWORD=hunter2\n")

    assert keys.load([place]) == []

    assert os.environ["ANTHROPIC_API_KEY"] == KEY
    assert "DATABASE_PASSWORD" not in os.environ


def test_what_is_set_is_never_overridden_not_even_by_the_nearer_file(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "from-the-shell")
    near = dotenv(tmp_path / "problem", "OPENAI_API_KEY=near\nANTHROPIC_API_KEY=near-key\n")
    far = dotenv(tmp_path, "OPENAI_API_KEY=far\nANTHROPIC_API_KEY=far-key\nOPENAI_BASE_URL=http://127.0.0.1:1/v1\n")

    keys.load([near, far, tmp_path / "nowhere"])

    assert [os.environ[n] for n in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "OPENAI_BASE_URL")] == [
        "from-the-shell",
        "near-key",
        "http://127.0.0.1:1/v1",
    ]


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("OPENAI_API_KEY=plain", "plain"),
        ("export OPENAI_API_KEY=plain", "plain"),
        ("  OPENAI_API_KEY =  plain  # mine", "plain"),
        ("OPENAI_API_KEY='with # and $HOME'", "with # and $HOME"),
        ('OPENAI_API_KEY="with \\"quotes\\""  # mine', 'with "quotes"'),
        ("OPENAI_API_KEY=a#b", "a#b"),
        ("OPENAI_API_KEY=", ""),
        ("\ufeffOPENAI_API_KEY=plain", "plain"),
    ],
)
def test_a_line_is_read_as_a_shell_would(tmp_path, line, value):
    (tmp_path / ".env").write_text(f"# keys\n\n{line}\n" if line[0] != "\ufeff" else f"{line}\n", encoding="utf-8")

    assert keys.read(tmp_path / ".env") == ({"OPENAI_API_KEY": value}, "")


@pytest.mark.parametrize(
    "bad", ["sk-secret-alone", "OPENAI API KEY=sk-secret", "OPENAI_API_KEY='sk-secret", "1KEY=sk-secret", "A=sk'secret"]
)
def test_a_bad_line_is_named_by_file_and_number_and_never_by_its_value(tmp_path, bad):
    dotenv(tmp_path, f"ANTHROPIC_API_KEY={KEY}\n{bad}\n")

    [said] = keys.load([tmp_path])

    assert said == f"{tmp_path}/.env: line 2 is not KEY=VALUE, and left out"
    assert os.environ["ANTHROPIC_API_KEY"] == KEY


def test_many_bad_lines_are_one_warning(tmp_path):
    dotenv(tmp_path, "x\ny\nz\n")

    assert keys.load([tmp_path]) == [f"{tmp_path}/.env: line 1 and 2 more are not KEY=VALUE, and left out"]


def test_a_file_that_is_no_text_is_a_warning(tmp_path):
    (tmp_path / ".env").write_bytes(b"OPENAI_API_KEY=\xff\xfe\n")

    [said] = keys.load([tmp_path])

    assert "is not UTF-8 text" in said
    assert "OPENAI_API_KEY" not in os.environ


def test_every_known_secret_is_replaced_by_its_name(monkeypatch):
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    monkeypatch.setenv("MY_GATEWAY_TOKEN", "gateway-0123456789")

    assert keys.redact(f"a {KEY} b {KEY}, gateway-0123456789") == "a <ANTHROPIC_API_KEY> b <ANTHROPIC_API_KEY>, <MY_GATEWAY_TOKEN>"
    assert keys.redact_bytes(b"\xff" + KEY.encode()) == b"\xff<ANTHROPIC_API_KEY>"


@pytest.mark.parametrize(
    ("name", "value"), [("AUTH", "disabled"), ("MAX_TOKENS", "12345678901234567"), ("SSH_AUTH_SOCK", "/tmp/ssh-0123456789/agent.1")]
)
def test_an_ordinary_value_of_a_variable_with_a_suspicious_name_stays(monkeypatch, name, value):
    monkeypatch.setenv(name, value)

    assert keys.redact(f"it says {value}") == f"it says {value}"


def test_an_address_is_no_secret(monkeypatch):
    monkeypatch.setenv("ANTHROPIC_BASE_URL", "http://127.0.0.1:8080")

    assert keys.redact("at http://127.0.0.1:8080") == "at http://127.0.0.1:8080"


def test_a_noun_is_cleaned_however_deep_a_secret_lies(monkeypatch):
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    call = Call(who="agent", hand="x", error=f"401 for {KEY}")
    said = Proposal(summary=KEY, files={KEY: f"print({KEY!r})", "odd": "\udcff"}, calls=(call,), answers={"1": KEY})

    clean = keys.redacted(said)

    assert KEY not in repr(clean)
    assert clean.files["odd"] == "\udcff"
    assert clean.calls[0].error == "401 for <ANTHROPIC_API_KEY>"


def test_a_noun_without_a_secret_is_the_same_noun():
    said = Proposal(summary="x")

    assert keys.redacted(said) == said
