"""What a training script's source tells without running it: options, local imports, and the metrics it prints.

Syntax only, a heuristic for `evogit init` and nothing else: it may miss a metric, and it never decides one.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from pathlib import Path

import msgspec

_SIZE_MAX = 1 << 20  # bytes; longer files are not scripts that people wrote
_COSTS = re.compile(
    r"loss|err|bpb|bpc|ppl|perplex|mse|mae|rmse|nll|entropy|cer\b|wer\b|latency|time|second|_ms$|_s$|param|bytes|memory|flops|fid\b|size|regret|distance"
)
_GAINS = re.compile(
    r"acc|f1|auc|score|reward|return|bleu|rouge|precision|recall|\bmap\b|iou|dice|r2|psnr|ssim|throughput|pass@|win|reward|top1|top5"
)
_HELD = re.compile(r"^(?:val|valid|validation|dev|test|eval|held)")
_LABEL = re.compile(
    r"(?:^|[\s|,;(\[])(?P<metric>METRIC\s+)?"
    r"(?P<name>(?:(?:train|val|valid|validation|dev|test|eval)[ -])?[A-Za-z][\w/@.-]{0,63})(?P<mark>\s*[:=])?\s*$"
)
_NAME = re.compile(r"[A-Za-z][\w/@.-]{0,63}")
_QUALITY = re.compile(r"loss|err|bp[bc]|ppl|perplex|mse|mae|nll|cer\b|wer\b|fid\b")
_SEED_NAMES = ("EVOGIT_SEED", "AUTORESEARCH_SEED")


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """What was found in one script."""

    readable: tuple[str, ...] = ()  # metric-like names written where evogit reads them: JSON, METRIC, behind ---
    printed: tuple[str, ...] = ()  # metric-like names printed in other words
    flags: tuple[str, ...] = ()  # long options, without the dashes
    imports: tuple[str, ...] = ()  # modules, dotted
    is_script: bool = False  # has a __main__ guard
    reads_seed: bool = False
    needs_gpu: bool = False
    broken: str = ""  # why it does not parse


def look(path: Path) -> Source:
    """Read one Python file. A file that cannot be read or parsed gives a `Source` that says so."""
    try:
        if path.stat().st_size > _SIZE_MAX:
            return Source(broken="larger than 1 MiB")
        text = path.read_bytes().decode("utf-8", "replace")
        tree = ast.parse(text)
    except OSError as error:
        return Source(broken=error.strerror or "cannot be read")
    except SyntaxError as error:
        return Source(broken=f"line {error.lineno}: {error.msg}")
    except (ValueError, RecursionError, MemoryError):
        return Source(broken="nested too deeply, or not text")
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    readable, marked, worded = _labels(calls)
    readable += _keys(tree, calls)
    if "---" in text and any(_is_rule(call) for call in calls):
        readable, marked = readable + marked, []
    return Source(
        readable=_metric_like(readable),
        printed=_metric_like(marked + worded),
        flags=tuple(dict.fromkeys(flag for call in calls for flag in _flags(call))),
        imports=tuple(dict.fromkeys(_imports(tree))),
        is_script="__main__" in text,
        reads_seed=any(name in text for name in _SEED_NAMES),
        needs_gpu="cuda" in text and "is_available" not in text and "cpu" not in text,
    )


def is_cost(name: str) -> bool:
    """True if less of it is better, judged by its name."""
    low = name.lower()
    return _COSTS.search(low) is not None and not re.search(r"acc|f1|auc|score|reward", low)


def is_quality(name: str) -> bool:
    """True if the name speaks of how good a model is, not of what it costs."""
    low = name.lower()
    return _QUALITY.search(low) is not None or _GAINS.search(low) is not None


def rank(names: Iterable[str]) -> list[str]:
    """Names from the likeliest primary metric down: held-out before training, losses and scores before costs."""

    def key(name: str) -> tuple[bool, bool, bool]:
        low = name.lower()
        return (not is_quality(name), low.startswith("train"), not (_HELD.match(low) or low == "score"))

    ordered = sorted(dict.fromkeys(names), key=key)
    return [name for name in ordered if not name.lower().startswith("train")] or ordered


def _metric_like(names: Iterable[str]) -> tuple[str, ...]:
    known = (name for name in names if _NAME.fullmatch(name) and (_COSTS.search(name.lower()) or _GAINS.search(name.lower())))
    return tuple(dict.fromkeys(known))


def _labels(calls: list[ast.Call]) -> tuple[list[str], list[str], list[str]]:
    """Names right before a value in printed text: behind METRIC, as `name:` or `name=`, and in other words ("val loss 0.1")."""
    found: tuple[list[str], list[str], list[str]] = ([], [], [])
    for call in calls:
        if _called(call) not in ("print", "write", "info", "echo", "log"):
            continue
        for text in (text for argument in call.args for text in _before_values(argument)):
            label = _LABEL.search(text)
            if label:
                name = label["name"]
                kind = 0 if label["metric"] else 1 if label["mark"] and " " not in name else 2
                found[kind].append(name.replace(" ", "_"))
    return found


def _before_values(node: ast.AST) -> list[str]:
    """The constant text before each value of an f-string, a % or .format string, or a plain `print("name:", value)`."""
    if isinstance(node, ast.JoinedStr):
        pieces = zip(node.values, node.values[1:])
        return [str(a.value) for a, b in pieces if isinstance(a, ast.Constant) and isinstance(b, ast.FormattedValue)]
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod):
        return (
            _before_values(node.left)
            if not isinstance(node.left, ast.Constant)
            else re.split(r"%[-+ #0-9.]*[a-zA-Z]", str(node.left.value))
        )
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "format":
        return re.split(r"\{[^{}]*\}", str(getattr(node.func.value, "value", "")))
    return [node.value] if isinstance(node, ast.Constant) and isinstance(node.value, str) else []


def _keys(tree: ast.AST, calls: list[ast.Call]) -> list[str]:
    """Keys of the dicts that go through json.dump or json.dumps, named dicts followed to where they are filled."""
    found: list[str] = []
    names: set[str] = set()
    for call in calls:
        if _called(call) in ("dump", "dumps", "report_results") and (call.args or call.keywords):
            for argument in [*call.args[:1], *(k.value for k in call.keywords)]:
                found += _dict_keys(argument)
                names |= {argument.id} if isinstance(argument, ast.Name) else set()
    for node in ast.walk(tree):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        for target in targets:
            if isinstance(target, ast.Name) and target.id in names and node.value is not None:
                found += _dict_keys(node.value)
            elif isinstance(target, ast.Subscript) and isinstance(target.value, ast.Name) and target.value.id in names:
                key = target.slice
                found += [key.value] if isinstance(key, ast.Constant) and isinstance(key.value, str) else []
    return found


def _dict_keys(node: ast.AST) -> list[str]:
    """Keys of a dict literal or dict(...) call, and those of a dict under "metrics"."""
    if isinstance(node, ast.Call) and _called(node) == "dict":
        return [keyword.arg for keyword in node.keywords if keyword.arg]
    if not isinstance(node, ast.Dict):
        return []
    found: list[str] = []
    for key, value in zip(node.keys, node.values):
        if isinstance(key, ast.Constant) and isinstance(key.value, str):
            found += _dict_keys(value) if key.value == "metrics" else [key.value]
    return found


def _flags(call: ast.Call) -> list[str]:
    if _called(call) not in ("add_argument", "option"):
        return []
    words = [argument.value for argument in call.args if isinstance(argument, ast.Constant) and isinstance(argument.value, str)]
    return [flag.lstrip("-") for word in words for flag in word.split("/") if flag.startswith("--")]


def _imports(tree: ast.AST) -> list[str]:
    found: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level <= 1:
            base = node.module or ""
            found += [base] if base else []
            found += [f"{base}.{alias.name}" if base else alias.name for alias in node.names]
    return found


def _called(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else call.func.id if isinstance(call.func, ast.Name) else ""


def _is_rule(call: ast.Call) -> bool:
    return _called(call) in ("print", "write", "echo") and any(
        isinstance(a, ast.Constant) and str(a.value).strip() == "---" for a in call.args
    )
