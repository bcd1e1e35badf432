"""Which images the studies of a site have under which SOP Instance UIDs, as methods of the ledger."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from sqlalchemy import bindparam, select, update

from fractureai.domain.identity import KnownImage
from fractureai.domain.study import Study
from fractureai.storage.ledger.connections import Connections
from fractureai.storage.ledger.schema import IMAGES

_MOST = 500
_KNOWN = (
    select(*(IMAGES.c[field.name] for field in dataclasses.fields(KnownImage)))
    .where(IMAGES.c.sop_id.in_(bindparam("ids", expanding=True)), IMAGES.c.study_id != bindparam("but"))
    .order_by(IMAGES.c.sop_id, IMAGES.c.study_id)
    .limit(_MOST)
)
_MOST_STUDIES = 8
_SHARING = (
    select(IMAGES.c.study_id)
    .where(IMAGES.c.examination_id.in_(bindparam("ids", expanding=True)), IMAGES.c.study_id != bindparam("but"))
    .group_by(IMAGES.c.study_id)
    .order_by(IMAGES.c.study_id)
    .limit(_MOST_STUDIES)
)
_NAME = (
    update(IMAGES)
    .where(IMAGES.c.study_id == bindparam("study"), IMAGES.c.number == bindparam("image"))
    .values(sop_id=bindparam("sop"), examination_id=bindparam("examination"), picture_sha256=bindparam("picture"))
)


class IdentityMethods:
    """Names of images, as methods of the ledger."""

    _connections: Connections

    def name_images(self, study: Study, pictures: Mapping[int, str]) -> None:
        """Remember which instances the images of a study name themselves; those without a name stay as they are.

        ``pictures``: by number, the hashes of what was decoded.
        """
        named = [
            {
                "study": study.study_id,
                "image": image.number,
                "sop": image.sop_id,
                "examination": image.examination_id,
                "picture": pictures.get(image.number),
            }
            for image in study.images
            if image.sop_id
        ]
        if named:
            with self._connections.write(durable=False) as connection:
                connection.execute(_NAME, named)

    def known_images(self, study: Study) -> list[KnownImage]:
        """Images of other studies under the SOP Instance UIDs of this one, whatever their bytes; 500 at most."""
        ids = sorted({image.sop_id for image in study.images if image.sop_id})
        if not ids:
            return []
        with self._connections.read() as connection:
            found = connection.execute(_KNOWN, {"ids": ids, "but": study.study_id})
            return [KnownImage(*(value or "" for value in row)) for row in found]

    def studies_sharing(self, study: Study) -> list[str]:
        """The ids of other studies with images of the same DICOM studies; 8 at most."""
        ids = sorted({image.examination_id for image in study.images if image.examination_id})
        if not ids:
            return []
        with self._connections.read() as connection:
            return list(connection.execute(_SHARING, {"ids": ids, "but": study.study_id}).scalars())
