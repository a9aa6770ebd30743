"""`python -m evogit.cli`: the command line where no console script is installed."""

from __future__ import annotations

from evogit.cli import main

main()
