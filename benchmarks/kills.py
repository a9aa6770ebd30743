"""SIGKILL to the loop at random instants of one campaign, and what the books say afterwards. Prints a table; exit code 1 if anything is wrong.

    python benchmarks/kills.py [--kills 1000] [--every 100] [--seed 0] [--longest 1.6]

Each loop has one to four workers, and lives for a time drawn from the seed, from its start or from its first word: it dies while it
starts, while it recovers what the one before left, or at any step of any run. After each `--every` kills a loop may end by itself, and git's books are held against a diary that the
trials keep outside of git. It mends nothing: what one kill broke, every later line shows too.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from faults.runner import Shot

UNHEARD = 0.25  # share of the loops whose time runs from their very start, so that they die before they have said a word
GITCONFIG = "[user]\n\tname = b\n\temail = b@example.org\n[gc]\n\tauto = 0\n"


def kill_some(shot: Shot, kills: int, longest_s: float, choice: random.Random) -> int:
    """That many loops, each killed while it works; returns how many ended before that, which none should."""
    alone = 0
    for _ in range(kills):
        loop = shot.spawn("--max-runs", "100000", "--workers", str(choice.randint(1, 4)))
        if choice.random() >= UNHEARD:
            loop.stdout.readline()  # it has opened the campaign
        try:
            _, said = loop.communicate(timeout=choice.uniform(0, longest_s))
            print(f"a loop ended by itself with {loop.returncode}: {said.strip()}", flush=True)
            alone += 1
        except subprocess.TimeoutExpired:
            loop.kill()
            loop.communicate()
    return alone


def findings(shot: Shot) -> dict[str, int | str]:
    """What a loop that ended left in the books, against the diary."""
    trials, ended, begun = shot.trials(), shot.diary("end"), shot.diary("begin")
    ids = Counter(line.id for line in trials)
    return {
        "runs": len(shot.lab().campaign.history.runs),
        "trials": len(trials),
        "lost": max(0, len(ended) - len(trials)),
        "doubled": sum(count - 1 for count in ids.values()) + max(0, len(begun) - len(ended)),
        "fsck, doctor": _said(shot.check_books),
        "numbers": _said(shot.check_numbers),
        "left over": _said(shot.check_nothing_left),
    }


def _said(check: Callable[[], None]) -> str:
    try:
        check()
    except AssertionError as error:
        return " ".join(str(error).split())[:300] or "wrong"
    return "ok"


def main() -> int:
    """Kill, look, print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--every", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--longest", type=float, default=1.6, help="seconds that a loop lives at most")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="evogit-kills-") as place:
        home = Path(place, "home")
        home.mkdir()
        (home / ".gitconfig").write_text(GITCONFIG)
        os.environ |= {"HOME": str(home), "XDG_CACHE_HOME": str(home / "cache"), "GIT_CONFIG_NOSYSTEM": "1"}
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # each loop would compile evogit anew
        os.environ["EVOGIT_SANDBOX"] = "none"  # the diary lies where no sandbox would let a trial write
        shot, choice = Shot(Path(place, "toy")), random.Random(asked.seed)
        began, killed, is_wrong = time.monotonic(), 0, False
        while killed < asked.kills:
            kills = min(asked.every, asked.kills - killed)
            is_wrong = kill_some(shot, kills, asked.longest, choice) > 0 or is_wrong
            killed += kills
            ended = shot.loop("--max-runs", "1", check=False)
            if ended.returncode:
                print(f"after {killed} kills the loop that was to end gave {ended.returncode}: {ended.stderr.strip()}", flush=True)
                return 1
            found = findings(shot)
            wrong = {name: value for name, value in found.items() if name not in ("runs", "trials") and value not in (0, "ok")}
            is_wrong = is_wrong or bool(wrong)
            told = "  ".join(f"{name} {value}" for name, value in found.items())
            print(f"{killed:5} kills {time.monotonic() - began:6.0f} s  {told}", flush=True)
    return int(is_wrong)


if __name__ == "__main__":
    sys.exit(main())
