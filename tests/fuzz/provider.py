"""What an OpenID provider answers, as a function of bytes."""

from __future__ import annotations

import contextlib
import json
import time
import warnings
from collections.abc import Iterator
from functools import cache
from typing import Any

import httpx
from joserfc import jws
from joserfc.jwk import OKPKey

from fractureai.access.oidc import GroupRule, Provider, ProviderSettings
from fractureai.domain.access import Denied, Role, SignInStart
from fractureai.errors import TransientFailure

_ISSUER = "https://id.example"
_JSON = {"Content-Type": "application/json"}
_PLACES = ("configuration", "keys", "answer", "claims", "token", "userinfo")


@cache
def _signing() -> Any:
    return OKPKey.generate_key("Ed25519", parameters={"kid": "k1", "use": "sig", "alg": "EdDSA"})


def _honest(place: str) -> dict[str, Any]:
    now = int(time.time())
    return {
        "configuration": {
            "issuer": _ISSUER,
            "authorization_endpoint": f"{_ISSUER}/authorize",
            "token_endpoint": f"{_ISSUER}/answer",
            "jwks_uri": f"{_ISSUER}/keys",
            "userinfo_endpoint": f"{_ISSUER}/userinfo",
        },
        "keys": {"keys": [_signing().as_dict(private=False)]},
        "answer": {"access_token": "at", "token_type": "Bearer"},
        "claims": {"iss": _ISSUER, "sub": "u1", "aud": "f", "exp": now + 900, "iat": now, "nonce": "n"},
        "userinfo": {"sub": "u1", "name": "A", "groups": ["readers"]},
    }[place]


def _token(claims: bytes) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the algorithm's newer name
        return jws.serialize_compact({"alg": "EdDSA", "kid": "k1"}, claims, _signing(), algorithms=["EdDSA"])


def read(data: bytes) -> None:
    """One answer is ``data[1:]``, the others are honest; who is let in is who the provider says."""
    place, bent = _PLACES[data[0] % len(_PLACES)] if data else "token", data[1:]

    def answer(asked: httpx.Request) -> httpx.Response:
        where = "configuration" if asked.url.path.startswith("/.well-known") else asked.url.path.strip("/")
        if where == place:
            return httpx.Response(200, content=bent, headers=_JSON)
        content = _honest(where if where in _PLACES else "answer")
        if where == "answer":
            claims = bent if place == "claims" else json.dumps(_honest("claims")).encode()
            text = bent.decode("latin-1") if place == "token" else _token(claims)
            content |= {"id_token": text}
        return httpx.Response(200, json=content)

    rules = (GroupRule("readers", "local", Role.READER),)
    with httpx.Client(transport=httpx.MockTransport(answer)) as client, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = Provider(ProviderSettings(_ISSUER, "f", rules=rules), client)
        with contextlib.suppress(Denied, TransientFailure):
            started = made.begin("https://here.example/return")
            assert isinstance(started.url, str), "an address is text"
        with contextlib.suppress(Denied, TransientFailure):
            start = SignInStart("", "s", "n", "v")
            who = made.complete(start, code="c", redirect_uri="https://here.example/return", now_s=time.time())
            assert (who.site, who.scopes) == ("local", Role.READER.scopes), "a rule says who it is"
            assert place in {"claims", "answer", "userinfo"} or who.ident == "oidc:u1", "nobody else is let in"


@cache
def seeds() -> tuple[bytes, ...]:
    """An honest answer at every place, and one with types that are not expected."""
    odd = {
        "aud": ["f", 3],
        "exp": "soon",
        "iat": [],
        "groups": {"a": 1},
        "name": None,
        "azp": 4,
        "at_hash": 7,
        "sub": {},
    }
    seeds = [bytes([number]) + json.dumps(_honest(place)).encode() for number, place in _json_places()]
    return (
        *seeds,
        b"\4" + _token(json.dumps(_honest("claims")).encode()).encode(),
        b"\3" + json.dumps(_honest("claims") | odd).encode(),
        b"\3" + json.dumps(_honest("claims") | {"groups": '["readers"]', "acr": 1, "auth_time": 1.5}).encode(),
        b"\2" + json.dumps({"id_token": None, "access_token": ["x"]}).encode(),
        *(bytes([number]) + b"[" * 20_000 for number in range(len(_PLACES))),
        b"\3" + json.dumps(_honest("claims") | {"groups": "[" * 20_000}).encode(),
    )


def _json_places() -> Iterator[tuple[int, str]]:
    return ((number, place) for number, place in enumerate(_PLACES) if place != "token")
