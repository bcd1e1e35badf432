"""Sign-in at a real OpenID provider, started for these tests; and answers of providers that must not be believed."""

from __future__ import annotations

import hmac
import json
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from flask.testing import FlaskClient
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

from fractureai.access.oidc import GroupRule, Provider, ProviderSettings
from fractureai.domain.access import Denied, Role, Scope, SignInStart
from fractureai.errors import TransientFailure
from tests.security.conftest import Hospital

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

CLIENT = "fractureai"
RULES = (
    GroupRule("radiology-north", "north", Role.READER),
    GroupRule("pacs-admins", "local", Role.ADMIN),
    GroupRule("students", "local", Role.VIEWER),
)


@pytest.fixture(scope="module")
def issuer() -> Iterator[str]:
    # Its own use of Authlib is dated and warns; that is not ours to mend.
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import oidc_provider_mock

        users = [
            oidc_provider_mock.User(sub="u1", claims={"name": "Ana North", "groups": ["staff", "radiology-north"]}),
            oidc_provider_mock.User(sub="u2", claims={"name": "Bo Admin", "groups": ["pacs-admins", "students"]}),
            oidc_provider_mock.User(sub="u3", claims={"name": "Cy Nobody", "groups": ["kitchen"]}),
        ]
        with oidc_provider_mock.run_server_in_thread(require_nonce=True, user_claims=users) as server:
            yield f"http://localhost:{server.server_port}"


def provider(issuer: str, **changes: Any) -> Provider:
    return Provider(
        ProviderSettings(**({"issuer": issuer, "client_id": CLIENT, "client_secret": "s", "rules": RULES} | changes))
    )


def go_to_provider(client: FlaskClient, onward: str = "") -> str:
    answer = client.get("/sign-in/provider", query_string={"next": onward} if onward else None)
    assert answer.status_code == 303
    return answer.location


def consent(url: str, sub: str) -> str:
    """What the browser does at the provider: the person agrees, and is sent back."""
    answer = httpx.post(url, data={"sub": sub}, trust_env=False)
    assert answer.status_code == 302, answer.text
    back = urlsplit(answer.headers["location"])
    return f"{back.path}?{back.query}"


def test_the_way_there_and_back(open_hospital: Callable[..., Hospital], issuer: str) -> None:
    hospital = open_hospital(provider=provider(issuer))
    client = hospital.client
    url = go_to_provider(client, "/worklist?x=1")
    asked = {name: value[0] for name, value in parse_qs(urlsplit(url).query).items()}
    assert asked["response_type"] == "code"
    assert asked["code_challenge_method"] == "S256"
    assert asked["redirect_uri"] == "http://localhost/sign-in/return"
    assert {"state", "nonce", "code_challenge"} <= set(asked)
    answer = client.get(consent(url, "u1"))
    assert answer.status_code == 303
    assert answer.location == "/worklist?x=1"
    page = client.get("/worklist")
    assert page.status_code == 200
    assert "Ana North · north" in page.text
    record = hospital.records("north")[0]
    assert (record["act"], record["who"]["id"], record["who"]["name"]) == ("sign_in", "oidc:u1", "Ana North")


def test_the_first_rule_that_fits_counts(open_hospital: Callable[..., Hospital], issuer: str) -> None:
    hospital = open_hospital(provider=provider(issuer))
    client = hospital.client
    client.get(consent(go_to_provider(client), "u2"))
    assert client.get("/api/v1/deliveries").status_code == 200


def test_whom_no_rule_fits_is_not_let_in(open_hospital: Callable[..., Hospital], issuer: str) -> None:
    hospital = open_hospital(provider=provider(issuer))
    client = hospital.client
    answer = client.get(consent(go_to_provider(client), "u3"))
    assert answer.status_code == 401
    assert client.get("/worklist").status_code == 401
    assert [(r["act"], r["detail"]) for r in hospital.records()] == [
        ("refused", "no rule for the groups of this person")
    ]


def test_an_answer_without_its_question_is_refused(open_hospital: Callable[..., Hospital], issuer: str) -> None:
    """Another browser, a second time, another state, no code: nobody is signed in."""
    hospital = open_hospital(provider=provider(issuer))
    client = hospital.client
    back = consent(go_to_provider(client), "u1")
    assert hospital.client.get(back).status_code == 401
    other = hospital.client
    go_to_provider(other)
    assert other.get(back).status_code == 401
    assert client.get("/sign-in/return?error=access_denied").status_code == 401
    assert client.get(back).status_code == 303
    assert client.get(back).status_code == 401


def test_a_provider_that_is_away(open_hospital: Callable[..., Hospital]) -> None:
    hospital = open_hospital(provider=provider("http://127.0.0.1:9"))
    answer = hospital.client.get("/sign-in/provider")
    assert answer.status_code == 503
    assert "does not answer" in answer.text


def _forged(header: dict[str, Any], claims: dict[str, Any], secret: bytes) -> str:
    """A token that no library would sign: without a signature, or with the public key as the secret."""
    parts = [urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in (header, claims)]
    text = b".".join(parts)
    signature = hmac.digest(secret, text, "sha256") if secret else b""
    return (text + b"." + urlsafe_b64encode(signature).rstrip(b"=")).decode()


class Fake:
    """A provider whose every answer can be bent."""

    def __init__(self) -> None:
        self.key = RSAKey.generate_key(2048, parameters={"kid": "k1", "use": "sig", "alg": "RS256"})
        self.claims: dict[str, Any] = {}
        self.header: dict[str, Any] = {"alg": "RS256", "kid": "k1"}
        self.signer: Any = self.key
        self.metadata: dict[str, Any] = {}
        self.userinfo: dict[str, Any] | None = None

    def token(self) -> str:
        now = int(time.time())
        claims = {"iss": "https://id.example", "sub": "u1", "aud": CLIENT, "exp": now + 60, "iat": now, "nonce": "n"}
        claims |= {"groups": ["students"], "name": "A"} | self.claims
        kept = {name: value for name, value in claims.items() if value is not None}
        if self.header["alg"] in {"none", "HS256"}:
            return _forged(self.header, kept, self.signer)
        return jwt.encode(self.header, kept, self.signer, algorithms=["RS256", "ES256"])

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("openid-configuration"):
            base = "https://id.example"
            metadata = {"issuer": base, "authorization_endpoint": f"{base}/a", "token_endpoint": f"{base}/t"}
            metadata |= {"jwks_uri": f"{base}/k"} | ({"userinfo_endpoint": f"{base}/u"} if self.userinfo else {})
            return httpx.Response(200, json=metadata | self.metadata)
        if request.url.path == "/k":
            return httpx.Response(200, json={"keys": [self.key.as_dict(private=False)]})
        if request.url.path == "/u":
            return httpx.Response(200, json=self.userinfo)
        return httpx.Response(200, json={"id_token": self.token(), "access_token": "at", "token_type": "Bearer"})

    def sign_in(self, **settings: Any) -> Any:
        chosen = {"issuer": "https://id.example", "client_id": CLIENT, "rules": RULES} | settings
        http = httpx.Client(transport=httpx.MockTransport(self))
        made = Provider(ProviderSettings(**chosen), http)
        start = SignInStart("", "s", "n", "v")
        return made.complete(start, code="c", redirect_uri="https://x/sign-in/return", now_s=time.time())


@pytest.fixture
def fake() -> Fake:
    return Fake()


def test_a_good_token_is_believed(fake: Fake) -> None:
    who = fake.sign_in()
    assert (who.ident, who.site, who.scopes) == ("oidc:u1", "local", frozenset({Scope.READ}))


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "https://evil.example"},
        {"aud": "somebody-else"},
        {"aud": [CLIENT, "somebody-else"], "azp": "somebody-else"},
        {"aud": None},
        {"exp": 1},
        {"exp": None},
        {"iat": None},
        {"nbf": 4102444800},
        {"nonce": "another"},
        {"nonce": None},
        {"sub": None},
        {"groups": None},
        {"groups": {"students": True}},
        {"at_hash": "AAAAAAAAAAAAAAAAAAAAAA"},
    ],
)
def test_a_token_that_does_not_stand_is_refused(fake: Fake, claims: dict[str, Any]) -> None:
    fake.claims = claims
    with pytest.raises(Denied):
        fake.sign_in()


@pytest.mark.parametrize("way", ["none", "hs256-public-key", "another-key", "another-algorithm"])
def test_a_token_that_the_provider_did_not_sign_is_refused(fake: Fake, way: str) -> None:
    if way == "none":
        fake.header, fake.signer = {"alg": "none"}, b""
    elif way == "hs256-public-key":
        fake.header, fake.signer = {"alg": "HS256", "kid": "k1"}, fake.key.as_pem(private=False)
    elif way == "another-key":
        fake.signer = RSAKey.generate_key(2048)
    else:
        fake.header, fake.signer = {"alg": "ES256", "kid": "k1"}, ECKey.generate_key("P-256")
    with pytest.raises(Denied):
        fake.sign_in()


def test_metadata_of_another_issuer_is_refused(fake: Fake) -> None:
    fake.metadata = {"issuer": "https://evil.example"}
    with pytest.raises(TransientFailure):
        fake.sign_in()


@pytest.mark.parametrize("name", ["authorization_endpoint", "token_endpoint", "jwks_uri"])
@pytest.mark.parametrize("address", [None, 3, {}])
def test_metadata_without_an_address_are_none(fake: Fake, name: str, address: Any) -> None:
    fake.metadata = {name: address}
    with pytest.raises(TransientFailure):
        fake.sign_in()


def test_groups_may_come_from_userinfo_of_the_same_person_only(fake: Fake) -> None:
    fake.claims = {"groups": None}
    fake.userinfo = {"sub": "u1", "groups": ["pacs-admins"]}
    assert Scope.ADMIN in fake.sign_in().scopes
    fake.userinfo = {"sub": "u2", "groups": ["pacs-admins"]}
    with pytest.raises(Denied):
        fake.sign_in()


@pytest.mark.parametrize(
    ("claim", "claims"),
    [
        ("realm_access.roles", {"realm_access": {"roles": ["students"]}}),
        ("https://hospital.example/groups", {"https://hospital.example/groups": ["students"]}),
        ("role", {"role": "students"}),
    ],
)
def test_where_groups_stand(fake: Fake, claim: str, claims: dict[str, Any]) -> None:
    fake.claims = claims | {"groups": None}
    assert fake.sign_in(claim=claim).scopes == frozenset({Scope.READ})
