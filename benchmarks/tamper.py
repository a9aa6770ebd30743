"""Candidates that cheat, tried at one level of the sandbox: how many of each family are stopped there. Exit code 1 if one gets through.

    python benchmarks/tamper.py [--level bubblewrap] [--only WORDS]

A trick that only a stronger level stops is not run (it might succeed) and is counted as open. It uses the suite of the tests
(`tests/tamper`), which runs each trick in the real loop.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from tamper import TRICKS, harness

GITCONFIG = "[user]\n\tname = b\n\temail = b@example.org\n[init]\n\tdefaultBranch = main\n[gc]\n\tauto = 0\n"


def is_stopped(trick: harness.Trick, bases: harness.Bases, level: str) -> bool:
    """Try it; what went wrong is printed."""
    with tempfile.TemporaryDirectory(prefix="evogit-tamper-", ignore_cleanup_errors=True) as folder:
        try:
            harness.judge(harness.attempt(trick, bases.fresh(trick, Path(folder)), level))
        except AssertionError as fault:
            print(f"{trick.family}: {trick.name}: {fault}", file=sys.stderr, flush=True)
            return False
    return True


def main() -> int:
    """Try all, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--level", choices=harness.LEVELS, default=harness.LEVELS[-1])
    parser.add_argument("--only", default="", help="tricks whose family or name holds these words")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="evogit-tamper-", ignore_cleanup_errors=True) as place:
        home = Path(place, "home")
        home.mkdir()
        (home / ".gitconfig").write_text(GITCONFIG)
        folders = {"HOME": str(home), "XDG_CACHE_HOME": str(home / "cache"), "XDG_STATE_HOME": str(home / "state")}
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # each loop would compile evogit anew
        os.environ |= {**folders, "GIT_CONFIG_NOSYSTEM": "1"}
        if why := harness.refusal(asked.level):
            print(f"{asked.level} does not work here: {why}", file=sys.stderr)
            return 2
        bases = harness.Bases(Path(place, "bases"), asked.level)
        tricks = [trick for trick in TRICKS if asked.only in f"{trick.family} {trick.name}"]
        meant = [trick for trick in tricks if harness.LEVELS.index(trick.holds) <= harness.LEVELS.index(asked.level)]
        stopped = Counter(trick.family for trick in meant if is_stopped(trick, bases, asked.level))
    print(f"{'family':10} {'stopped at ' + asked.level:>24} {'open':>6} {'tricks':>8}")
    for family in dict.fromkeys(trick.family for trick in tricks):
        count = sum(trick.family == family for trick in tricks)
        left = count - sum(trick.family == family for trick in meant)
        print(f"{family:10} {stopped[family]:24} {left:6} {count:8}")
    print(f"{'all':10} {stopped.total():24} {len(tricks) - len(meant):6} {len(tricks):8}")
    return int(stopped.total() < len(meant))


if __name__ == "__main__":
    sys.exit(main())
