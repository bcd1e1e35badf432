"""Where things lie in the store. The only place that writes keys.

Rules that every S3 server and every file system can keep: ASCII, short segments, and no key that is also the prefix
of another. Only ids and numbers are in a key, never a name that somebody sent.
"""

from __future__ import annotations

from fractureai.domain.dicom_objects import check_object_name
from fractureai.domain.study import check_id, check_site

SEALS, CERTIFICATES = "audit/", "audit-deletions/"
"""What the seals of the audit and the certificates of deletion of all sites begin with."""


def study_prefix(site: str, study_id: str) -> str:
    """The prefix all objects of a study share, with its trailing slash."""
    return f"sites/{check_site(site)}/studies/{check_id(study_id)}/"


def probe(site: str, probe_id: str) -> str:
    """Written and removed to see whether the store takes what it is given."""
    return f"sites/{check_site(site)}/probe/{check_id(probe_id)}"


def study_json(site: str, study_id: str) -> str:
    """What the study is made of; written when it is accepted. From it a lost ledger is rebuilt."""
    return study_prefix(site, study_id) + "study.json"


def source(site: str, study_id: str, number: int) -> str:
    """The file as received."""
    return study_prefix(site, study_id) + f"source/{_number(number)}"


def image_png(site: str, study_id: str, number: int) -> str:
    """The normalised image: 8 bit, bones bright, long side limited."""
    return study_prefix(site, study_id) + f"images/{_number(number)}.png"


def network_reading(site: str, study_id: str, number: int) -> str:
    """What the region classifier's network says of an image: numbers and maps for every model that shares it."""
    return study_prefix(site, study_id) + f"images/{_number(number)}.reading.npz"


def heat_png(site: str, study_id: str, number: int) -> str:
    """The heat map as a transparent PNG to lay over the image."""
    return study_prefix(site, study_id) + f"images/{_number(number)}.heat.png"


def overlay_jpg(site: str, study_id: str, number: int) -> str:
    """Image and heat map in one picture."""
    return study_prefix(site, study_id) + f"images/{_number(number)}.overlay.jpg"


def roi_png(site: str, study_id: str, number: int) -> str:
    """The region of interest, cut out."""
    return study_prefix(site, study_id) + f"images/{_number(number)}.roi.png"


def classification_json(site: str, study_id: str) -> str:
    """Output of the stage ``classify``."""
    return study_prefix(site, study_id) + "classification.json"


def detection_json(site: str, study_id: str) -> str:
    """Output of the stage ``detect``."""
    return study_prefix(site, study_id) + "detection.json"


def explanation_json(site: str, study_id: str) -> str:
    """Output of the stage ``explain``."""
    return study_prefix(site, study_id) + "explanation.json"


def report_pdf(site: str, study_id: str) -> str:
    """The report for people."""
    return study_prefix(site, study_id) + "report.pdf"


def dicom_object(site: str, study_id: str, name: str) -> str:
    """A DICOM result by its name (``DicomObject.name``): ``sr``, ``summary``, ``pdf``, ``overlay-2``, ``gsps-2``.

    ``result.json`` lists those there are under ``dicom_objects``.
    """
    return study_prefix(site, study_id) + f"results/dicom/{check_object_name(name)}.dcm"


def result_json(site: str, study_id: str) -> str:
    """The result for machines; written last, it vouches for everything else."""
    return study_prefix(site, study_id) + "result.json"


def batch_upload(site: str, batch_id: str, number: int) -> str:
    """A file of a batch as received, until the intake task has made studies of it."""
    return f"sites/{check_site(site)}/batches/{check_id(batch_id)}/uploads/{_number(number)}"


def batch_member(site: str, batch_id: str, upload: int, member: int) -> str:
    """A file out of an archive of a batch, until it lies under its study."""
    return f"sites/{check_site(site)}/batches/{check_id(batch_id)}/members/{_number(upload)}/{_number(member)}"


def batch_file_prefixes(site: str, batch_id: str) -> tuple[str, str]:
    """What the files of a batch begin with, as received and out of archives; ``batch.json`` is not among them."""
    folder = f"sites/{check_site(site)}/batches/{check_id(batch_id)}"
    return f"{folder}/uploads/", f"{folder}/members/"


def batch_json(site: str, batch_id: str) -> str:
    """What the batch is made of; written when it is accepted."""
    return f"sites/{check_site(site)}/batches/{check_id(batch_id)}/batch.json"


def arrival(site: str, arrival_id: str, received_at_s: float) -> str:
    """A DICOM instance as received, until its examination can be revised no more; the hour says what is left over."""
    return f"{arrivals_prefix(site)}{int(received_at_s // 3600):08d}/{check_id(arrival_id)}"


def arrivals_prefix(site: str) -> str:
    """What the keys of all arrivals of a site begin with."""
    return f"sites/{check_site(site)}/arrivals/"


def audit_prefix(site: str) -> str:
    """What the seals of a site's audit begin with. Outside the site's folder: they outlive what they speak of."""
    return f"{SEALS}{check_site(site)}/"


def audit_seal(site: str, number: int) -> str:
    """Where the audit of a site ended at some moment."""
    return f"{audit_prefix(site)}{number:012d}.json"


def certificate(site: str, certificate_id: str) -> str:
    """What was deleted of one patient or one study, and when."""
    return f"{CERTIFICATES}{check_site(site)}/{check_id(certificate_id)}.json"


def _number(number: int) -> str:
    if number < 1:
        raise ValueError(f"numbers start at 1, got {number}")
    return f"{number:05d}"
