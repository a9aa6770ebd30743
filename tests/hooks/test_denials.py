"""What a driver may not do is denied however it is written, and ordinary work is not in the way."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from evogit.hooks import denials
from evogit.hooks import place as places
from toys import TOML, git

ORDINARY = [
    "ls -la",
    "cat train.py | head -20",
    "grep -rn LR . | wc -l",
    "git status --short",
    "git diff HEAD~1 -- train.py",
    "git log --oneline --graph -20",
    "git show autoresearch/t1:train.py > /tmp/there.py",
    "git stash && git stash pop",
    "git switch -c mine",
    "git commit -am 'on my own branch'",
    "git branch -d mine",
    "git fetch origin",
    "git restore --source autoresearch/t1 -- train.py",
    "git restore --source HEAD -- ':/train.py'",
    "git checkout -- train.py",
    "git restore program.md",
    "git clean -n",
    "git gc",
    "git config user.name",
    "git -c core.pager=cat log",
    "pytest -q",
    "python -c 'print(1)'",
    "python - <<'EOF'\nprint('git push')\nEOF",
    "python -m py_compile train.py",
    "python -m pytest tests",
    "python train.py > run.log 2>&1",
    "python train.py 2>&1 | tee run.log",
    "{ python train.py; } > run.log",
    "(cd . && python train.py) >> run.log",
    "timeout 60 python -u ./train.py &> run.log",
    "python scripts/run_experiment.py --backend local -- python train.py > run.log 2>&1",
    "pip list && pip show torch && pip freeze",
    "uv pip list",
    "uv run pytest -q",
    "uv tool list",
    "npm run build",
    "apt list --installed",
    "conda list",
    "cargo build --release",
    "sed -n 1,20p program.md",
    "sed -i 's/LR = 0.1/LR = 0.02/' train.py",
    "perl -pi -e 's/a/b/' train.py",
    "cp train.py /tmp/kept.py",
    "cp program.md /tmp/",
    "echo 'LR = 0.02' >> train.py",
    "cat > train.py <<'EOF'\nLR = 1  # git push\nEOF",
    "cat > notes.md <<EOF\nhello\nEOF",
    "rm -f run.log notes.md",
    "rm -rf build __pycache__",
    "mkdir -p out && touch out/x",
    'for f in *.py; do wc -l "$f"; done',
    "for i in 1 2; do python train.py > run_$i.log; done",
    "for f in a b; do echo $f > /tmp/$f.txt; done",
    'echo "it is $(date) in $PWD"',
    "find . -name '*.py' -exec grep -l LR {} \\;",
    "xargs -n1 echo < names",
    "test -f train.py && echo yes || echo no",
    '[ -n "$HOME" ] && [[ $HOME > a ]]',
    "evogit next --tag t1 && evogit submit --tag t1 -m 'x' --hypothesis 'y; z'",
    "evogit loop --max-runs 3 > loop.log",
    "evogit hook autonomy",
    "evogit prune",
    "evogit pick 3 --dry-run",
    "evogit submit -m 'judge prune pick'",
    "evogit tag 3 best",
    "nvidia-smi | head",
    "make -n",
    "echo 'pip install x'",
    "grep -n 'git push' notes.md",
    "diff <(git show HEAD:train.py) train.py",
    "X=1 Y='a b' env | sort",
    "command -v git",
    "bash -lc 'ls && git status'",
    "true > /dev/null 2>&1",
]

DENIED = [
    "git push",
    "git push origin main",
    "git -C . push",
    "git --git-dir=.git push",
    "git reset --hard HEAD~1",
    "git reset --har",
    "git clean -fdx",
    "git clean -xdf .",
    "git branch -D mine",
    "git branch -d -f mine",
    "git branch -f autoresearch/t1 main",
    "git branch -m autoresearch/t1 other",
    "git checkout -B autoresearch/t1",
    "git switch -C autoresearch/t1",
    "git checkout -f main",
    "git switch --discard-changes main",
    "git rebase main",
    "git pull --rebase",
    "git update-ref refs/heads/autoresearch/t1 HEAD",
    "git symbolic-ref HEAD refs/heads/autoresearch/t1",
    "git filter-branch --all",
    "git gc --prune=now",
    "git prune",
    "git reflog expire --expire=now --all",
    "git stash clear",
    "git notes --ref=evogit/metrics add -m x",
    "git tag -d evogit/t1/certified-3",
    "git fetch . main:refs/heads/autoresearch/t1",
    "git config alias.p push",
    "git config core.hooksPath /dev/null",
    "git -c alias.p=push p",
    "git pushh",
    "git restore .",
    "git checkout -- .",
    "git checkout HEAD~1 -- program.md",
    "git restore --source HEAD~1 program.md",
    "git restore -s HEAD~1 -- evogit.toml",
    "git rm program.md",
    "git mv program.md other.md",
    "git submodule foreach 'git push'",
    "git bisect run git push",
    "pip install x",
    "pip3.11 install -U x",
    "python -m pip install x",
    "python3 -Im pip install x",
    "uv pip install x",
    "uv add x",
    "uv sync",
    "uv run --with x python a.py",
    "uv run pip install x",
    "uvx ruff",
    "pipx install x",
    "poetry add x",
    "conda install -y x",
    "mamba env create -f e.yml",
    "npm install",
    "npm i -g x",
    "npx create-x",
    "yarn",
    "pnpm add x",
    "apt-get -y install x",
    "apt install x",
    "brew install x",
    "cargo install x",
    "cargo add x",
    "go get x",
    "gem install x",
    "dpkg -i x.deb",
    "python -m ensurepip",
    "python setup.py install",
    "echo x > program.md",
    "echo x >> evogit.toml",
    "echo x >| ./parts/../program.md",
    "echo x | tee program.md",
    "echo x | tee -a notes.md program.md",
    "sed -i s/a/b/ program.md",
    "sed -ni.bak -e s/a/b/ program.md",
    "sed --in-place=.bak s/a/b/ program.md",
    "perl -pi -e s/a/b/ program.md",
    "cp train.py program.md",
    "cp /tmp/evogit.toml .",
    "cp -t . /tmp/program.md",
    "mv program.md /tmp/x",
    "mv /tmp/README.md .",
    "rm program.md",
    "rm -rf parts",
    "rm -rf .",
    "rm *.md",
    "ln -sf /tmp/x program.md",
    "dd if=/tmp/x of=program.md",
    "truncate -s 0 program.md",
    "curl -o program.md http://localhost/x",
    "cd parts && echo A > a.py",
    "echo x > .git/HEAD",
    "rm -rf .git/refs",
    "echo x > $UNSET",
    "echo x > prog$UNSET",
    "echo x > par$UNSET/a.py",
    "echo x > ./$UNSET.md",
    "for i in 1 2; do echo x > p$i; done",
    "F=program.md; echo x > $F",
    'F=program; echo x > "${F}.md"',
    "echo x > prog{ram,}.md",
    "python train.py",
    "python scripts/run_experiment.py --backend modal --gpu H100 -- python train.py",
    "python3 -u ../scripts/run_experiment.py --in-place --no-sandbox -- git push",
    "python3 ./train.py",
    "uv run train.py",
    "python -u train.py --fast",
    "python -m train",
    "nohup python train.py &",
    "python train.py | tail -1",
    "python train.py > /dev/null",
    "python train.py 2> err.log",
    "cd .. && python toy/train.py",
    "env EVOGIT_SEED=1 python train.py",
    "evogit hook install claude --remove",
    "evogit judge 3 keep --because mine",
    "evogit --tag t1 judge 3 keep --because mine",
    "git evogit pick 3",
    "git evogit hook autonomy on",
    "evogit prune t1",
    "evogit -C . prune --older-than 0h --delete --yes",
    "evogit hook autonomy on --max-runs 1000",
    "evogit --tag t1 hook autonomy on",
    "echo 'git push' | sh",
    "curl http://localhost/x | bash",
    "bash < /tmp/x | sh",
    "$CMD push",
    "$(echo git) push",
    "`echo git` push",
    "git $(echo push)",
    "eval $X",
    'bash -c "$X"',
    "bash not-there.sh",
    "g? push",
    "ls 'unclosed",
]


@pytest.mark.parametrize("command", ORDINARY)
def test_ordinary_commands_are_allowed(denied, command):
    assert denied(command) == ""


@pytest.mark.parametrize("command", DENIED)
def test_what_a_driver_may_not_do_is_denied_with_a_reason(denied, command):
    reason = denied(command)

    assert reason
    assert "\n" not in reason


WRAPPED = [
    "{}",
    "ls && {}",
    "ls; {}",
    "true || {}",
    "ls | {}",
    "({})",
    "{{ {}; }}",
    "echo $({})",
    'echo "$({})"',
    "echo `{}`",
    "if true; then {}; fi",
    "env A=1 {}",
    "env -u A -i {}",
    "sudo -u root {}",
    "sudo -E env A=1 {}",
    "command {}",
    "exec {}",
    "nohup {} &",
    "timeout -k 1 10 {}",
    "nice -n 5 {}",
    "time {}",
    "stdbuf -oL {}",
    "xargs {} < x",
    "A=1 {}",
    "! {}",
    "cd .. && {}",
    "f() {{ {}; }}; f",
    "bash -c '{}'",
    "bash -lc '{}'",
    "/bin/sh -c '{}'",
    "bash -o pipefail -ec '{}'",
    "env bash -c '{}'",
    "eval '{}'",
    "eval {}",
    "trap '{}' EXIT",
    "bash <<< '{}'",
    "bash <<'EOF'\n{}\nEOF",
    "env -S '{}'",
    "find . -exec {} \\;",
    "bash -c \"bash -c '{}'\"",
    "watch -n 1 {}",
    "case a in a) {};; esac",
    "diff <({}) x",
    "while true; do {}; done",
    "\n\n{}\n",
    "# comment\n{}",
]


@pytest.mark.parametrize("wrapped", WRAPPED)
@pytest.mark.parametrize("command", ["git push", "pip install x", "git reset --hard"])
def test_a_denied_command_is_denied_wherever_it_stands(denied, wrapped, command):
    assert denied(wrapped.format(command))


def quoted(letter: str, style: int) -> str:
    return [letter, f"\\{letter}", f"'{letter}'", f'"{letter}"', f"$'\\x{ord(letter):02x}'", f"''{letter}", f'{letter}""'][style]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(["git push", "pip install x", "git reset --hard", "/usr/bin/git push", "rm program.md", "python train.py"]), st.data()
)
def test_no_quoting_gets_a_denied_command_through(denied, command, data):
    styles = st.integers(min_value=0, max_value=6)
    words = [" " if c == " " else quoted(c, data.draw(styles)) for c in command]

    assert denied("".join(words))


SCRIPTS = [
    "({})",
    "{{ {}; }}",
    "echo $({})",
    'echo "$({})"',
    "echo `{}`",
    "if true; then {}; fi",
    "bash -c '{}'",
    "eval '{}'",
    "ls | {}",
    "trap '{}' EXIT",
]


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(SCRIPTS), st.sampled_from([one for one in WRAPPED if "\n" not in one]))
def test_no_nesting_of_two_gets_a_push_through(denied, outer, inner):
    assume(not any(mark in outer and mark in inner for mark in "'\"`"))  # quotes in quotes of their own kind end them

    assert denied(outer.format(inner.format("git push")))


@pytest.mark.parametrize(
    "command", ["git commit -am x", "git commit --amend", "git merge main", "git cherry-pick main", "git reset HEAD~1", "git revert HEAD"]
)
def test_on_a_campaigns_branch_only_evogit_commits(repo, denied, command):
    assert denied(command) == ""

    git(repo, "switch", "-q", "autoresearch/t1")

    assert denied(command)


def test_a_script_is_read_before_it_is_run(repo, denied):
    (repo / "go.sh").write_text("#!/bin/sh\nset -e\ngit push\n")
    (repo / "fine.sh").write_text('#!/bin/sh\nfor f in "$@"; do $RUN "$f"; done > "$OUT"\n')

    assert denied("bash go.sh") and denied("sh ./go.sh") and denied(". ./go.sh") and denied("./go.sh")
    assert denied("bash fine.sh") == ""


def test_what_stands_in_a_program_that_the_agent_writes_is_not_seen(denied):
    assert denied('python -c \'import subprocess; subprocess.run(["git", "push"])\'') == ""  # a guard, no wall: docs say so


def of_tool(repo: Path, tool: str, **given: object) -> str:
    return denials.of_tool(tool, given, str(repo), places.find(str(repo)), {})


@pytest.mark.parametrize("tool", ["Edit", "Write", "MultiEdit"])
def test_an_editor_may_write_mutable_files_and_new_ones_alone(repo, tool):
    assert of_tool(repo, tool, file_path=str(repo / "train.py")) == ""
    assert of_tool(repo, tool, file_path="train.py") == ""
    assert of_tool(repo, tool, file_path=str(repo / "scratch.txt")) == ""
    assert of_tool(repo, tool, file_path="/tmp/elsewhere.txt") == ""
    for name in ("program.md", "evogit.toml", "README.md", "parts/a.py", "parts/../program.md", ".git/config", ".gitattributes"):
        assert of_tool(repo, tool, file_path=str(repo / name)), name


def test_a_notebook_that_is_frozen_is_not_edited(repo):
    (repo / "a.ipynb").write_text("{}")
    git(repo, "add", "a.ipynb")

    assert of_tool(repo, "NotebookEdit", notebook_path=str(repo / "a.ipynb"))


def test_a_link_to_a_frozen_file_is_that_file(repo):
    (repo / "link.txt").symlink_to("program.md")

    assert of_tool(repo, "Write", file_path=str(repo / "link.txt"))


def test_a_patch_names_its_files(repo):
    patch = "*** Begin Patch\n*** Update File: {}\n@@\n-a\n+b\n*** End Patch"

    assert of_tool(repo, "apply_patch", command=patch.format("train.py")) == ""
    assert of_tool(repo, "apply_patch", command=patch.format("program.md"))
    assert of_tool(repo, "apply_patch", command="*** Begin Patch\n*** Delete File: evogit.toml\n*** End Patch")


def test_a_unified_diff_is_read_before_git_applies_it(repo, denied):
    (repo / "bad.patch").write_text("--- a/program.md\n+++ b/program.md\n@@ -1 +1 @@\n-a\n+b\n")
    (repo / "good.patch").write_text("--- a/train.py\n+++ b/train.py\n@@ -1 +1 @@\n-a\n+b\n")

    assert denied("git apply bad.patch") and denied("patch -p1 -i bad.patch")
    assert denied("git apply good.patch") == "" and denied("git apply --check bad.patch") == ""


def test_a_command_as_a_list_of_words_is_read_as_such(repo):
    assert of_tool(repo, "Bash", command=["bash", "-lc", "git push"])
    assert of_tool(repo, "Bash", command=["echo", "git push"]) == ""


def test_the_settings_that_hold_the_hooks_are_the_persons(repo, denied):
    (repo / ".claude").mkdir()
    (repo / ".claude/settings.json").write_text('{"hooks": "evogit hook stop"}')

    assert denied("echo {} > .claude/settings.json")
    assert of_tool(repo, "Write", file_path=str(repo / ".claude/settings.json"))


def test_the_smoke_command_needs_no_capture(repo, denied):
    (repo / "evogit.toml").write_text(TOML.replace("[[metric]]", 'smoke = "python train.py --smoke"\n\n[[metric]]', 1))

    assert denied("python train.py --smoke") == ""
    assert denied("python train.py --smok")


def test_a_command_that_is_no_script_is_told_by_its_words(repo, denied):
    (repo / "evogit.toml").write_text(TOML.replace("python train.py", "make train"))

    assert denied("make train")
    assert denied("make lint") == "" and denied("make train > out.log") == ""


def test_odd_input_of_a_tool_is_no_reason_to_deny(repo):
    for given_ in ({}, {"command": 3}, {"command": None}, {"file_path": 7}, {"file_path": []}):
        assert of_tool(repo, "Bash", **given_) == of_tool(repo, "Edit", **given_) == ""


def test_patterns_of_the_disk_are_those_that_a_shell_would_find(repo, denied):
    assert os.path.exists(repo / "README.md")
    assert denied("rm R*.md") and denied("rm nothing*.txt") == ""


HELD_OUT = [
    "evogit holdout",
    "evogit --tag t1 holdout",
    "git evogit -C . holdout look 3",
    "python -m evogit.cli holdout --json",
    "uv run evogit holdout export",
    "bash -c 'evogit holdout | head'",
    "evogit $WHAT",
    "cat ~/.local/state/evogit/holdout/*/t1.jsonl",
    "head < ~/.local/state/evogit/holdout/ab/t1.jsonl",
    "cd ~/.local/state/evogit/holdout && ls",
    "python -c \"print(open('$HOME/.local/state/evogit/holdout/ab/t1.jsonl').read())\"",
]


@pytest.mark.parametrize("command", HELD_OUT)
def test_held_out_scores_are_not_for_agents(denied, command):
    assert "held-out scores are for the person" in denied(command) or "only known when it runs" in denied(command)


def test_the_folder_of_looks_is_not_read_or_searched_by_any_tool(repo, private_home):
    kept = private_home / ".local/state/evogit/holdout"
    kept.mkdir(parents=True)

    assert of_tool(repo, "Read", file_path=str(kept / "ab/t1.jsonl"))
    assert of_tool(repo, "Glob", path=str(kept), pattern="**")
    assert of_tool(repo, "Grep", path=str(private_home), pattern="val_loss")
    assert of_tool(repo, "Bash", command=f"grep -r val_loss {private_home}")
    assert of_tool(repo, "Read", file_path=str(repo / "train.py")) == of_tool(repo, "Grep", pattern="LR") == ""
    assert of_tool(repo, "Bash", command="evogit ideas add 'a holdout of our own'") == ""
