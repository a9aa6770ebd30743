"""What a command line may load before it knows what is asked of it."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = ["pygit2", "git", "textual", "anthropic", "openai", "rich", "numpy", "scipy", "libcst", "torch", "asyncio", "evogit.lab"]


def modules_after(code: str) -> set[str]:
    """Names of all modules that a fresh Python has loaded once `code` ended."""
    program = f"import atexit, json, sys\natexit.register(lambda: print(json.dumps(sorted(sys.modules)), file=sys.stderr))\n{code}"
    done = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True, timeout=60)
    return set(json.loads(done.stderr.splitlines()[-1]))


@pytest.mark.parametrize(
    "code",
    [
        "import evogit.cli",
        "import evogit.cli.group",
        "import sys; sys.argv = ['evogit', '--help']; from evogit.cli import main; main()",
        "import sys; sys.argv = ['evogit', '--version']; from evogit.cli import main; main()",
        "import sys; sys.argv = ['evogit', 'lgo']; from evogit.cli import main; main()",
    ],
)
def test_the_command_line_loads_nothing_heavy(code):
    loaded = modules_after(code)

    assert not loaded & set(HEAVY)


def test_help_loads_no_command():
    from evogit.cli.group import COMMANDS

    loaded = modules_after("import sys; sys.argv = ['evogit', '--help']; from evogit.cli import main; main()")

    assert "evogit.cli.group" in loaded
    assert not loaded & {target.split(":")[0] for target in COMMANDS.values()}


def test_the_help_of_a_command_opens_no_lab():
    loaded = modules_after("import sys; sys.argv = ['evogit', 'loop', '--help']; from evogit.cli import main; main()")

    assert "evogit.cli.loop" in loaded
    assert not loaded & {"evogit.lab", "pygit2", "git", "rich", "numpy", "libcst"}
