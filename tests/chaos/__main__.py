"""``python -m tests.chaos``: break the service at random, again and again, and prove that it keeps its promises."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import replace
from pathlib import Path

import click

from tests.chaos.run import Order, Outcome, run


@click.command()
@click.option("--seed", type=int, help="Repeat the faults of a run; by default a new seed.")
@click.option("--runs", type=click.IntRange(1), default=1, show_default=True, help="With following seeds.")
@click.option("--studies", type=click.IntRange(1), default=1000, show_default=True)
@click.option("--store", "kind", type=click.Choice(["s3", "local"]), default="s3", show_default=True,
              help="s3 with PostgreSQL, or a local folder with SQLite.")  # fmt: skip
@click.option("--over", "over_s", type=float, default=240.0, show_default=True, help="Seconds of sending and faults.")
@click.option("--json", "target", type=click.Path(dir_okay=False, path_type=Path), help="Append each outcome here.")
@click.option("--logs", type=click.Path(file_okay=False, path_type=Path), help="Keep the processes' logs here.")
def main(
    seed: int | None, runs: int, studies: int, kind: str, over_s: float, target: Path | None, logs: Path | None
) -> None:
    """Exit code 1 if a promise was broken."""
    first = seed if seed is not None else int(time.time()) % 1_000_000
    broken = False
    for number in range(runs):
        order = Order(seed=first + number, studies=studies, kind=kind, over_s=over_s)  # type: ignore[arg-type]
        if logs:
            order = replace(order, keep_logs=logs / str(order.seed))
        click.echo(f"seed {order.seed}: {studies} studies, {kind}")
        outcome = run(order, lambda text: click.echo(f"  {text}"))
        _tell(outcome)
        if target:
            with target.open("a") as file:
                file.write(json.dumps(outcome.to_json()) + "\n")
        broken = broken or not outcome.ok
    sys.exit(int(broken))


def _tell(outcome: Outcome) -> None:
    verdict = outcome.verdict
    counts = ", ".join(f"{count} {state}" for state, count in sorted(verdict.outcomes.items()))
    click.echo(
        f"  accepted {verdict.accepted}: {counts}; {len(verdict.wrong)} broken promises, {len(verdict.leftovers)} "
        f"leftovers; finished {outcome.recovered_s:.0f} s after the last fault; the sender tried again "
        f"{outcome.sender_retries} times"
    )
    for sentence in verdict.wrong[:20]:
        click.echo(f"    {sentence}")


if __name__ == "__main__":
    main()
