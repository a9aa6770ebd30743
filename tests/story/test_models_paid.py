"""A campaign through a model's client as a person pays for it: a key in a file, a cap, the sum, the audit."""

from __future__ import annotations

import json

import pytest

from evogit.domain.usage import Call
from evogit.prices import price
from toys import evogit


def agent(loopback, **options: str) -> list[str]:
    given = {"base_url": loopback.url, "timeout_s": "20", **options}
    return ["--agent", "anthropic", *(f"--agent-option={name}={value}" for name, value in given.items())]


def counted(loopback) -> float:
    """Dollars of what the service says that it answered."""
    charges = loopback.charged
    calls = [
        Call(who="agent", hand="anthropic", input=c.input, output=c.output, cache_write=c.cache_write, cache_read=c.cache_read)
        for c in charges
    ]
    return sum(price(charge.model, call, None) for charge, call in zip(charges, calls))


def test_a_key_that_stands_in_a_dotenv_alone_is_enough(loopback, repo, monkeypatch):
    for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    key = loopback.env["ANTHROPIC_API_KEY"]
    (repo / ".env").write_text(f"ANTHROPIC_API_KEY={key}\n")

    done = evogit(repo, "loop", "--max-runs", "1", *agent(loopback))

    assert done.returncode == 0
    assert loopback.charged  # the service refuses any other key


@pytest.mark.slow
def test_every_run_is_replayed_to_the_byte_and_the_sum_is_what_the_service_counted(loopback, repo):
    evogit(repo, "loop", "--max-runs", "6", *agent(loopback), env=loopback.env)

    runs = [json.loads(line) for line in evogit(repo, "log", "--json").stdout.splitlines()]
    made = [run for run in runs if run["agent"] == "anthropic" and run["verdict"] != "reject"]
    assert len(made) >= 3
    for run in made:
        assert json.loads(evogit(repo, "replay", run["run"], "--json").stdout.splitlines()[-1])["is_equal"], run["run"]
    told = json.loads(evogit(repo, "cost", "--json").stdout)
    assert told["total"]["known_usd"] == pytest.approx(counted(loopback), abs=0.005)


def test_a_cap_ends_the_loop_before_the_call_that_could_pass_it(loopback, repo):
    done = evogit(repo, "loop", "--max-runs", "50", "--max-cost", "0.30", *agent(loopback), env=loopback.env)

    assert "--max-cost 0.3" in done.stdout
    assert 0 < counted(loopback) <= 0.30


def test_with_a_third_of_the_calls_failing_the_cap_holds_as_well(loopback, repo):
    faults = ("429", "cut", "500", "truncated", "529")
    loopback.faults = lambda seen: faults[(seen.number // 3) % len(faults)] if seen.number % 3 == 2 else ""

    codes = [evogit(repo, "loop", "--max-runs", "8", "--max-cost", "0.30", *agent(loopback), env=loopback.env, check=False).returncode]

    runs = [json.loads(line)["run"] for line in evogit(repo, "log", "--json").stdout.splitlines()]
    assert set(codes) <= {0, 3}
    assert len(set(runs)) == len(runs) > 1
    assert 0 < counted(loopback) <= 0.30
