"""`evogit context`: what an agent would be told, read without moving anything."""

from __future__ import annotations

import json

import pytest

from evogit.agents.packet import TOTAL
from evogit.lab import Lab
from toys import TRAIN, evogit, git, make_toy


def test_it_prints_the_packet_and_moves_no_ref(repo):
    before = git(repo, "for-each-ref")

    said = evogit(repo, "context").stdout

    assert "Make val_loss small." in said and "LR = 0.1" in said and "search role: " in said
    assert git(repo, "for-each-ref") == before


def test_a_parent_and_a_role_can_be_asked_for(repo):
    evogit(repo, "loop", "--tag", "t1", "--max-runs", "2")

    told = json.loads(evogit(repo, "context", "--parent", "1", "--emitter", "simplifier", "--json").stdout)

    assert list(told) == ["fixed", "code", "lore", "assignment", "cut", "tokens"]
    assert "search role: simplifier" in told["assignment"] and "(run 1)" in told["code"]
    assert 0 < told["tokens"] <= TOTAL


def test_it_is_what_the_agent_of_the_next_run_is_told(repo, loopback):
    printed = Lab.open(repo, tag="t1").context()

    evogit(repo, "loop", "--max-runs", "1", "--agent", "anthropic", "--agent-option", f"base_url={loopback.url}")

    body = loopback.requests[0].body
    assert body["system"][0]["text"] == printed.fixed
    first, second = (block["text"] for block in body["messages"][0]["content"])
    assert first == printed.code and TRAIN in first
    assert second.replace("; left: 1 run", "") == f"{printed.lore}\n\n{printed.assignment}"


@pytest.mark.parametrize(("options", "words"), [(["--parent", "99"], "99"), (["--emitter", "nobody"], "nobody")])
def test_what_does_not_exist_is_named(repo, options, words):
    done = evogit(repo, "context", *options, check=False)

    assert done.returncode == 2 and words in done.stderr


def test_without_a_campaign_it_says_how_to_start_one(tmp_path):
    done = evogit(make_toy(tmp_path / "toy"), "context", check=False)

    assert done.returncode == 2 and "evogit start" in done.stderr


def test_without_a_baseline_it_says_what_is_missing(tmp_path):
    top = make_toy(tmp_path / "toy")
    evogit(top, "start", "t1")

    done = evogit(top, "context", check=False)

    assert done.returncode == 1 and "baseline" in done.stderr
