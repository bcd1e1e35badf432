"""Commands that are imported when they are called: `--help` must not wait for an inference engine."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import click


@dataclass(frozen=True, slots=True)
class Lazy:
    """Where a command is, and its line in the help."""

    module: str
    attribute: str
    help: str


class LazyGroup(click.Group):
    """A group whose commands, beside those added in the usual way, are named by a table."""

    def __init__(self, *args: Any, lazy: Mapping[str, Lazy], **named: Any) -> None:
        super().__init__(*args, **named)
        self._lazy = lazy

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names: the usual ones, then those of the table in its order."""
        return [*super().list_commands(ctx), *self._lazy]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the module of one command."""
        entry = self._lazy.get(cmd_name)
        if entry is None:
            return super().get_command(ctx, cmd_name)
        try:
            module = importlib.import_module(entry.module)
        except ModuleNotFoundError as error:
            if entry.module.startswith("fractureai.training") and not (error.name or "").startswith("fractureai"):
                ctx.fail(f"`{cmd_name}` needs the extra packages for training: install fractureai[train]")
            raise
        command: click.Command = getattr(module, entry.attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table without importing anything."""
        usual = [(name, self.commands[name].get_short_help_str(100)) for name in super().list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl(usual + [(name, entry.help) for name, entry in self._lazy.items()])
