"""Who runs a command, for the audit."""

from __future__ import annotations

import getpass

from fractureai.domain.access import Kind, Principal, Scope


def operator(site: str) -> Principal:
    """Whoever is logged in to this machine, acting at a site. The machine's word, not more."""
    try:
        name = getpass.getuser()
    except (OSError, KeyError):  # a user without a name, as in many containers
        name = "unknown"
    return Principal(Kind.OPERATOR, f"os:{name}", name, site, frozenset(Scope))
