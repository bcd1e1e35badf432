"""What the pages say of where data go: true of this installation, for it is made from its settings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DataFlows:
    """Where data leave this installation, and what keeps them.

    Attributes
    ----------
    dicom_destinations:
        How many archives and viewers get results by C-STORE or STOW-RS.
    object_store:
        Whether files are kept on an S3 server, not in a folder.
    direct_downloads:
        Whether browsers fetch reports from that server.
    provider:
        Whether people sign in at an OpenID provider.
    deidentified:
        Where identifiers are removed on the way in: ``all`` sites, ``some``, or none (``""``).
    """

    dicom_destinations: int = 0
    fhir: bool = False
    webhook: bool = False
    audit_forwarded: bool = False
    object_store: bool = False
    direct_downloads: bool = False
    provider: bool = False
    deidentified: str = ""

    @property
    def has_destinations(self) -> bool:
        """Whether results are sent anywhere."""
        return bool(self.dicom_destinations or self.fhir or self.webhook)


def sentences(flows: DataFlows, *, has_sign_in: bool) -> list[str]:
    """Where files and results are, who gets them, and what a browser keeps."""
    return [*_kept(flows), *_sent(flows), *_in_browsers(flows, has_sign_in=has_sign_in)]


def _kept(flows: DataFlows) -> Iterator[str]:
    where = "the S3 object store" if flows.object_store else "the storage folder"
    yield f"Files and results are kept in {where} of this installation."
    if flows.deidentified:
        sites = "" if flows.deidentified == "all" else " at some of its sites"
        yield f"Identifiers are removed from files on the way in{sites}."


def _sent(flows: DataFlows) -> Iterator[str]:
    receivers = []
    if flows.dicom_destinations:
        number = flows.dicom_destinations
        receivers.append("a DICOM destination" if number == 1 else f"{number} DICOM destinations")
    if flows.fhir:
        receivers.append("a FHIR server")
    if receivers:
        yield f"Results, which name the patient, are also sent to {' and '.join(receivers)}."
    if flows.webhook:
        yield "A webhook is told of each finished study: its id, its assessment and links, no patient data."
    if not flows.has_destinations:
        yield "No receiver of results is set up, so none are sent anywhere."
    if flows.audit_forwarded:
        yield "The audit record is forwarded to a syslog server."


def _in_browsers(flows: DataFlows, *, has_sign_in: bool) -> Iterator[str]:
    if flows.direct_downloads:
        yield "The pages load nothing from other sites; reports are downloaded from the object store itself."
    else:
        yield "The pages load nothing from other sites."
    if not has_sign_in:
        yield "They set no cookies."
    elif flows.provider:
        yield "Signing in, here or at your hospital's identity provider, sets the cookies it needs and no others."
    else:
        yield "Signing in sets one cookie, which ends with the session, and no others."
