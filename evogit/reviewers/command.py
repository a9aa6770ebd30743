"""The reviewer that is any program: {parent, child, context} on its stdin, one review as JSON on its stdout.

It runs in an empty folder, with a home of its own and no variable that was not named. Whatever goes wrong is a review that says
so; the run is recorded all the same.
"""

from __future__ import annotations

import json

from evogit.domain.review import Review, ReviewBrief
from evogit.programs import bill, options, process, speech
from evogit.reviewers import contract

KEPT = 64 << 10  # characters of each stream among the answers
ANSWER = "review-stdout.txt"


class CommandReviewer:
    """Runs `command` once a run. Options: timeout_s (600), env (names of variables that are let
    through, with commas), folder (where a relative path in `command` begins; default: where evogit was started)."""

    name = "command"
    is_free = False  # nobody knows what it costs to ask it again
    pays_afterwards = True

    def __init__(self, command: str = "", timeout_s: str | float = 600, env: str = "", folder: str = "") -> None:
        """Raises UserError for a program that does not exist, or options that mean nothing."""
        self._words = options.program("reviewer", command, folder)
        self._timeout_s = options.seconds("timeout_s", timeout_s)
        self._names = options.names("env", env)

    def review(self, brief: ReviewBrief) -> Review:
        """What the program wrote, or a stand-in that says why there is nothing, with what it cost."""
        secrets, started = speech.Secrets(self._names), bill.now()
        with process.private_home() as home:
            (home / "work").mkdir()
            ended = process.run(
                self._words,
                stdin=json.dumps(contract.question(brief)) + "\n",
                cwd=home / "work",
                env=process.clean_env(home, self._names),
                timeout_s=self._timeout_s,
            )
        out, err = (secrets.hide(speech.decode(stream)) for stream in (ended.stdout, ended.stderr))
        answers = {name: text[-KEPT:] for name, text in ((ANSWER, out), ("review-stderr.txt", err)) if text.strip()}
        said = speech.json_object(out, contract.KEYS)
        fault = ended.how and f"the program failed: {ended.how}: {speech.tail(err) or speech.tail(out)}".rstrip(": ")
        calls = bill.reported(
            said or {}, who="reviewer", hand=self.name, seconds=ended.seconds, started=started, answer=ANSWER, error=fault
        )
        try:
            return contract.stand_in(self.name, fault, calls, answers) if fault else contract.review(self.name, said, brief, calls, answers)
        except contract.Unusable as why:
            return contract.stand_in(self.name, f"the program's answer is no review: {why}", calls, answers)
