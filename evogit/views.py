"""Views of a campaign for people and older tools: results.tsv and the event log. Derived, and rebuilt when they are gone."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote

import msgspec

from evogit import present
from evogit.domain.event import Event
from evogit.domain.run import Run
from evogit.domain.verdict import Verdict
from evogit.git import checkout, refs
from evogit.git.campaign import Campaign
from evogit.git.repository import Repository

NAME = "results.tsv"


def folder(repo: Repository, tag: str) -> Path:
    """Where a campaign's views are, in the git directory. Made on first use."""
    path = repo.home / "views" / quote(tag, safe="")
    path.mkdir(parents=True, exist_ok=True)
    return path


def append(repo: Repository, campaign: Campaign, run: Run) -> None:
    """One more line; the copies beside the problem follow. O(1)."""
    path = folder(repo, campaign.tag) / NAME
    metric = campaign.problem.primary
    if not path.exists():
        rebuild(repo, campaign)
    elif run.verdict is not Verdict.REJECT:  # what never ran has no row
        row = "\t".join(present.tsv_row(run, metric)) + "\n"
        for target in [path, *_copies(repo, campaign)]:
            with target.open("a", encoding="utf-8") as file:
                file.write(row)


def rebuild(repo: Repository, campaign: Campaign) -> None:
    """Write the view anew from history, and its copies where the branch is checked out. O(runs)."""
    text = present.tsv(campaign.history.runs, campaign.problem.primary)
    _replace(folder(repo, campaign.tag) / NAME, text)
    for place in checkout.view_paths(repo, refs.branch(campaign.tag)):
        target = place / campaign.problem.folder / NAME
        if target.parent.is_dir() and (not target.exists() or _is_ours(target, text)):
            _exclude(repo, f"/{campaign.problem.folder}/{NAME}" if campaign.problem.folder else f"/{NAME}")
            _replace(target, text)


def log(repo: Repository, tag: str, event: Event) -> None:
    """One line of the event log: what other processes follow."""
    with (folder(repo, tag) / "events.jsonl").open("ab") as file:
        file.write(msgspec.json.encode(event) + b"\n")


def _copies(repo: Repository, campaign: Campaign) -> list[Path]:
    header = present.tsv([], campaign.problem.primary)
    places = [p / campaign.problem.folder / NAME for p in checkout.view_paths(repo, refs.branch(campaign.tag))]
    return [p for p in places if p.is_file() and _is_ours(p, header)]


def _is_ours(path: Path, text: str) -> bool:
    """A file whose header is the one we write, untracked. Anything else is somebody's own and stays as it is."""
    try:
        with path.open(encoding="utf-8") as file:
            return file.readline().rstrip("\n") == text.partition("\n")[0]
    except (OSError, UnicodeDecodeError):
        return False


def _exclude(repo: Repository, pattern: str) -> None:
    path = repo.common / "info" / "exclude"
    path.parent.mkdir(exist_ok=True)
    known = path.read_text(encoding="utf-8") if path.exists() else ""
    if pattern not in known.splitlines():
        with path.open("a", encoding="utf-8") as file:
            file.write(("" if not known or known.endswith("\n") else "\n") + pattern + "\n")


def _replace(path: Path, text: str) -> None:
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(text, encoding="utf-8")
    os.replace(draft, path)
