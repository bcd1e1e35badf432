"""``python -m fractureai``: the command line, for processes that start one another."""

from __future__ import annotations

from fractureai.cli import main

main()
