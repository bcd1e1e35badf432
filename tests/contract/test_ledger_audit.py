"""The audit chain on both databases: many writers, and whatever is done to the rows is found."""

from __future__ import annotations

import threading

import pytest
from sqlalchemy import text

from fractureai.domain.access import Kind, Principal, Scope
from fractureai.domain.audit import Act, AuditEvent, ChainCheck, Head
from fractureai.storage.ledger.sql import SqlLedger

WHO = Principal(Kind.KEY, "0123456789ab", "a key", "north", frozenset({Scope.READ}))


def event(number: int = 0, site: str = "north") -> AuditEvent:
    who = Principal(Kind.KEY, "0123456789ab", "a key", site, frozenset({Scope.READ}))
    return AuditEvent.by(who, Act.VIEW, at_s=1.5 + number, subject_kind="study", subject=f"{number:032x}")


def faults(ledger: SqlLedger, site: str = "north", *seals: Head) -> list[str]:
    check = ChainCheck(site)
    check.expect(seals)
    for record in ledger.audit_records(site, limit=10_000):
        check.take(record)
    check.end(next((head for head in ledger.audit_heads() if head.site == site), None))
    return check.faults


def test_a_chain_grows_and_stands(ledger: SqlLedger) -> None:
    records = [ledger.note(event(number), durable=number % 2 == 0) for number in range(5)]
    assert [record.number for record in records] == [1, 2, 3, 4, 5]
    assert ledger.audit_records("north") == records
    assert ledger.audit_records("north", after=3, limit=1) == [records[3]]
    assert ledger.audit_heads() == [Head("north", 5, records[-1].hash)]
    assert faults(ledger) == []
    assert faults(ledger, "south") == []


def test_sites_have_chains_of_their_own(ledger: SqlLedger) -> None:
    for number in range(4):
        ledger.note(event(number, ("north", "south")[number % 2]))
    assert [head.number for head in ledger.audit_heads()] == [2, 2]
    assert faults(ledger, "south") == faults(ledger, "north") == []


def test_many_writers_make_one_chain(ledger: SqlLedger, ledger_url: str) -> None:
    """Each with a ledger of its own, as processes have."""
    failed: list[BaseException] = []

    def write(first: int) -> None:
        own = SqlLedger(ledger_url)
        try:
            for number in range(15):
                own.note(event(first + number), durable=False)
        except BaseException as error:
            failed.append(error)
        finally:
            own.close()

    threads = [threading.Thread(target=write, args=(100 * n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert [record.number for record in ledger.audit_records("north")] == list(range(1, 61))
    assert faults(ledger) == []


TAMPERING = {
    "a word is changed": "UPDATE audit SET event = replace(event, '\"view\"', '\"download\"') WHERE number = 3",
    "somebody else did it": "UPDATE audit SET event = replace(event, '0123456789ab', 'ba9876543210') WHERE number = 3",
    "one is taken out": "DELETE FROM audit WHERE number = 3",
    "the first is taken out": "DELETE FROM audit WHERE number = 1",
    "the last is taken out": "DELETE FROM audit WHERE number = 6",
    "all are taken out": "DELETE FROM audit",
    "two are exchanged": "UPDATE audit SET number = CASE number WHEN 3 THEN 94 WHEN 4 THEN 93 ELSE number END",
    "one is put in at the end": "INSERT INTO audit SELECT site, 7, event, previous, hash FROM audit WHERE number = 6",
    "a hash is changed": "UPDATE audit SET hash = previous WHERE number = 3",
    "the head is changed": "UPDATE audit_heads SET number = 4",
    "the head is taken out": "DELETE FROM audit_heads",
}


@pytest.mark.parametrize("way", TAMPERING)
def test_whatever_is_done_to_it_is_found(ledger: SqlLedger, way: str) -> None:
    for number in range(6):
        ledger.note(event(number))
    with ledger._connections.write(durable=True) as connection:
        connection.execute(text(TAMPERING[way]))
    assert faults(ledger)


def test_an_end_that_was_cut_off_cleanly_is_found_by_a_seal(ledger: SqlLedger) -> None:
    records = [ledger.note(event(number)) for number in range(6)]
    seal = Head("north", 6, records[-1].hash)
    with ledger._connections.write(durable=True) as connection:
        connection.execute(text("DELETE FROM audit WHERE number > 4"))
        moved = text("UPDATE audit_heads SET number = 4, hash = :hash")
        connection.execute(moved, {"hash": records[3].hash})
    assert faults(ledger) == []
    assert faults(ledger, "north", seal) == ["records 5 to 6 are missing: the end was cut off"]


def test_a_chain_that_was_made_anew_is_found_by_a_seal(ledger: SqlLedger) -> None:
    records = [ledger.note(event(number)) for number in range(6)]
    seal = Head("north", 5, records[4].hash)
    with ledger._connections.write(durable=True) as connection:
        connection.execute(text("DELETE FROM audit"))
        connection.execute(text("DELETE FROM audit_heads"))
    for number in range(6):
        ledger.note(event(number + 1))
    assert faults(ledger) == []
    assert faults(ledger, "north", seal) == ["record 5 is not the one that was sealed"]


def test_a_receiver_goes_on_where_it_was(ledger: SqlLedger) -> None:
    assert ledger.audit_cursor("tls://a:1", "north") == 0
    ledger.audit_sent("tls://a:1", "north", 7)
    ledger.audit_sent("tls://a:1", "north", 9)
    assert (ledger.audit_cursor("tls://a:1", "north"), ledger.audit_cursor("tls://b:1", "north")) == (9, 0)
