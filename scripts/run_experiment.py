#!/usr/bin/env python3
"""Run a command on a backend of evogit, as a trial would be run: a copy of the working tree, in the sandbox, output as it comes.

    python scripts/run_experiment.py --backend local -- uv run train.py > run.log 2>&1

It needs no campaign and records nothing. Only the standard library is imported before evogit is found.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

BACKENDS = ("local", "ray", "slurm", "cloud-run", "modal")
EXIT_CODES = """\
exit codes: the command's own; 128+n where signal n ended it (130 after Ctrl-C, 141 where nobody reads the output any more);
124 past its time; 137 out of memory; 127 a command that cannot be started; 3 the backend is down or lost the job;
2 something is to be mended first. Ctrl-C cancels the command and waits for its end; a second one leaves at once.
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = argparse.ArgumentParser(
        prog="run_experiment.py", usage="%(prog)s [options] -- COMMAND ...", epilog=EXIT_CODES, allow_abbrev=False,
        description="Run a command on the working tree, on any backend, sandboxed like a trial.", formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    add = found.add_argument
    add("--backend", default="local", metavar="NAME", help=f"where it runs: {', '.join(BACKENDS)}, or a plugin's; default local")
    add("--gpu", default="", metavar="KIND[:N]", help="N GPUs (1) whose name has KIND in it, such as H100; any takes all kinds")
    add("--cpus", type=whole, default=0, metavar="N", help="CPUs; default the problem's, without a problem all of this machine")
    add("--memory", type=whole, default=0, metavar="MIB", help="memory; default the problem's, without a problem unlimited")
    add("--timeout", type=minutes, default=0.0, metavar="MINUTES", help="default the problem's budget, without a problem 10")
    add("--no-sandbox", action="store_true", help="with your files and the network in reach")
    add("--in-place", action="store_true", help="in the folder itself: what the command writes stays; default a copy")
    add("--env", action="append", type=pair, default=[], metavar="NAME=VALUE", help="a variable for the command; may be repeated")
    add("--option", action="append", type=pair, default=[], metavar="NAME=VALUE", help="an option of the backend; may be repeated")
    add("--address", default="", metavar="ADDRESS", help="ray: the cluster; host:port, ray://host:port, or auto")
    add("--cloud-spec", default="", metavar="FILE", help="cloud-run: the cloud_runner.yaml")
    add("--cloud-dataset", default="", metavar="URI", help="cloud-run: gs:// address of the data, in place of the spec's")
    add("--cloud-env", action="append", type=pair, default=[], metavar="NAME=VALUE", help="cloud-run: a variable of the container")
    add("--debug", action="store_true", help="show the trace of an error")
    return found


def whole(text: str) -> int:
    """A number above 0, as far as machines have so many of anything."""
    if not text.isdigit() or len(text) > 12 or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text[:24]!r} is no whole number above 0" + " that a machine has" * (len(text) > 12))
    return int(text)


def minutes(text: str) -> float:
    """A finite number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of minutes above 0")
    return value


def pair(text: str) -> tuple[str, str]:
    """NAME=VALUE."""
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value


def find_evogit() -> str:
    """Make `import evogit` work, from the checkout that this file lies in where it is not installed. "", or what to install."""
    checkout = Path(__file__).resolve().parent.parent
    has_checkout = (checkout / "evogit" / "experiment.py").is_file()
    if has_checkout:
        sys.path.insert(1, str(checkout))  # behind this script's own folder: the checkout's own version wins over an installed one
    try:
        import evogit.experiment  # noqa: F401
    except ImportError as error:
        place = str(checkout) if has_checkout else "PATH_OF_A_CHECKOUT_OF_EVOGIT"
        return f"{error}: install evogit into this Python first: {sys.executable or 'python'} -m pip install -e {place}"
    return ""


def explain_bug(kind: type[BaseException], fault: BaseException, _trace: object) -> None:
    """In place of a traceback, for what nobody foresaw. The exit code is Python's own for that: 1."""
    words = " ".join(str(fault).split())
    print(f"evogit: {kind.__name__}: {words}\n        this is a bug in evogit; --debug shows the trace", file=sys.stderr)


def main(words: list[str]) -> int:
    """Parse, run, and say in one line what went wrong. The exit code."""
    cut = words.index("--") if "--" in words else len(words)
    asked, argv = parser().parse_args(words[:cut]), words[cut + 1 :]
    if not argv:
        parser().error("no command: write it behind --, as in `run_experiment.py --backend local -- uv run train.py`")
    if asked.backend != "cloud-run" and (asked.cloud_spec or asked.cloud_dataset or asked.cloud_env):
        parser().error("--cloud-spec, --cloud-dataset and --cloud-env go with --backend cloud-run")
    if asked.backend != "ray" and asked.address:
        parser().error("--address goes with --backend ray")
    if not asked.debug:
        sys.excepthook = explain_bug
    if missing := find_evogit():
        print(f"run_experiment.py: {missing}", file=sys.stderr)
        return 2
    from evogit.errors import EvogitError
    from evogit.experiment import Wish, run

    given = {
        "address": asked.address,
        "spec": asked.cloud_spec and os.path.abspath(asked.cloud_spec),
        "dataset": asked.cloud_dataset,
        "env": dict(asked.cloud_env),
    }
    wish = Wish(
        argv=tuple(argv), backend=asked.backend, gpu=asked.gpu, cpus=asked.cpus, memory_mib=asked.memory, timeout_s=asked.timeout * 60,
        is_sandboxed=not asked.no_sandbox, is_in_place=asked.in_place, env=dict(asked.env),
        settings={**{name: value for name, value in given.items() if value}, **{name: int(value) if value.isdigit() else value for name, value in asked.option}},
    )  # fmt: skip
    try:
        return run(wish)
    except EvogitError as fault:
        print(f"evogit: {fault.message}" + (f"\n        {fault.hint}" if fault.hint else ""), file=sys.stderr)
        return fault.exit_code
    except OSError as fault:
        print(f"evogit: {fault.filename or ''}: {fault.strerror}".replace(": :", ":"), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    if hasattr(sys.stderr, "reconfigure"):
        sys.stderr.reconfigure(errors="backslashreplace")
    sys.exit(main(sys.argv[1:]))
