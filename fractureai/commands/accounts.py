"""``fractureai accounts``: people with a password at this installation."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from fractureai.access.passwords import MIN_LENGTH, hash_of
from fractureai.commands.keys import data_option, day, known_site, minute, note, opened
from fractureai.domain.access import Account, Role
from fractureai.domain.audit import Act

_NAME = re.compile(r"[a-z0-9][a-z0-9._@-]{0,63}")
_ROLES = "viewer: sees studies and results. reader: also sends and gives verdicts. admin: all of it, and deliveries."


@click.group(short_help="People with a password here: add, list, password, sign-out, remove.")
def accounts() -> None:
    """People who sign in with a password of this installation.

    Where there is a provider of sign-ins (OpenID Connect), use that: it knows who has left.
    """


@accounts.command(
    help=f"Add the person NAME. The password is asked for, or is the first line of standard input.\n\n{_ROLES}"
)
@click.argument("name")
@click.option(
    "--role",
    type=click.Choice([role.value for role in Role]),
    default=Role.READER.value,
    show_default=True,
    help="What they may do.",
)
@click.option("--site", help="Whose data; by default the site of the installation.")
@click.option("--new-site", is_flag=True, help="The site is a new one.")
@data_option
def add(name: str, role: str, site: str | None, *, new_site: bool, data_dir: Path | None) -> None:
    """Add a person."""
    if not _NAME.fullmatch(name):
        raise click.BadParameter("a name has lower-case letters, digits and . _ @ -", param_hint="NAME")
    with opened(data_dir) as deployment:
        site = known_site(deployment, site, new_site=new_site)
        if deployment.ledger.account(name) is not None:
            raise click.ClickException(f"there is somebody called {name}; see fractureai accounts list")
        account = Account(name, site, Role(role), _password_for(name), deployment.clock())
        note(deployment, Act.ACCOUNT, site, ("account", name), f"added: {role}")
        deployment.ledger.add_account(account)
    click.echo(f"{name} may sign in at {site} as {role}")


@accounts.command(name="list")
@data_option
def list_(data_dir: Path | None) -> None:
    """All people with a password here."""
    with opened(data_dir) as deployment:
        found = deployment.ledger.accounts()
    table = Table("name", "site", "role", "added", "last signed in")
    for account in found:
        cells = (account.name, account.site, account.role.value, day(account.created_at_s))
        table.add_row(*(Text(cell) for cell in (*cells, minute(account.signed_in_at_s))))
    Console().print(table if found else "Nobody yet. Add somebody: fractureai accounts add NAME")


@accounts.command()
@click.argument("name")
@data_option
def password(name: str, data_dir: Path | None) -> None:
    """Give NAME another password, and sign them out everywhere."""
    with opened(data_dir) as deployment:
        account = _account(deployment.ledger.account(name), name)
        deployment.ledger.set_password(name, _password_for(name))
        ended = deployment.ledger.end_sessions(account.principal.ident)
        note(deployment, Act.ACCOUNT, account.site, ("account", name), f"password changed, {ended} sign-ins ended")
    click.echo(f"{name} has another password; {ended} sign-ins ended")


@accounts.command()
@click.argument("name")
@data_option
def remove(name: str, data_dir: Path | None) -> None:
    """Remove NAME, and sign them out everywhere. What they did stays in the audit."""
    with opened(data_dir) as deployment:
        account = _account(deployment.ledger.account(name), name)
        deployment.ledger.remove_account(name)
        ended = deployment.ledger.end_sessions(account.principal.ident)
        note(deployment, Act.ACCOUNT, account.site, ("account", name), f"removed, {ended} sign-ins ended")
    click.echo(f"{name} may not sign in any more; {ended} sign-ins ended")


@accounts.command(name="sign-out")
@click.argument("ident")
@data_option
def sign_out(ident: str, data_dir: Path | None) -> None:
    """Sign a person out everywhere: NAME, or oidc:SUBJECT for somebody from the provider, as the audit writes it."""
    ident = ident if ":" in ident else f"account:{ident}"
    with opened(data_dir) as deployment:
        ended = deployment.ledger.end_sessions(ident)
        note(deployment, Act.ACCOUNT, deployment.settings.site, ("account", ident), f"{ended} sign-ins ended")
    click.echo(f"{ended} sign-ins ended")


def _account(found: Account | None, name: str) -> Account:
    if found is None:
        raise click.ClickException(f"nobody is called {name}; see fractureai accounts list")
    return found


def _password_for(name: str) -> str:
    """Ask for a password, or read it from a pipe; never from the command line, where others could see it."""
    if sys.stdin.isatty():
        given = click.prompt(
            f"Password for {name} (at least {MIN_LENGTH} letters)", hide_input=True, confirmation_prompt=True
        )
    else:
        given = sys.stdin.readline().rstrip("\r\n")
    try:
        return hash_of(given, account=name)
    except ValueError as error:
        raise click.ClickException(str(error)) from error
