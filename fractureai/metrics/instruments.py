"""What is counted and timed, by Prometheus' conventions. No label holds an id or a patient's data.

Labels have few values, all of our own tables: a stage, an outcome, a reason's code, a region, an address's pattern.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics

_STAGE_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 180)
_TURNAROUND_S = (0.25, 0.5, 1, 2, 5, 10, 30, 60, 300, 900, 3600, 4 * 3600, 24 * 3600)
_REQUEST_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Instruments:
    """The instruments of one process. Built once a process, before any fork.

    Parameters
    ----------
    registry:
        Where they are registered; ``None`` where many processes share their counts through files, which are collected
        from there.
    """

    def __init__(self, registry: CollectorRegistry | None) -> None:
        disable_created_metrics()  # a second series for every one, that nobody asks for

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(name, text, labels, registry=registry)

        def histogram(name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
            return Histogram(name, text, labels, buckets=buckets, registry=registry)

        self.studies_accepted = counter("fractureai_studies_accepted", "Studies that were taken responsibility for.")
        self.batches_accepted = counter("fractureai_batches_accepted", "Batches that were taken responsibility for.")
        self.studies_finished = counter(
            "fractureai_studies_finished", "Studies that became final.", "outcome", "region", "assessment"
        )
        self.failures = counter(
            "fractureai_failures", "Studies and batches that ended rejected or failed, by reason.", "outcome", "code"
        )
        self.turnaround = histogram(
            "fractureai_study_turnaround_seconds", "From a study's acceptance to its end.", _TURNAROUND_S, "outcome"
        )
        self.stage_runs = counter("fractureai_stage_runs", "Runs of a stage by what came of them.", "stage", "result")
        self.stage_duration = histogram(
            "fractureai_stage_duration_seconds", "How long a stage ran that had work to do.", _STAGE_S, "stage"
        )
        self.retries = counter(
            "fractureai_stage_retries", "Attempts that are to be repeated, by reason.", "stage", "code"
        )
        self.deliveries = counter("fractureai_deliveries", "Attempts to tell of a finished study.", "result")
        self.http_requests = counter(
            "fractureai_http_requests", "Requests by address and answer.", "method", "route", "status"
        )
        self.http_duration = histogram(
            "fractureai_http_request_duration_seconds",
            "From a request's headers to the first byte of its answer.",
            _REQUEST_S,
            "method",
            "route",
        )
