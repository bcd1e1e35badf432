"""``fractureai worker``: one worker or the scheduler, in this process."""

from __future__ import annotations

import os
import sys

import click

from fractureai.bootstrap import ROLES

_SCHEDULER = "scheduler"
ROLE_NAMES = (*ROLES, _SCHEDULER)


@click.command(short_help="Start one worker, to scale by role and machine.")
@click.argument("role", type=click.Choice(ROLE_NAMES))
@click.option("--concurrency", type=click.IntRange(1, 64), default=1, show_default=True, help="Processes that work.")
@click.option("--check", is_flag=True, help="Only ask the worker of this machine or container for its health.")
def worker(role: str, concurrency: int, *, check: bool) -> None:
    """Start a worker against the queue, ledger and store of the settings (FRACTUREAI_QUEUE__URL and others).

    inference: classify and detect. reports: explain and report. intake: unpacks batches and delivers results.
    delivery: only delivers results. scheduler: feeds the queue and republishes what it has lost; of several, one acts.

    Stops on SIGTERM: running work is finished within 20 seconds or given back. Exit codes: 75: it stood still and
    must be restarted; 78: a part of it is missing, and it has taken no work; restarting does not help.
    """
    if check:
        probe = [sys.executable, "-P", "-m", "fractureai.metrics.probe"]
        os.execv(probe[0], probe)  # noqa: S606 our own interpreter
    if role == _SCHEDULER:
        from fractureai.processes import scheduler

        scheduler.run()
        return
    # Celery reads it when it is imported: SIGTERM lets running tasks end, within a time.
    os.environ["REMAP_SIGTERM"] = "SIGQUIT"
    from fractureai.processes import celery_worker

    sys.exit(celery_worker.run(role, concurrency=concurrency))
