"""The lab as a coding agent's tools: the protocol's own client against `evogit mcp` in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from evogit.domain.options import LoopOptions
from evogit.lab import Lab
from toys import git, make_toy

anyio = pytest.importorskip("anyio")
pytest.importorskip("mcp", reason="needs the extra mcp")


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """The toy problem with a measured baseline."""
    top = make_toy(tmp_path / "toy")
    lab = Lab.open(top)
    lab.start("t1")
    list(lab.baseline(2, LoopOptions()))
    return top


def talk(repo: Path, story: Callable[[Any], Awaitable[None]], *args: str, mode: str = "auto") -> None:
    """Let a client talk to a fresh server; the server's process ends with it."""
    from mcp import Client, StdioServerParameters

    async def main() -> None:
        server = StdioServerParameters(command=sys.executable, args=["-m", "evogit.cli", "mcp", *args], cwd=str(repo), env=dict(os.environ))
        with anyio.fail_after(120):
            async with Client(server, mode=mode) as client:
                await story(client)

    anyio.run(main)


def text_of(result: Any) -> str:
    return "\n".join(block.text for block in result.content)


def edit(repo: Path, old: str = "LR = 0.1", new: str = "LR = 0.02") -> None:
    path = repo / "train.py"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_the_tools_are_listed_with_what_they_take(repo, mode):
    async def story(client):
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}

        assert list(tools) == ["next", "submit", "show", "diff", "search", "frontier", "ideas", "status"]
        assert tools["submit"].input_schema["required"] == ["message"]
        assert tools["submit"].input_schema["properties"]["predicted"]["description"]
        assert all(tool.description and tool.input_schema["type"] == "object" for tool in tools.values())
        assert tools["show"].annotations.read_only_hint and not tools["submit"].annotations.read_only_hint

    talk(repo, story, mode=mode)


def test_a_whole_session_from_assignment_to_review(repo):
    progress: list[tuple[float, str]] = []

    async def heard(done: float, total: float | None, message: str | None) -> None:
        progress.append((done, message or ""))

    async def story(client):
        task = await client.call_tool("next", {"emitter": "local_tuner"})
        edit(repo)
        said = {"message": "smaller steps", "hypothesis": "they diverge", "predicted": "0.22+-0.02", "change": "optimizer"}
        done = await client.call_tool("submit", said, progress_callback=heard)
        shown = await client.call_tool("show", {"run": "incumbent"})
        diff = await client.call_tool("diff", {"run": "1"})
        found = await client.call_tool("search", {"text": "diverge"})
        front = await client.call_tool("frontier", {})
        status = await client.call_tool("status", {})

        assert task.structured_content["emitter"] == "local_tuner"
        assert task.structured_content["files"] == ["train.py"]
        assert not done.is_error
        run = done.structured_content
        assert (run["run"], run["verdict"], run["emitter"], run["summary"]) == ("1", "keep", "local_tuner", "smaller steps")
        assert run["review"]["reviewer"] == "heuristic"
        assert "run 1 keep [local_tuner]" in text_of(done) and "review by heuristic" in text_of(done)
        assert shown.structured_content["commit"] == run["commit"]
        assert "+LR = 0.02" in text_of(diff)
        assert [r["run"] for r in found.structured_content["runs"]] == ["1"] and "they diverge" in text_of(found)
        assert "1" in [r["run"] for r in front.structured_content["runs"]]
        assert status.structured_content["incumbent"]["run"] == "1"

    talk(repo, story)

    assert [done for done, _ in progress] == list(range(1, len(progress) + 1))
    assert any("seed 0: train started" in message for _, message in progress)
    assert any(message.startswith("run 1 keep") for _, message in progress)
    assert Lab.open(repo, tag="t1").run("1").forecast.mean == 0.22


def test_ideas_are_listed_and_added(repo):
    async def story(client):
        empty = await client.call_tool("ideas", {})
        added = await client.call_tool("ideas", {"add": "lower LR to 0.02", "priority": 1.0})
        twice = await client.call_tool("ideas", {"add": "lower LR to 0.02"})
        task = await client.call_tool("next", {})

        before = [one["description"] for one in empty.structured_content["ideas"]]
        assert "lower LR to 0.02" not in before
        assert added.structured_content["ideas"][0]["description"] == "lower LR to 0.02"
        assert twice.is_error and "asked for that before" in text_of(twice)
        assert task.structured_content["idea"] == added.structured_content["ideas"][0]["id"]

    talk(repo, story)


@pytest.mark.parametrize(
    "tool, arguments, message",
    [
        ("submit", {"message": "nothing"}, "no mutable file differs from run 0\nhint: edit train.py first"),
        ("submit", {}, "missing required field `message`"),
        ("submit", {"message": "x", "predicted": "much"}, "'much' is no forecast\nhint: write one like 0.095+-0.004"),
        ("show", {"run": "77"}, "campaign t1 has no run '77'\nhint: the last one is 0"),
        ("show", {"run": "0", "file": "no"}, "run 0 has no artifact 'no'"),
        ("show", {"run": 3}, "Expected `str`, got `int`"),
        ("search", {"text": "x", "limit": 0}, ">= 1"),
        ("frontier", {"over": "x"}, "unknown field `over`"),
        ("next", {"emitter": "nobody"}, "no emitter is called 'nobody'\nhint: one of: local_tuner"),
        ("delete", {}, "there is no tool delete\nhint: there are: next, submit"),
    ],
)
def test_what_is_refused_is_an_error_of_the_tool_with_its_hint(repo, tool, arguments, message):
    before = git(repo, "for-each-ref")

    async def story(client):
        result = await client.call_tool(tool, arguments)

        assert result.is_error
        assert message in text_of(result)
        assert not (await client.call_tool("status", {})).is_error  # the server lives on

    talk(repo, story)

    assert git(repo, "for-each-ref") == before


def test_a_crash_is_a_result_with_its_reason(repo):
    edit(repo, "LR = 0.1", 'LR = float("x")')

    async def story(client):
        done = await client.call_tool("submit", {"message": "no number"})
        output = await client.call_tool("show", {"run": "1", "file": "trials/s0/stderr"})

        assert not done.is_error
        assert done.structured_content["verdict"] == "crash"
        assert "crash: ValueError" in text_of(done)
        assert "could not convert string to float" in text_of(output)

    talk(repo, story)


def test_the_campaign_that_was_named_is_the_one_that_is_served(repo):
    Lab.open(repo).start("t2")

    async def story(client):
        assert (await client.call_tool("status", {})).structured_content["campaign"] == "t1"

    talk(repo, story, "--tag", "t1")


def test_a_folder_that_is_no_repository_is_told_before_anything_is_served(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "evogit.cli", "mcp"], cwd=tmp_path, input="", capture_output=True, text=True, check=False, timeout=60
    )

    assert done.returncode == 2
    assert "is not in a git repository" in done.stderr


def test_the_end_of_input_ends_the_server(repo):
    hello = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}

    done = subprocess.run(
        [sys.executable, "-m", "evogit.cli", "mcp"],
        cwd=repo,
        input=json.dumps(hello) + "\n",
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert done.returncode == 0
    assert all(json.loads(line)["jsonrpc"] == "2.0" for line in done.stdout.splitlines())
