"""``fractureai models``: what is installed, and whether it is what the cards say."""

from __future__ import annotations

import click
from rich.console import Console
from rich.table import Table

from fractureai.bootstrap import Deployment
from fractureai.commands.lazy import Lazy, LazyGroup
from fractureai.errors import BrokenDeployment
from fractureai.settings import load_settings

_OFFLINE = {
    "calibrate": Lazy(
        "fractureai.training.evaluation_commands",
        "calibrate_command",
        "Fit probabilities and thresholds to your site's own labelled data.",
    ),
    "fit-scope": Lazy(
        "fractureai.training.evaluation_commands",
        "fit_scope_command",
        "Fit the rule that refuses pictures of no limb.",
    ),
}


@click.group(short_help="The models at hand.", cls=LazyGroup, lazy=_OFFLINE)
def models() -> None:
    """List, verify and calibrate the models in the folder of the settings (FRACTUREAI_MODELS_DIR)."""


@models.command("list", short_help="What is installed.")
def list_models() -> None:
    """Print every model with version, input size and hash of its card."""
    deployment = Deployment(load_settings())
    table = Table(title="Models", title_justify="left")
    for heading in ("name", "version", "classes", "input", "card"):
        table.add_column(heading, no_wrap=heading in {"name", "version"}, overflow="fold")
    for card, identity in deployment.models.cards():
        canvas = deployment.models.network(card.network.name)[0].input
        size = f"{canvas.width_px} × {canvas.height_px} px"
        table.add_row(card.name, card.version, ", ".join(card.classes), size, identity.card_sha256[:12])
    Console().print(table)


@models.command(short_help="Check every file against its card.")
@click.pass_context
def verify(context: click.Context) -> None:
    """Check the sha256 of every weight file. Exit code 0: all as the cards say. 3: something is not."""
    registry = Deployment(load_settings()).models
    broken = False
    for card, _ in registry.cards():
        try:
            registry.verify(card.name)
            click.echo(f"{card.name} {card.version}: as its card says")
        except BrokenDeployment as error:
            click.echo(f"{card.name} {card.version}: {error}", err=True)
            broken = True
    context.exit(3 if broken else 0)
