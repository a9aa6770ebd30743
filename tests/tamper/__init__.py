"""Tricks by which a candidate could cheat, one module a family."""

from __future__ import annotations

from tamper import change, claim, escape, harm, hidden, left, poison, report, ruler

TRICKS = [trick for family in (ruler, report, claim, change, hidden, escape, harm, left, poison) for trick in family.TRICKS]
