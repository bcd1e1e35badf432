"""Sign-in at a provider (OpenID Connect): authorization code with PKCE, nonce and a checked ID token."""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote_plus, urlsplit

import httpx
from authlib.oauth2.client import OAuth2Client
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from fractureai.domain.access import Denied, Kind, Principal, Role, SignInStart
from fractureai.errors import TransientFailure

_TIMEOUT_S = 5.0
_METADATA_KEPT_S = 3600.0
_LEEWAY_S = 60
# OpenID Connect Discovery 1.0, section 3: what a provider's metadata must name.
_ADDRESSES = ("authorization_endpoint", "token_endpoint", "jwks_uri")
# No "none" and no shared secret: only the provider can have signed it.
_ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]


@dataclass(frozen=True, slots=True)
class GroupRule:
    """Who has ``value`` among the values of the claim is ``role`` at ``site``."""

    value: str
    site: str
    role: Role


@dataclass(frozen=True, slots=True)
class ProviderSettings:
    """The provider, and what its claims mean here.

    Attributes
    ----------
    claim:
        Which claim holds a person's groups; a text or a list of texts. Dots lead into objects (``realm_access.roles``).
    rules:
        The first that fits counts; whom none fits is not let in.
    """

    issuer: str
    client_id: str
    client_secret: str = field(repr=False, default="")
    scopes: str = "openid profile email"
    claim: str = "groups"
    rules: tuple[GroupRule, ...] = ()


@dataclass
class Provider:
    """One OpenID provider. Safe between threads."""

    settings: ProviderSettings
    http: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=_TIMEOUT_S, trust_env=False))
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _metadata: dict[str, Any] = field(default_factory=dict)
    _keys: KeySet | None = None
    _read_at: float = -_METADATA_KEPT_S

    def begin(self, redirect_uri: str) -> SignInStart:
        """Where to send the browser. Raises ``TransientFailure('provider_unavailable')``."""
        metadata, _ = self._discover()
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        client = OAuth2Client(
            None, self.settings.client_id, scope=self.settings.scopes, code_challenge_method="S256", state=state
        )
        url, _ = client.create_authorization_url(
            metadata["authorization_endpoint"],
            state=state,
            code_verifier=verifier,
            nonce=nonce,
            redirect_uri=redirect_uri,
        )
        return SignInStart(url, state, nonce, verifier)

    def complete(self, start: SignInStart, *, code: str, redirect_uri: str, now_s: float) -> Principal:
        """Who it is. Raises :class:`Denied`, and as :meth:`begin`."""
        answer = self._exchange(code, start.verifier, redirect_uri)
        claims = self._checked(answer, start.nonce, now_s)
        return self.principal_of(claims | self._more_claims(answer, claims))

    def principal_of(self, claims: dict[str, Any]) -> Principal:
        """Who these claims are, by the rules. Raises :class:`Denied` if they are nobody here."""
        values = _values(claims, self.settings.claim)
        rule = next((rule for rule in self.settings.rules if rule.value in values), None)
        if rule is None:
            raise Denied("no rule for the groups of this person")
        subject = str(claims["sub"])[:200]
        name = str(claims.get("name") or claims.get("preferred_username") or claims.get("email") or subject)[:200]
        return Principal(Kind.PERSON, f"oidc:{subject}", name, rule.site, rule.role.scopes)

    def _exchange(self, code: str, verifier: str, redirect_uri: str) -> dict[str, Any]:
        metadata, _ = self._discover()
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "code_verifier": verifier,
        }
        auth = None
        if not self.settings.client_secret:
            form["client_id"] = self.settings.client_id
        else:
            # RFC 6749, 2.3.1: both are form-encoded before they become a basic header.
            auth = (quote_plus(self.settings.client_id), quote_plus(self.settings.client_secret))
        try:
            answer = self.http.post(metadata["token_endpoint"], data=form, auth=auth)
            found = answer.json()
        except (httpx.HTTPError, ValueError, RecursionError) as error:
            raise TransientFailure("provider_unavailable", type(error).__name__) from error
        if answer.is_server_error:
            raise TransientFailure("provider_unavailable", f"HTTP {answer.status_code}")
        if not answer.is_success or not isinstance(found, dict) or "id_token" not in found:
            raise Denied("the provider refused the code")
        return found

    def _checked(self, answer: dict[str, Any], nonce: str, now_s: float) -> dict[str, Any]:
        """The claims of an ID token that is signed by the provider, fresh, for us, and of this sign-in."""
        try:
            token = self._decoded(str(answer["id_token"]))
            options = {
                "iss": {"essential": True, "value": self.settings.issuer},
                "aud": {"essential": True, "value": self.settings.client_id},
            }
            params = {
                "nonce": nonce,
                "client_id": self.settings.client_id,
                "access_token": answer.get("access_token"),
            }
            CodeIDToken(token.claims, token.header, options, params).validate(now=int(now_s), leeway=_LEEWAY_S)
        except (JoseError, ValueError, RecursionError) as error:
            raise Denied(f"the ID token does not stand: {type(error).__name__}") from error
        return dict(token.claims)

    def _decoded(self, text: str) -> jwt.Token:
        _, keys = self._discover()
        try:
            return jwt.decode(text, keys, algorithms=_ALGORITHMS)
        except (JoseError, ValueError, RecursionError):
            # The provider may have changed its keys since they were read; a forged token costs it one look more.
            _, keys = self._discover(afresh=True)
            return jwt.decode(text, keys, algorithms=_ALGORITHMS)

    def _more_claims(self, answer: dict[str, Any], claims: dict[str, Any]) -> dict[str, Any]:
        """What only the userinfo address tells: some providers keep groups and names out of the ID token."""
        metadata, _ = self._discover()
        address, token = metadata.get("userinfo_endpoint"), answer.get("access_token")
        if not address or not token or (_values(claims, self.settings.claim) and claims.get("name")):
            return {}
        found = self._get_json(address, {"Authorization": f"Bearer {token}"})
        # OpenID Connect Core, 5.3.2: otherwise it may be somebody else's.
        if found.get("sub") != claims["sub"]:
            raise Denied("userinfo speaks of somebody else")
        return {name: value for name, value in found.items() if name not in claims}

    def _discover(self, *, afresh: bool = False) -> tuple[dict[str, Any], KeySet]:
        with self._lock:
            is_old = time.monotonic() - self._read_at > _METADATA_KEPT_S
            if self._keys is None or is_old or afresh:
                metadata = self._get_json(f"{self.settings.issuer.rstrip('/')}/.well-known/openid-configuration")
                if metadata.get("issuer") != self.settings.issuer:
                    raise TransientFailure("provider_unavailable", "its metadata names another issuer")
                if not all(isinstance(metadata.get(name), str) for name in _ADDRESSES):
                    raise TransientFailure("provider_unavailable", "its metadata lack an address")
                self._keys = _key_set(self._get_json(metadata["jwks_uri"]))
                self._metadata, self._read_at = metadata, time.monotonic()
            return self._metadata, self._keys

    def _get_json(self, url: str, headers: dict[str, str] | None = None) -> dict[str, Any]:
        try:
            answer = self.http.get(url, headers=headers)
            answer.raise_for_status()
            found = answer.json()
        except (httpx.HTTPError, ValueError, RecursionError) as error:
            raise TransientFailure("provider_unavailable", type(error).__name__) from error
        if not isinstance(found, dict):
            raise TransientFailure("provider_unavailable", "not a JSON object")
        return found


def is_safe_issuer(issuer: str, loopback: Sequence[str]) -> bool:
    """Whether the provider is reached by https, or is on this machine."""
    parts = urlsplit(issuer)
    return bool(parts.hostname) and (parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in loopback))


def _key_set(found: dict[str, Any]) -> KeySet:
    try:
        return KeySet.import_key_set({"keys": [key for key in found["keys"] if key.get("use", "sig") == "sig"]})
    except (JoseError, KeyError, TypeError, AttributeError, ValueError) as error:
        raise TransientFailure("provider_unavailable", "its keys cannot be read") from error


def _values(claims: dict[str, Any], path: str) -> set[str]:
    found: Any = claims
    # A claim's name may have dots itself (``https://hospital.example/groups``).
    if path in claims:
        found = claims[path]
    else:
        for part in path.split("."):
            found = found.get(part) if isinstance(found, dict) else None
    if isinstance(found, str):
        try:
            listed = json.loads(found) if found.startswith("[") else None
        except (ValueError, RecursionError):
            listed = None
        return {str(one) for one in listed} if isinstance(listed, list) else {found}
    return {one for one in found if isinstance(one, str)} if isinstance(found, list) else set()
