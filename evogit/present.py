"""Nouns as people and programs read them: JSON objects, numbers, rows of results.tsv.

Pure. It prints nothing, knows no terminal, colour or width, and decides nothing: what is better is asked of `Metric`.
Hashes are shortened here and nowhere else; text that came from candidates loses its control characters here.
"""

from __future__ import annotations

import json
import math
import statistics
import sys
import unicodedata
from collections.abc import Iterable, Sequence

import msgspec

from evogit.domain.assignment import Task
from evogit.domain.control import Control
from evogit.domain.event import Controlled
from evogit.domain.metric import Metric
from evogit.domain.plan import Forecast
from evogit.domain.report import RunDetail, Status
from evogit.domain.run import Run
from evogit.domain.verdict import Verdict

SHORT = 8  # hex digits that people see of a hash
TSV_SHORT = 7  # what notebooks that read results.tsv expect
SCIENTIFIC = -1  # as a number of places: "1.234e-06"
MOST_PLACES = 10


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """A run's primary metric beside its parent's and beside the incumbent that it had to beat."""

    value: float | None  # mean over seeds, None if it was not measured
    spread: float  # sample standard deviation over seeds, 0.0 for one reading
    readings: int
    to_parent: float | None  # value minus the first parent's, metric's unit
    to_incumbent: float | None  # value minus that of the incumbent before this decision
    trend: int  # against the incumbent: 1 better, -1 worse, 0 neither or unknown


# Words and numbers


def short(commit: str, digits: int = SHORT) -> str:
    """A hash for people; anything that is not a full hash (a label, a tag) comes back whole."""
    return commit[:digits] if len(commit) in (40, 64) else commit


def clean(text: str) -> str:
    """One line of `text` that is safe on a terminal: runs of white space are one blank, control and format characters are gone."""
    if not (text.isascii() and text.isprintable()):
        text = "".join(" " if c.isspace() else "" if _is_control(c) else c for c in text)
    return " ".join(text.split())


def clean_lines(text: str) -> list[str]:
    """`text` as lines that are safe on a terminal; tabs become four blanks, so widths are known."""
    return ["".join(c for c in line.expandtabs(4) if not _is_control(c)) for line in text.split("\n")]


def _is_control(character: str) -> bool:
    return unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp")


def claim(run: Run) -> str:
    """What a kept run's gain is worth: certified on fresh seeds, judged (also not kept), provisional by several seeds, or unconfirmed; else ""."""
    if run.judgements and not (run.is_kept and run.certified):
        return "judged"
    if not run.is_kept or run.generation == 0:
        return ""
    if run.certified:
        return "certified"
    return "provisional" if max(map(len, run.readings.values()), default=0) > 1 else "unconfirmed"


def std(values: Sequence[float]) -> float:
    """Sample standard deviation, 0.0 for fewer than two values. Finite for finite values: a candidate may report 1e308."""
    if len(values) < 2:
        return 0.0
    scale = max(map(abs, values))
    if scale < 1e150:
        return statistics.stdev(values)
    return min(statistics.stdev([v / scale for v in values]) * scale, sys.float_info.max)


def pooled_std(groups: Iterable[Sequence[float]]) -> float:
    """One standard deviation within groups of readings whose means differ; 0.0 where no group has two."""
    found = [(std(group), len(group) - 1) for group in groups if len(group) > 1]
    freedom = sum(f for _, f in found)
    return math.hypot(*(s * math.sqrt(f / freedom) for s, f in found)) if freedom else 0.0


def noise_floor(spread: float, mine: int, theirs: int) -> float:
    """The difference of two means of `mine` and `theirs` readings that chance alone stays below in 95 % of cases; 0.0 where nothing is known.

    spread: one standard deviation of one reading, the metric's unit.
    """
    return 1.96 * spread * math.sqrt(1 / mine + 1 / theirs) if spread > 0 and mine and theirs else 0.0


def age(seconds: float) -> str:
    """How long ago, in three or four letters: "now", "42s", "7m", "5h", "3d", "8w"."""
    if seconds < 5:
        return "now"
    for unit, size_s, most in (("s", 1, 60), ("m", 60, 60), ("h", 3600, 48), ("d", 86400, 14)):
        if seconds < most * size_s:
            return f"{int(seconds // size_s)}{unit}"
    return f"{int(seconds // (7 * 86400))}w"


def places(values: Iterable[float], spreads: Iterable[float] = ()) -> int:
    """Decimal places that suit a column: two significant digits of the usual spread, else four of the usual value.

    Whole numbers get none. SCIENTIFIC where the usual value is under 1e-4 or so large that places say nothing.
    """
    sizes = [abs(float(v)) for v in values if math.isfinite(v) and v != 0.0]
    if not sizes:
        return 3
    usual = statistics.median_low(sizes)
    spread = [s for s in spreads if math.isfinite(s) and s > 0.0]
    if not spread and all(s.is_integer() for s in sizes) and max(sizes) < 1e15:
        return 0
    if usual < 1e-4 or usual >= 1e9:
        return SCIENTIFIC
    magnitude = math.floor(math.log10(usual))
    wanted = 1 - math.floor(math.log10(statistics.median_high(spread))) if spread else 3 - magnitude
    return max(0, min(wanted, 5 - magnitude, MOST_PLACES))


def number(value: float | None, digits: int | None = None) -> str:
    """A number with `digits` places (found from itself if None); a missing one is "-"."""
    if value is None or not math.isfinite(value):
        return "-"
    digits = places([value]) if digits is None else digits
    return f"{value:.3e}" if digits == SCIENTIFIC else f"{value:.{digits}f}"


def delta(value: float | None, digits: int | None = None) -> str:
    """A difference with its sign; one that rounds to nothing has none."""
    if value is None or not math.isfinite(value):
        return "-"
    digits = places([value]) if digits is None else digits
    text = f"{value:+.2e}" if digits == SCIENTIFIC else f"{value:+.{digits}f}"
    return text if float(text) != 0.0 else text[1:]


def duration(seconds: float) -> str:
    """Seconds as people say them: "0.4 s", "42 s", "3 min 20 s", "5 h 02 min"."""
    if seconds < 10:
        return f"{max(seconds, 0.0):.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def size(count: int) -> str:
    """Bytes as people say them, in powers of 1024."""
    amount = float(count)
    for unit in ("B", "KiB", "MiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} GiB"


def dollars(usd: float, unpriced: int = 0) -> str:
    """Dollars for people, never more certain than they are: "$1.23", "$0.0042", "at least $1.23, and 4 calls of unknown price"."""
    known = f"${usd:.2f}" if usd >= 1 or usd == 0 else f"${usd:.4f}" if usd >= 0.0001 else f"${usd:.2g}"
    if not unpriced:
        return known
    unknown = f"{plural(unpriced, 'call')} of unknown price"
    return f"at least {known}, and {unknown}" if usd else unknown


def plural(count: int, noun: str) -> str:
    """ "1 run", "2 runs"."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


# Objects that programs read: stable, a change of a key is a major version


def log_object(run: Run) -> dict[str, object]:
    """The object of `evogit log --json`: every command that lists runs prints it, with the keys in this order."""
    select = [t for t in run.trials if t.purpose == "select"]
    return {
        "run": run.label,
        "commit": run.commit,
        "parents": list(run.parents),
        "campaign": run.campaign,
        "generation": run.generation,
        "verdict": run.verdict.value,
        "judged": run.judged or None,
        "certified": run.certified,
        "emitter": run.emitter,
        "agent": run.agent,
        "change": run.change,
        "summary": run.summary,
        "hypothesis": run.hypothesis,
        "niche": run.niche,
        "metrics": {name: _metric_object(values) for name, values in run.readings.items() if any(map(math.isfinite, values))},
        "arm": next((t.arm for t in select if t.arm), None),
        "seeds": list(dict.fromkeys(t.seed for t in select)),
        "seconds": run.seconds,
        "cost_usd": run.total_usd,
        "crash": run.crash or None,
        "started": run.started,
        "reported": run.reported or None,
        "sandbox": list(run.sandboxes),
        "flags": list(run.flags),
    }


def _metric_object(values: Sequence[float]) -> dict[str, object]:
    finite = [v for v in values if math.isfinite(v)]
    return {"mean": _mean(finite), "std": std(finite), "n": len(finite), "values": finite}


def _mean(values: Sequence[float]) -> float:
    """Finite for finite values, the largest there are included: dividing first may round a hair too high."""
    total = sum(values)
    if math.isfinite(total):
        return total / len(values)
    return min(max(sum(v / len(values) for v in values), -sys.float_info.max), sys.float_info.max)


def detail_object(detail: RunDetail) -> dict[str, object]:
    """The object of `evogit show --json`: log_object plus plan, diff, trials, review (the newest) and files."""
    return {
        **log_object(detail.run),
        "plan": detail.plan,
        "diff": detail.diff,
        "trials": [msgspec.to_builtins(t) for t in (*detail.run.trials, *detail.extra_trials)],
        "review": msgspec.to_builtins(detail.reviews[-1]) if detail.reviews else None,
        "files": dict(detail.files),
    }


def status_object(status: Status) -> dict[str, object]:
    """The object of `evogit status --json`: the fields of `Status`, its runs as log_object, of a warning what is said."""
    plain: dict[str, object] = {
        "baseline": log_object(status.baseline) if status.baseline else None,
        "incumbent": log_object(status.incumbent) if status.incumbent else None,
        "warnings": [{"kind": w.kind, "message": w.message, "hint": w.hint} for w in status.warnings],
    }
    plain |= {name: msgspec.to_builtins(getattr(status, name)) for name in status.__struct_fields__ if name not in plain}
    return {name: plain[name] for name in status.__struct_fields__}


def control_object(sent: Control, answer: Controlled | None) -> dict[str, object]:
    """The object of `evogit pause --json` and its like: the message, and what the loop said came of it; null where it has not said so yet."""
    said = {name: value for name, value in msgspec.structs.asdict(sent).items() if name != "loop"}
    return {**said, "result": answer.result if answer else None, "is_done": answer.is_done if answer else None}


def task_object(task: Task) -> dict[str, object]:
    """The object of `evogit next --json`: the plan in plain words, what to start from, and the briefing as text."""
    plan, waits = task.assignment.plan, task.assignment
    named = ("emitter", "instruction", "niche", "change", "policy", "chance", "propensity", "idea", "replicate", "merge")
    return {
        "campaign": waits.campaign,
        "problem": task.problem,
        "folder": task.folder,
        "metric": task.metric.name,
        **{name: getattr(plan, name) for name in named},
        "forecast": msgspec.to_builtins(plan.forecast),
        "parents": [run.label for run in task.parents],
        "start": waits.start,
        "files": list(task.files),
        "restore": list(task.restore),
        "packet": task.packet,
    }


def task_rows(task: Task) -> list[tuple[str, str]]:
    """An assignment in short: what each row is, and its text, the commands that begin and end the work among them."""
    plan, name, tag = task.assignment.plan, task.metric.name, task.assignment.campaign
    found = [
        ("campaign", tag),
        ("emitter", plan.emitter),
        ("from", " and ".join(f"run {r.label} ({name} {number(r.mean(name))}: {clean(r.summary)})" for r in task.parents)),
        ("try", clean(plan.instruction)),
    ]
    if plan.forecast:
        found.append(("forecast", f"{name} {number(plan.forecast.mean)} +- {number(plan.forecast.spread)}"))
    if not plan.replicate:
        where = f"in {task.folder}: " if task.folder and task.restore else ""
        found.append(("begin", where + (" && ".join(task.restore) or "your files are those of the start already")))
        found.append(("edit", ", ".join(task.files[:12]) + (" ..." if len(task.files) > 12 else "")))
    return [*found, ("then", f'evogit submit --tag {tag} -m "what you changed" --hypothesis "why"')]


def forecast_of(text: str) -> Forecast | None:
    """`0.095+-0.004` as a forecast; None if that is none: two finite numbers, the spread above 0."""
    mean, _, spread = text.replace("+/-", "+-").replace("\u00b1", "+-").partition("+-")
    try:
        said = Forecast(mean=float(mean), spread=float(spread))
    except ValueError:
        return None
    return said if math.isfinite(said.mean) and math.isfinite(said.spread) and said.spread > 0 else None


def json_line(value: object) -> str:
    """`value` (builtins or a struct) as one line of ASCII JSON, so that it survives every locale. Raises ValueError on NaN."""
    return json.dumps(value if isinstance(value, dict) else msgspec.to_builtins(value), allow_nan=False, separators=(", ", ": "))


# Comparison along a history


def standings(runs: Iterable[Run], metric: Metric) -> dict[str, Standing]:
    """Commit -> where the run stood when it was decided. Give whole campaigns: what is not among `runs` is not compared with."""
    ordered = sorted(runs, key=lambda r: (r.campaign, r.seq))
    known = {r.commit: r for r in ordered}
    found: dict[str, Standing] = {}
    previous: Run | None = None
    for run in ordered:
        after = previous.incumbent if previous and previous.campaign == run.campaign else ""
        before = known.get(run.rival or after)  # people and joined books move the incumbent between two decisions
        found[run.commit] = _standing(run, known.get(run.parents[0]) if run.parents else None, before, metric)
        previous = run
    return found


def _standing(run: Run, parent: Run | None, incumbent: Run | None, metric: Metric) -> Standing:
    readings = run.readings.get(metric.name, ())
    over = _difference(run, incumbent, metric.name)
    gain = metric.gain(over, 0.0) if over is not None else 0.0
    return Standing(
        value=run.mean(metric.name),
        spread=std(readings),
        readings=len(readings),
        to_parent=_difference(run, parent, metric.name),
        to_incumbent=over,
        trend=(gain > 0) - (gain < 0),
    )


def _difference(run: Run, other: Run | None, name: str) -> float | None:
    if other is None or other.epoch != run.epoch:
        return None
    mine, theirs = run.mean(name), other.mean(name)
    return None if mine is None or theirs is None else mine - theirs


# results.tsv


def tsv(runs: Iterable[Run], metric: Metric) -> str:
    """results.tsv: a header and a row a run that ran. What a gate rejected never ran and has no row."""
    head = ["commit", metric.name, "memory_gb", "status", "description", "run", "emitter", "parents", "seeds"]
    rows = [tsv_row(run, metric) for run in runs if run.verdict is not Verdict.REJECT]
    return "".join("\t".join(row) + "\n" for row in [head, *rows])


def tsv_row(run: Run, metric: Metric) -> list[str]:
    """The cells of one run, tabs and line ends taken out. A crash is 0.000000 and 0.0: existing notebooks filter on it."""
    mean = run.mean(metric.name)
    has_number = mean is not None and run.verdict is not Verdict.CRASH
    memory_mib = max((t.peak_rss_mib for t in run.trials), default=0) if has_number else 0
    seeds = dict.fromkeys(t.seed for t in run.trials if t.purpose == "select")
    return [
        short(run.commit, TSV_SHORT),
        f"{mean if has_number else 0.0:.6f}",
        f"{memory_mib / 1024:.1f}",
        run.verdict.value,
        clean(run.summary),
        run.label,
        run.emitter,
        ",".join(short(p, TSV_SHORT) for p in run.parents),
        ",".join(map(str, seeds)),
    ]
