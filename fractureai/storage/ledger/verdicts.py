"""What readers say of a study."""

from __future__ import annotations

from sqlalchemy import Connection, bindparam, insert, select

from fractureai.domain.records import Agreement, Verdict
from fractureai.domain.study import Assessment
from fractureai.storage.ledger.connections import Connections
from fractureai.storage.ledger.schema import EVENTS, STUDIES, VERDICTS

_HERE = select(STUDIES.c.study_id).where(STUDIES.c.study_id == bindparam("id"), STUDIES.c.site == bindparam("of"))
_ADD = insert(VERDICTS)
_NOTE = insert(EVENTS)
_ALL = (
    select(
        VERDICTS.c.study_id,
        VERDICTS.c.at_s,
        VERDICTS.c.reader,
        VERDICTS.c.agreement,
        VERDICTS.c.assessment,
        VERDICTS.c.region,
        VERDICTS.c.comment,
    )
    .where(VERDICTS.c.study_id == bindparam("id"))
    .order_by(VERDICTS.c.verdict_id)
)


class VerdictMethods:
    """Verdicts, as methods of the ledger."""

    _connections: Connections

    def add_verdict(self, verdict: Verdict, *, site: str) -> bool:
        """Keep a reader's word; ``False`` if there is no such study at this site."""
        with self._connections.write(durable=True) as connection:
            if not _is_here(connection, verdict.study_id, site):
                return False
            connection.execute(
                _ADD,
                {
                    "study_id": verdict.study_id,
                    "at_s": verdict.at_s,
                    "reader": verdict.reader,
                    "agreement": verdict.agreement.value,
                    "assessment": verdict.assessment and verdict.assessment.value,
                    "region": verdict.region,
                    "comment": verdict.comment,
                },
            )
            note = {"study_id": verdict.study_id, "at_s": verdict.at_s, "what": "verdict", "detail": verdict.agreement}
            connection.execute(_NOTE, note)
            return True

    def verdicts(self, study_id: str, *, site: str) -> list[Verdict]:
        """What readers said of a study, oldest first."""
        with self._connections.read() as connection:
            if not _is_here(connection, study_id, site):
                return []
            return [
                Verdict(
                    study_id=row.study_id,
                    at_s=row.at_s,
                    reader=row.reader,
                    agreement=Agreement(row.agreement),
                    assessment=None if row.assessment is None else Assessment(row.assessment),
                    region=row.region,
                    comment=row.comment,
                )
                for row in connection.execute(_ALL, {"id": study_id})
            ]


def _is_here(connection: Connection, study_id: str, site: str) -> bool:
    return connection.execute(_HERE, {"id": study_id, "of": site}).one_or_none() is not None
