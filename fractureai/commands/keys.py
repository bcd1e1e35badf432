"""``fractureai keys``: keys for programs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from fractureai.access.keys import digest_of, new_key, new_key_id
from fractureai.bootstrap import Deployment
from fractureai.commands.operator import operator
from fractureai.commands.serve import settings_for
from fractureai.domain.access import ApiKey, Scope
from fractureai.domain.audit import Act, AuditEvent
from fractureai.domain.ports import Ledger
from fractureai.domain.study import check_site

_DAY_S = 24 * 3600.0
data_option = click.option(
    "--data", "data_dir", type=click.Path(file_okay=False, path_type=Path), help="The data folder."
)


@click.group(short_help="Keys for programs: create, list, revoke.")
def keys() -> None:
    """Keys that programs come with (“Authorization: Bearer fai_…”). Each belongs to one site."""


@keys.command()
@click.argument("name")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    required=True,
    type=click.Choice([scope.value for scope in Scope]),
    help="What it may do.",
)
@click.option("--site", help="Whose data; by default the site of the installation.")
@click.option("--new-site", is_flag=True, help="The site is a new one.")
@click.option("--days", default=365, show_default=True, type=click.IntRange(1, 3650), help="How long it is valid.")
@data_option
def create(
    name: str, scopes: tuple[str, ...], site: str | None, *, new_site: bool, days: int, data_dir: Path | None
) -> None:
    """Make a key called NAME and show it, this once.

    submit: send radiographs, give verdicts. read: see studies and results. admin: all of it, and deliveries.
    The key goes to standard output, all else to standard error.
    """
    with opened(data_dir) as deployment:
        site = known_site(deployment, site, new_site=new_site)
        now_s = deployment.clock()
        text = new_key()
        key = ApiKey(
            new_key_id(),
            site,
            printable(name),
            frozenset(Scope(scope) for scope in scopes),
            now_s,
            now_s + days * _DAY_S,
        )
        # First what was meant, then the deed: no key opens anything that the audit does not know of.
        note(deployment, Act.KEY, site, ("key", key.key_id), f"created: {' '.join(sorted(key.scopes))}, {days} days")
        deployment.ledger.add_key(key, digest_of(text))
    click.echo(f"key {key.key_id} of {site}; it is shown this once, so keep it now:", err=True)
    click.echo(text)


@keys.command(name="list")
@click.option("--site", help="Only of this site.")
@data_option
def list_(site: str | None, data_dir: Path | None) -> None:
    """All keys, the newest first: never the keys themselves, which nobody knows."""
    with opened(data_dir) as deployment:
        found = deployment.ledger.api_keys(site=site)
        now_s = deployment.clock()
    table = Table()
    for column in ("id", "name", "site", "may", "made", "valid until", "last used"):
        table.add_column(column, overflow="fold", no_wrap=column in {"id", "made", "valid until"})
    for key in found:
        until = "revoked" if key.revoked_at_s else day(key.expires_at_s) + ("" if key.valid(now_s) else " (over)")
        cells = (key.key_id, key.name, key.site, " ".join(sorted(key.scopes)), day(key.created_at_s), until)
        table.add_row(*(Text(cell) for cell in (*cells, minute(key.used_at_s))))
    Console().print(table if found else "No keys yet. Make one: fractureai keys create NAME --scope submit")


@keys.command()
@click.argument("key_id")
@data_option
def revoke(key_id: str, data_dir: Path | None) -> None:
    """Close the key with this id for good, at once and everywhere."""
    with opened(data_dir) as deployment:
        known = next((key for key in deployment.ledger.api_keys() if key.key_id == key_id), None)
        if known is None or known.revoked_at_s is not None:
            raise click.ClickException(f"no key {key_id} that is open; see fractureai keys list")
        deployment.ledger.revoke_key(key_id, now_s=deployment.clock())
        note(deployment, Act.KEY, known.site, ("key", key_id), "revoked")
    click.echo(f"key {key_id} opens nothing any more")


@contextmanager
def opened(data_dir: Path | None) -> Iterator[Deployment]:
    """The installation, for the time of one command."""
    deployment = Deployment(settings_for(data_dir, None, None))
    deployment.settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        yield deployment
    finally:
        deployment.ledger.close()


def known_site(deployment: Deployment, site: str | None, *, new_site: bool) -> str:
    """The site that is meant; a name that nobody used before must be said to be new, for it may be a slip."""
    if site is None:
        return deployment.settings.site
    try:
        check_site(site)
    except ValueError:
        raise click.BadParameter(
            "a site is written in lower-case letters, digits and hyphens", param_hint="--site"
        ) from None
    ledger: Ledger = deployment.ledger
    if not new_site and site != deployment.settings.site and site not in ledger.sites():
        known = ", ".join(ledger.sites()) or "none yet"
        raise click.BadParameter(f"no site {site} (known: {known}); a new one needs --new-site", param_hint="--site")
    return site


def note(deployment: Deployment, act: Act, site: str, subject: tuple[str, str], detail: str) -> None:
    """Write into the audit what whoever runs this command does."""
    event = AuditEvent.by(
        operator(site), act, at_s=deployment.clock(), subject_kind=subject[0], subject=subject[1], detail=detail
    )
    deployment.ledger.note(event)


def printable(text: str) -> str:
    """A name for people on one line."""
    kept = re.sub(r"\s+", " ", text).strip()
    if not kept or len(kept) > 100 or not kept.isprintable():
        raise click.BadParameter("a name has 1 to 100 printable letters", param_hint="NAME")
    return kept


def day(moment_s: float | None) -> str:
    """A moment as a day in UTC."""
    return "–" if moment_s is None else f"{datetime.fromtimestamp(moment_s, UTC):%Y-%m-%d}"


def minute(moment_s: float | None) -> str:
    """A moment to the minute in UTC."""
    return "–" if moment_s is None else f"{datetime.fromtimestamp(moment_s, UTC):%Y-%m-%d %H:%M}"
