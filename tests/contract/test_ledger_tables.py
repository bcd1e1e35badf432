"""The ledger's tables: migrations up and down, and that nothing asked of them reads all that ever was."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import event, inspect, text

from fractureai.domain.ports import Ledger
from fractureai.domain.reasons import Reason
from fractureai.domain.records import Priority, StudyFilter, WorklistOrder
from fractureai.domain.study import Assessment, Stage, WorkState
from fractureai.storage.ledger import migrate
from fractureai.storage.ledger.connections import Connections
from fractureai.storage.ledger.schema import BATCHES, EVENTS, HEAD, IMAGES, METADATA, STUDIES
from fractureai.storage.ledger.sql import SqlLedger

_STUDIES = 100_000
_BATCH = 1000
_OPEN_EVERY = 100
_LISTS = [(stage, priority) for stage in Stage for priority in Priority]
_OF_A_SUBQUERY = ("SCAN chosen", "SCAN few", "SCAN anon_1")


@pytest.fixture
def connections(ledger_url: str) -> Iterator[Connections]:
    connections = Connections(ledger_url)
    yield connections
    connections.close()


def test_the_head_we_name_is_the_last_migration() -> None:
    assert ScriptDirectory(str(migrate._MIGRATIONS)).get_heads() == [HEAD]


def test_migrations_make_the_tables_the_code_speaks_of(connections: Connections) -> None:
    migrate.upgrade(connections)
    migrate.upgrade(connections)
    with connections.read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), METADATA) == []


def test_down_and_up_again(connections: Connections) -> None:
    migrate.upgrade(connections)
    migrate.downgrade(connections, "base")
    with connections.read() as connection:
        assert set(inspect(connection).get_table_names()) == {"alembic_version"}
    migrate.upgrade(connections)
    with connections.read() as connection:
        assert set(METADATA.tables) < set(inspect(connection).get_table_names())


def test_a_migration_that_fails_half_way_leaves_nothing(
    connections: Connections, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("alembic.op.create_index", lambda *_args, **_kwargs: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        migrate.upgrade(connections)
    monkeypatch.undo()
    with connections.read() as connection:
        assert inspect(connection).get_table_names() == []
    migrate.upgrade(connections)


@pytest.fixture
def full_ledger(ledger: SqlLedger) -> SqlLedger:
    """100,000 studies in 100 batches, one in a hundred open, two events each."""
    batches = [uuid.UUID(int=number).hex for number in range(_STUDIES // _BATCH)]
    ids = [uuid.UUID(int=number * 7919).hex for number in range(_STUDIES)]
    with ledger._connections.write(durable=False) as connection:
        connection.execute(BATCHES.insert(), [_batch(number, batch_id) for number, batch_id in enumerate(batches)])
        connection.execute(
            STUDIES.insert(),
            [_study(number, study_id, batches[number // _BATCH]) for number, study_id in enumerate(ids)],
        )
        image = {"number": 1, "file_name": "a", "size_bytes": 1, "sha256": "0" * 64}
        connection.execute(IMAGES.insert(), [{"study_id": study_id, **image} for study_id in ids[::_OPEN_EVERY]])
        connection.execute(
            EVENTS.insert(),
            [
                {"study_id": study_id, "at_s": 1.0, "what": what, "detail": ""}
                for study_id in ids[::10]
                for what in ("classify", "done")
            ],
        )
    return ledger


def _batch(number: int, batch_id: str) -> dict[str, object]:
    state = "open" if number % 50 == 0 else "done"
    times = {"accepted_at_s": 1.0 * number, "publish_due_at_s": 1.0 * number, "updated_at_s": 1.0}
    counts = {"upload_count": 1, "attempts": 0}
    return {"batch_id": batch_id, "site": "main", "label": "", "state": state, "reasons": "[]", **times, **counts}


def _study(number: int, study_id: str, batch_id: str) -> dict[str, object]:
    state, stage = ("open", "detect") if number % _OPEN_EVERY == 0 else ("done", None)
    times = {"accepted_at_s": 1.0 * number, "publish_due_at_s": 1.0 * number, "updated_at_s": 1.0}
    where = {"study_id": study_id, "site": "main", "batch_id": batch_id, "state": state, "stage": stage}
    return {**where, "label": "", "image_count": 1, "attempts": 0, "reasons": "[]", **times}


def _uses(ledger: Ledger) -> list[Callable[[], object]]:
    study_id, batch_id = uuid.UUID(int=7919 * 100).hex, uuid.UUID(int=50).hex
    cursor = ledger.studies(site="main", limit=10).next_cursor
    held = ledger.claim(study_id, Stage.DETECT, owner="a", now_s=1.0, lease_s=1.0)
    assert held is not None
    assert cursor is not None
    named = replace(
        held.study,
        images=tuple(replace(image, sop_id="a" * 32, examination_id="b" * 32) for image in held.study.images),
    )
    return [
        lambda: ledger.studies(site="main"),
        lambda: ledger.studies(site="main", cursor=cursor),
        lambda: ledger.studies(site="main", which=StudyFilter(state=WorkState.FAILED)),
        lambda: ledger.studies(site="main", which=StudyFilter(state=WorkState.OPEN), cursor=cursor),
        lambda: ledger.studies(site="main", which=StudyFilter(batch_id=batch_id)),
        lambda: ledger.studies(site="main", which=StudyFilter(batch_id=batch_id), cursor=cursor),
        lambda: ledger.studies(site="main", which=StudyFilter(batch_id=batch_id, state=WorkState.OPEN), cursor=cursor),
        lambda: ledger.studies(site="main", which=StudyFilter(region="hip"), cursor=cursor),
        lambda: ledger.studies(site="main", which=StudyFilter(assessment=Assessment.FRACTURE), cursor=cursor),
        lambda: ledger.studies(site="main", order=WorklistOrder.MOST_SUSPICIOUS),
        lambda: ledger.studies(site="main", order=WorklistOrder.MOST_SUSPICIOUS, cursor=f"2.5_{cursor}"),
        lambda: ledger.studies(
            site="main", which=StudyFilter(assessment=Assessment.FRACTURE), order=WorklistOrder.MOST_SUSPICIOUS
        ),
        lambda: ledger.studies(site="main", which=StudyFilter(batch_id=batch_id), order=WorklistOrder.MOST_SUSPICIOUS),
        lambda: ledger.finished_since(site="main", cursor="", limit=50),
        lambda: ledger.verdicts(study_id, site="main"),
        lambda: ledger.due_deliveries(now_s=5000.0, limit=50),
        lambda: ledger.undelivered(site="main", limit=50),
        lambda: ledger.batches_to_clean(unpacked_before_s=5000.0, limit=50),
        lambda: ledger.expire_uploads(touched_before_s=5000.0, limit=50),
        lambda: ledger.batch(batch_id, site="main"),
        lambda: ledger.study(study_id, site="main"),
        lambda: ledger.sources(study_id, site="main"),
        lambda: ledger.known_images(named),
        lambda: ledger.studies_sharing(named),
        lambda: ledger.name_images(named, {1: "0" * 64}),
        lambda: ledger.history(study_id, site="main"),
        lambda: ledger.due_studies(now_s=5000.0, limit=50),
        lambda: ledger.lost_studies(now_s=5000.0, due_before_s=dict.fromkeys(_LISTS, 6000.0), limit=50),
        lambda: ledger.pull_forward(now_s=5000.0, beyond_s=1e9),
        lambda: ledger.pull_deliveries_forward(now_s=5000.0, beyond_s=1e9, put_off_beyond_s=1e9),
        lambda: ledger.lead("scheduler", "me", now_s=1.0, lease_s=1.0),
        lambda: ledger.due_batches(now_s=5000.0, due_before_s=5000.0, limit=50),
        ledger.open_count,
        lambda: ledger.open_work(now_s=1e9),
        lambda: ledger.published([study_id], now_s=1.0, due_again_at_s=2.0),
        lambda: ledger.claim(study_id, Stage.DETECT, owner="b", now_s=2.0, lease_s=1.0),
        lambda: ledger.advance(held, now_s=2.0, due_at_s=9000.0),
        lambda: ledger.retry(held, Reason("internal_error"), now_s=2.0, due_at_s=3.0),
        lambda: ledger.renew(held, until_s=9.0),
        lambda: ledger.reopen(study_id, site="main", now_s=2.0),
        lambda: ledger.claim_batch(batch_id, owner="b", now_s=2.0, lease_s=1.0),
    ]


@pytest.mark.parametrize("analyzed", [False, True])
def test_every_question_is_answered_from_an_index(full_ledger: SqlLedger, *, analyzed: bool) -> None:
    connections = full_ledger._connections
    if analyzed or connections.dialect == "postgresql":
        with connections.write(durable=False) as connection:
            connection.execute(text("ANALYZE"))
    uses = _uses(full_ledger)
    asked: list[tuple[str, object]] = []

    def note(_connection: object, _cursor: object, statement: str, parameters: object, *_rest: object) -> None:
        if statement.startswith(("SELECT", "UPDATE", "WITH")):
            asked.append((statement, parameters))

    event.listen(connections.engine(), "before_cursor_execute", note)
    for use in uses:
        use()
    event.remove(connections.engine(), "before_cursor_execute", note)
    assert len(asked) >= len(uses)
    for statement, parameters in asked:
        plan = _plan(connections, statement, parameters)
        read_whole = [
            line
            for line in plan
            if "Seq Scan on studies" in line
            or (line.startswith("SCAN") and "INDEX" not in line and line not in _OF_A_SUBQUERY)
        ]
        assert not read_whole, (statement, plan)
        assert not any("TEMP B-TREE FOR ORDER BY" in line for line in plan), (statement, plan)


def test_what_is_due_is_looked_for_among_the_open_only(full_ledger: SqlLedger) -> None:
    connections = full_ledger._connections
    with connections.write(durable=False) as connection:
        connection.execute(text("ANALYZE"))
    asked: list[tuple[str, object]] = []
    event.listen(connections.engine(), "before_cursor_execute", lambda *call: asked.append((call[2], call[3])))
    full_ledger.due_studies(now_s=5000.0, limit=50)
    full_ledger.lost_studies(now_s=5000.0, due_before_s=dict.fromkeys(_LISTS, 6000.0), limit=50)
    assert full_ledger.open_count() == _STUDIES // _OPEN_EVERY
    for statement, parameters in asked[:]:
        plan = "\n".join(_plan(connections, statement, parameters))
        assert "ix_studies_due" in plan or "ix_studies_turn" in plan, plan


def _plan(connections: Connections, statement: str, parameters: object) -> list[str]:
    explain = "EXPLAIN QUERY PLAN " if connections.dialect == "sqlite" else "EXPLAIN "
    with connections.read() as connection:
        rows = connection.exec_driver_sql(explain + statement, parameters)
        return [row[-1].strip() for row in rows]
