"""``fractureai pseudonyms``: whose a pseudonym is, where the site's book and key are."""

from __future__ import annotations

import click

from fractureai.errors import BrokenDeployment
from fractureai.settings import load_settings


@click.command(short_help="Whose a pseudonym is.")
@click.argument("wanted", metavar="PSEUDONYM|ORIGINAL", nargs=-1)
@click.pass_context
def pseudonyms(context: click.Context, wanted: tuple[str, ...]) -> None:
    """Look up pseudonyms, or originals, in the site's book; without any, print it all.

    Needs the settings of the service (FRACTUREAI_DEIDENTIFY__KEY_FILE, …) and the right to read key and book.
    Exit code 0: found. 1: not found. 3: there is no book, or it was written with another key.
    """
    from fractureai.storage.pseudonym_book import FileBook

    settings = load_settings()
    chosen = settings.deidentify
    if chosen.key_file is None or chosen.book == "none":
        raise BrokenDeployment("no book of pseudonyms is kept: see docs/deidentification.md")
    file = chosen.book_file or settings.data_dir / "pseudonyms.book"
    book = FileBook(file, chosen.key_file.read_bytes() if chosen.book == "encrypted" else None)
    found = 0
    for entry in dict.fromkeys(book.entries()):
        if not wanted or {entry[2], entry[3]} & set(wanted):
            click.echo("\t".join((entry[3], entry[2], entry[1], entry[0])))
            found += 1
    context.exit(0 if found else 1)
