"""Hooks go into people's settings and out again, and what else stands there keeps every byte."""

from __future__ import annotations

import json
import os
import stat
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evogit.errors import UserError
from evogit.hooks import installing, jsontext
from evogit.hooks import place as places
from toys import evogit, git

TOP = Path(__file__).resolve().parents[2]
SETTINGS = [
    "{}",
    "{}\n",
    "{ }",
    "{\n}\n",
    '{"permissions":{"allow":["Bash(ls:*)"]}}',
    '{\n  "model": "x",\n  "permissions": {\n    "deny": []\n  }\n}\n',
    '{\n\t"hooks": {}\n}',
    '{"hooks": {"Stop": []}}',
    '{"hooks": {"Stop": [ ], "PreToolUse": [{"matcher": "Bash", "hooks": [{"type": "command", "command": "mine.sh"}]}]}, "z": 1}\n',
    '{\r\n  "hooks": {\r\n    "SessionStart": [\r\n      {"hooks": [{"type": "command", "command": "a"}]}\r\n    ]\r\n  },\r\n  "b": "é"\r\n}\r\n',
    '\n\n  {\n      "a": [1, 2,\n 3], "hooks": {\n   "Other": [1]}\n}\n\n',
    '{"a": "{\\"hooks\\": [", "b": "\\u00e9 \\\\"}',
]


def settings_of(repo: Path, file: str) -> Path:
    return repo / (installing.CLAUDE if file == "claude" else installing.CODEX)


def install(repo: Path, kind: str, *, remove: bool = False) -> list[str]:
    return installing.install(kind, places.find(str(repo)), remove=remove)


@pytest.mark.parametrize("kind", ["claude", "codex"])
@pytest.mark.parametrize("text", SETTINGS)
def test_in_and_out_again_gives_every_byte_back(repo, kind, text):
    path = settings_of(repo, kind)
    path.parent.mkdir()
    path.write_bytes(text.encode())
    install(repo, kind)
    between = path.read_bytes()

    install(repo, kind, remove=True)

    assert path.read_bytes() == text.encode()
    assert json.loads(between)["hooks"]["PreToolUse"][-1]["hooks"][0]["command"].endswith("hook pre-tool-use")


@pytest.mark.parametrize("text", SETTINGS)
def test_what_was_there_is_still_there_and_in_its_order(repo, text):
    path = settings_of(repo, "claude")
    path.parent.mkdir()
    path.write_bytes(text.encode())

    install(repo, "claude")

    before, after = json.loads(text), json.loads(path.read_bytes())
    assert [key for key in after if key in before] == list(before)
    assert {key: value for key, value in after.items() if key != "hooks"} == {k: v for k, v in before.items() if k != "hooks"}
    for event, groups in before.get("hooks", {}).items():
        assert after["hooks"][event][: len(groups)] == groups


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=12,
)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.dictionaries(st.text(max_size=6).filter(lambda key: key != "hooks"), json_values, max_size=4),
    st.sampled_from([None, 2, 4, "\t"]),
    st.booleans(),
    st.one_of(st.none(), st.dictionaries(st.sampled_from(["Stop", "PreToolUse", "Mine"]), st.lists(json_values, max_size=2), max_size=3)),
)
def test_any_settings_survive_the_round(repo, rest, indent, ascii_, hooks):
    text = json.dumps({**rest, **({"hooks": hooks} if hooks is not None else {})}, indent=indent, ensure_ascii=ascii_)
    path = settings_of(repo, "claude")
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(text.encode("utf-8", "surrogatepass"))

    try:
        install(repo, "claude")
        install(repo, "claude", remove=True)
    except UserError as fault:
        assert "UTF-8" in fault.message  # a lone surrogate is no text

    assert path.read_bytes() == text.encode("utf-8", "surrogatepass")


@pytest.mark.parametrize("kind", ["claude", "codex", "git"])
def test_a_second_installation_changes_nothing(repo, kind):
    assert install(repo, kind)

    assert install(repo, kind) == []


@pytest.mark.parametrize("kind", ["claude", "codex", "git"])
def test_where_nothing_was_nothing_is_left(repo, kind):
    before = sorted(str(p) for p in repo.rglob("*"))
    install(repo, kind)

    install(repo, kind, remove=True)

    assert sorted(str(p) for p in repo.rglob("*")) == before
    assert install(repo, kind, remove=True) == []


@pytest.mark.parametrize("text", ["{", "[]", '{"hooks": []}', '{"hooks": {"Stop": {}}}', "// mine\n{}", '{"a": 1,}', ""])
def test_settings_that_cannot_be_read_are_refused_in_one_line_and_left_alone(repo, text):
    path = settings_of(repo, "claude")
    path.parent.mkdir()
    path.write_text(text)

    done = evogit(repo, "hook", "install", "claude", check=False)

    assert done.returncode == 2
    assert done.stderr.startswith("error: .claude/settings.json ")
    assert len(done.stderr.splitlines()) == 2
    assert path.read_text() == text
    assert os.listdir(path.parent) == ["settings.json"]


def test_hooks_of_an_older_evogit_are_replaced(repo):
    path = settings_of(repo, "claude")
    path.parent.mkdir()
    old = {"hooks": {"Stop": [{"hooks": [{"type": "command", "command": "/old/evogit hook stop", "timeout": 1}]}]}, "a": 1}
    path.write_text(json.dumps(old))

    install(repo, "claude")

    after = json.loads(path.read_text())
    assert [g["hooks"][0]["timeout"] for g in after["hooks"]["Stop"]] == [60]
    assert after["a"] == 1


def test_a_link_to_settings_stays_a_link_and_permissions_stay(repo, tmp_path):
    real = tmp_path / "real.json"
    real.write_text("{}")
    real.chmod(0o600)
    settings_of(repo, "claude").parent.mkdir()
    settings_of(repo, "claude").symlink_to(real)

    install(repo, "claude")

    assert settings_of(repo, "claude").is_symlink()
    assert "hooks" in json.loads(real.read_text())
    assert stat.S_IMODE(real.stat().st_mode) == 0o600


def test_the_command_says_what_it_changed(repo):
    done = evogit(repo, "hook", "install", "claude")
    again = evogit(repo, "hook", "install", "claude")
    out = evogit(repo, "hook", "install", "claude", "--remove")

    assert done.stdout == "wrote .claude/settings.json\n"
    assert (again.stdout, again.stderr) == ("", "nothing to do: the hooks are there\n")
    assert out.stdout == "removed .claude/settings.json, which held nothing else\n"


def test_the_files_that_ship_are_what_is_installed():
    for file, ships in ((installing.CLAUDE, "hooks/claude/settings.json"), (installing.CODEX, "hooks/codex/hooks.json")):
        assert (TOP / ships).read_text() == installing.settings(installing.groups(file))
    for name in installing.GIT:
        assert (TOP / "hooks/git" / name).read_text() == installing.git_hook(name)
        assert len((TOP / "hooks/git" / name).read_text().splitlines()) == 2


@pytest.mark.parametrize("text", ["#!/bin/sh\nmake lint\n", "#!/usr/bin/env bash\nset -e\nmake lint", "#!/bin/bash -e\n\n# mine\nexit 0\n"])
def test_a_hook_of_git_that_is_there_gets_a_line_and_loses_it_again(repo, text):
    path = repo / ".git/hooks/pre-commit"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    path.chmod(0o750)
    install(repo, "git")
    between = path.read_text()

    install(repo, "git", remove=True)

    assert "hook pre-commit" in between.splitlines()[1]
    assert path.read_text() == text
    assert stat.S_IMODE(path.stat().st_mode) == 0o750


def test_a_hook_of_git_that_is_no_shell_script_is_left_alone(repo):
    path = repo / ".git/hooks/pre-commit"
    path.parent.mkdir(exist_ok=True)
    path.write_text("#!/usr/bin/env python3\nprint(1)\n")

    with pytest.raises(UserError, match="no shell script"):
        install(repo, "git")

    assert path.read_text() == "#!/usr/bin/env python3\nprint(1)\n"


def test_git_looks_where_its_configuration_says(repo):
    git(repo, "config", "core.hooksPath", "my hooks")

    install(repo, "git")

    assert (repo / "my hooks/commit-msg").exists()


def run_git(repo: Path, *args: str, path: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(["git", *args], cwd=repo, capture_output=True, text=True, check=False)


def test_gits_own_hooks_guard_a_campaigns_branch_and_no_other(repo):
    install(repo, "git")
    (repo / "program.md").write_text("Make it large.\n")
    elsewhere = run_git(repo, "commit", "-qam", "on main")
    git(repo, "switch", "-q", "autoresearch/t1")
    (repo / "program.md").write_text("Make it larger.\n")

    frozen = run_git(repo, "commit", "-qam", "frozen")
    git(repo, "checkout", "-q", "--", "program.md")
    (repo / "train.py").write_text((repo / "train.py").read_text().replace("LR = 0.1", "LR = 0.02"))
    forged = run_git(repo, "commit", "-qam", "smaller steps\n\nEvogit-Verdict: keep")
    fine = run_git(repo, "commit", "-qam", "smaller steps\n\nThey diverge.")

    assert elsewhere.returncode == fine.returncode == 0
    assert frozen.returncode == forged.returncode == 1
    assert "program.md is frozen on autoresearch/t1" in frozen.stderr
    assert "evogit's record" in forged.stderr


@pytest.mark.parametrize("text", ['{"a": [1, {"b": [], "c": {}}], "d": "x"}', "[]", ' {"a" : 1 , "b":[ 1,2 ] }\n', "3"])
def test_spans_are_those_of_the_values(text):
    def check(node: jsontext.Node, value: object) -> None:
        assert json.loads(text[node.start : node.end]) == value
        inside = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
        for child, one in zip(node.children, inside, strict=True):
            check(child, one)

    check(jsontext.parse(text), json.loads(text))
