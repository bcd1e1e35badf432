"""The class of an error is the policy for it.

::

    FractureAIError
    ├── RejectedInput      never retry; tell the sender what to change (HTTP 422)
    ├── TransientFailure   retry with back-off
    └── BrokenDeployment   stop; tell the operator what to mend
"""

from __future__ import annotations

AT_FAULT = 3
"""The exit code of a command whose installation is at fault; gunicorn ends so, too, if its worker cannot start."""
AWAY = 4
"""The exit code of a command that a service it needs did not answer: try again."""
CANNOT_WORK = 78
"""The exit code of a worker whose parts are missing (``EX_CONFIG``): starting it again cannot help."""


class FractureAIError(Exception):
    """Root of every error this product raises on purpose."""


class _Coded(FractureAIError):
    """An error that names its reason.

    Parameters
    ----------
    code:
        A key of :data:`fractureai.domain.reasons.REASONS`.
    detail:
        The particular of this case (a size, a modality), without patient data. One short phrase.
    """

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(code, detail)
        self.code = code
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.code}: {self.detail}" if self.detail else self.code


class RejectedInput(_Coded):
    """What was sent cannot be used; sending the same again will not help."""


class TransientFailure(_Coded):
    """Something outside is away or slow; the same work may succeed later."""


class BrokenDeployment(FractureAIError):
    """The installation is at fault: a missing model, a wrong setting. Retrying cannot help."""
