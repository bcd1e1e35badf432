"""Which instance a DICOM file is, by its header: the ``InstanceReader`` port."""

from __future__ import annotations

from typing import BinaryIO

from pydicom.filereader import read_dataset, read_preamble
from pydicom.tag import BaseTag
from pydicom.uid import UID, ImplicitVRLittleEndian

from fractureai.dicom.classes import STORAGE_CLASSES, TRANSFER_SYNTAXES
from fractureai.dicom.headers import Head, NotUnderstood, belonging
from fractureai.domain.identity import InstanceIdentity
from fractureai.errors import RejectedInput

_CLASSES = frozenset(str(uid) for uid in STORAGE_CLASSES)
_SYNTAXES = frozenset(TRANSFER_SYNTAXES)


def _past_meta(tag: BaseTag, _vr: str | None, _length: int) -> bool:
    return tag.group != 2


class Part10Reader:
    """Reads files of PS3.10: a preamble, file meta information, a data set."""

    def head(self) -> Head[InstanceIdentity]:
        """See the port. A class this service does not take is the caller's to refuse."""
        return Head(self.identify)

    @staticmethod
    def identify(stream: BinaryIO, is_whole: bool) -> InstanceIdentity:
        """From a file, or the beginning of one. Raises ``RejectedInput`` if it is no such file."""
        try:
            read_preamble(stream, force=False)
            meta = read_dataset(stream, False, True, stop_when=_past_meta)
            syntax = UID(meta.get("TransferSyntaxUID") or ImplicitVRLittleEndian)  # TypeError for what is no text
        except Exception as error:  # pydicom raises many kinds on damaged bytes
            raise RejectedInput("damaged", "not a DICOM file of PS3.10") from error
        if syntax not in _SYNTAXES:
            raise RejectedInput("damaged", "an encoding that the standard does not have for images")
        try:
            return belonging(stream, syntax, is_whole=is_whole)
        except NotUnderstood as error:
            raise RejectedInput("damaged", str(error)) from error

    def takes(self, sop_class_uid: str) -> bool:
        """Whether objects of this class are radiographs."""
        return sop_class_uid in _CLASSES
