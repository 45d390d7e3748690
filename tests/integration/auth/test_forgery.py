"""Only auth's own whole tokens are accepted: everything else is 401, never 500, and nothing is fetched."""

import base64
import hashlib
import hmac
import json
import socket
import time
from collections.abc import Iterator
from typing import Any

import httpx
import psycopg
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jose import jwk

from auth.keys import KeyWrapper
from tests.fixtures.auth import SECRET, SYNC_SECRET, assert_problem, bearer, tokens

JWS = dict[str, Any]


class Forge:
    """Makes tokens like auth's, with the real key or without it."""

    def __init__(self, token: str, db: psycopg.Connection[Any]) -> None:
        head, body, self.signature = token.split(".")
        self.header: JWS = json.loads(_decode(head))
        self.claims: JWS = json.loads(_decode(body))
        row = db.execute("SELECT kid, private_key, public_jwk FROM auth.signing_keys").fetchone()
        assert row is not None
        pem = KeyWrapper(SECRET).unwrap(row[0], row[1])
        assert pem is not None
        self.private = jwk.construct(pem, "ES256")
        self.public_jwk = row[2]
        self.public: Any = self.private.public_key()

    def signed(self, claims: Any = None, *, key: Any = None, **header: Any) -> str:
        """With the real key unless another is given; a header of None is left out."""
        merged = {name: value for name, value in (self.header | header).items() if value is not None}
        text = _encode(_dump(merged)) + "." + _encode(_dump(self.claims if claims is None else claims))
        return f"{text}.{_encode((key or self.private).sign(text.encode()))}"

    def without(self, name: str) -> str:
        return self.signed({key: value for key, value in self.claims.items() if key != name})

    def with_(self, name: str, value: Any) -> str:
        return self.signed(self.claims | {name: value})

    def hmac(self, key: bytes, **header: Any) -> str:
        text = _encode(_dump(self.header | {"alg": "HS256"} | header)) + "." + _encode(_dump(self.claims))
        return f"{text}.{_encode(hmac.new(key, text.encode(), hashlib.sha256).digest())}"


@pytest.fixture
async def forge(auth: httpx.AsyncClient, auth_db: psycopg.Connection[Any]) -> Forge:
    pair = await tokens(auth)
    made = Forge(pair["access_token"], auth_db)
    # The forge itself is right: what is refused below is refused for its one fault.
    assert (await auth.get("/auth/me", headers=bearer(made.signed()))).status_code == 200
    return made


@pytest.fixture
def trap() -> Iterator[socket.socket]:
    """A listening socket that nobody should call."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield server


async def refused(auth: httpx.AsyncClient, forged: dict[str, str]) -> None:
    accepted = {}
    for name, token in forged.items():
        answer = await auth.get("/auth/me", headers=bearer(token))
        if answer.status_code != 401 or "Bearer" not in answer.headers.get("www-authenticate", ""):
            accepted[name] = answer.status_code
        else:
            assert_problem(answer, 401)
    assert accepted == {}


async def test_keys_and_algorithms(auth: httpx.AsyncClient, forge: Forge, trap: socket.socket) -> None:
    url = f"http://127.0.0.1:{trap.getsockname()[1]}/keys"
    ours = forge.public.prepared_key
    spki = serialization.PublicFormat.SubjectPublicKeyInfo
    pem = ours.public_bytes(serialization.Encoding.PEM, spki)
    der = ours.public_bytes(serialization.Encoding.DER, spki)
    another = jwk.construct(_pem(ec.generate_private_key(ec.SECP256R1())), "ES256")
    p384 = jwk.construct(_pem(ec.generate_private_key(ec.SECP384R1())), "ES384")
    rs = jwk.construct(_pem(rsa.generate_private_key(65537, 2048)), "RS256")
    unsigned = _encode(_dump(forge.header | {"alg": "none"})) + "." + _encode(_dump(forge.claims)) + "."
    embedded = another.public_key().to_dict()
    await refused(
        auth,
        {
            "alg none": unsigned,
            "alg None, signed": forge.signed(alg="None"),
            "alg none with signature": unsigned + forge.signature,
            "no alg": forge.signed(alg=None),
            "alg es256": forge.signed(alg="es256"),
            "alg list": forge.signed(alg=["ES256"]),
            "no signature": unsigned.replace("none", "ES256"),
            "hs256 pem": forge.hmac(pem),
            "hs256 pem stripped": forge.hmac(pem.strip()),
            "hs256 der": forge.hmac(der),
            "hs256 jwk": forge.hmac(_dump(forge.public_jwk)),
            "hs256 empty": forge.hmac(b""),
            "hs256 called es256": forge.hmac(pem, alg="ES256"),
            "another key": forge.signed(key=another),
            "another key, unknown kid": forge.signed(key=another, kid="another"),
            "p384": forge.signed(key=p384, alg="ES384"),
            "p384 called es256": forge.signed(key=p384),
            "rs256": forge.signed(key=rs, alg="RS256"),
            "no kid": forge.signed(kid=None),
            "unknown kid": forge.signed(kid="x"),
            "kid number": forge.signed(kid=1),
            "kid list": forge.signed(kid=[forge.header["kid"]]),
            "kid sql": forge.signed(kid="' OR 1=1 --"),
            "kid path": forge.signed(kid="../../../../dev/null"),
            "kid NUL": forge.signed(kid="\0"),
            "jku": forge.signed(key=another, jku=url),
            "jku with the real key": forge.signed(jku=url),
            "x5u": forge.signed(key=another, x5u=url),
            "x5c": forge.signed(key=another, x5c=["MIIB"]),
            "jwk": forge.signed(key=another, jwk=embedded),
            "jwk with the real key": forge.signed(jwk=forge.public_jwk),
            "crit": forge.signed(crit=["exp"]),
            "b64": forge.signed(crit=["b64"], b64=False),
            "zip": forge.signed(zip="DEF"),
            "typ JWT": forge.signed(typ="JWT"),
            "no typ": forge.signed(typ=None),
            "typ AT+JWT": forge.signed(typ="AT+JWT"),
        },
    )
    with pytest.raises(BlockingIOError):
        trap.accept()


async def test_claims(auth: httpx.AsyncClient, forge: Forge) -> None:
    now = int(time.time())
    odd: list[Any] = [None, "", [], {}, True, -1, "1", [forge.claims["aud"], "other"], 10**400]
    forged = {f"no {name}": forge.without(name) for name in ("iss", "aud", "sub", "exp", "iat", "jti", "role")}
    for name in ("iss", "aud", "sub", "jti", "role"):
        forged |= {f"{name} {str(value)[:9]!r}": forge.with_(name, value) for value in odd if value != "1"}
    for name in ("exp", "iat", "nbf"):
        values = [*odd[:4], True, "soon", [now], {"now": now}, 1.5, float("nan"), float("inf"), float("-inf")]
        forged |= {f"{name} {value!r}": forge.with_(name, value) for value in values}
    await refused(
        auth,
        forged
        | {
            "another issuer": forge.with_("iss", "https://evil.example"),
            "another audience": forge.with_("aud", "another-api"),
            "expired": forge.with_("exp", now - 61),
            "expired long ago": forge.with_("exp", 0),
            "issued tomorrow": forge.with_("iat", now + 86_400),
            "not yet": forge.with_("nbf", now + 120),
            "no claims": forge.signed({}),
            "a list": forge.signed([forge.claims]),
            "a string": forge.signed("claims"),
            "null": forge.signed("null"),
            "promoted": _promoted(forge),
            "sub not a user": forge.with_("sub", "1"),
        },
    )


async def test_clocks_may_differ_a_little(auth: httpx.AsyncClient, forge: Forge) -> None:
    now = int(time.time())
    for claims in ({"exp": now - 15}, {"iat": now + 15}, {"nbf": now + 15}):
        assert (await auth.get("/auth/me", headers=bearer(forge.signed(forge.claims | claims)))).status_code == 200


async def test_malformed_tokens(auth: httpx.AsyncClient, forge: Forge) -> None:
    good = forge.signed()
    head, body, signature = good.split(".")
    huge = _encode(b'{"alg":' + b"9" * 2000 + b"}")
    deep = _encode(b'{"alg":"ES256","typ":"at+jwt","kid":' + b"[" * 1200 + b"]" * 1200 + b"}")
    await refused(
        auth,
        {
            "one part": "x",
            "two parts": f"{head}.{body}",
            "four parts": f"{good}.x",
            "five parts": f"{good}.x.y",
            "dots": "..",
            "deep header": f"{deep}.{body}.{signature}",
            "deep claims": f"{head}.{_encode(b'[' * 1400)}.{signature}",
            "header not JSON": f"{_encode(b'{')}.{body}.{signature}",
            "header a list": f"{_encode(b'[]')}.{body}.{signature}",
            "header not UTF-8": f"{_encode(bytes([255, 254]))}.{body}.{signature}",
            "header huge number": f"{huge}.{body}.{signature}",
            "bad base64": f"!!!.{body}.{signature}",
            "padding": f"{head}=.{body}.{signature}",
            "swapped": f"{body}.{head}.{signature}",
            "cut signature": good[:-3],
            "zero signature": f"{head}.{body}.{_encode(bytes(64))}",
            "long": f"{good}{'A' * 5000}",
            "a refresh token": "nsTJf_6uqE5UGYJQwkhg5qfnl9iuqLXE3Zrp_DNNnRc",
            "our secret": SYNC_SECRET,
        },
    )
    assert (await auth.get("/auth/me", headers=bearer("A" * 200_000))).status_code == 431


async def test_authorization_headers(auth: httpx.AsyncClient, forge: Forge) -> None:
    good = forge.signed()
    assert (await auth.get("/auth/me", headers={"Authorization": f"bearer {good}"})).status_code == 200
    wrong: list[list[tuple[str, str]]] = [
        [],
        [("Authorization", "")],
        [("Authorization", "Bearer")],
        [("Authorization", good)],
        [("Authorization", f"Basic {good}")],
        [("Authorization", f"Bearer {good} {good}")],
        [("Authorization", f"Bearer {good}"), ("Authorization", f"Bearer {good}")],
    ]
    for headers in wrong:
        answer = await auth.get("/auth/me", headers=httpx.Headers(headers))
        assert_problem(answer, 401)
        assert answer.headers["www-authenticate"].startswith('Bearer realm="products-api"')
    assert_problem(await auth.get("/auth/me", params={"access_token": good}), 422)


async def test_a_refresh_token_is_no_access_token_and_the_reverse(auth: httpx.AsyncClient) -> None:
    pair = await tokens(auth)
    assert_problem(await auth.get("/auth/me", headers=bearer(pair["refresh_token"])), 401)
    assert_problem(await auth.post("/auth/refresh", json={"refresh_token": pair["access_token"]}), 401)


def _promoted(forge: Forge) -> str:
    head, _, signature = forge.signed().split(".")
    return f"{head}.{_encode(_dump(forge.claims | {'role': 'admin'}))}.{signature}"


def _pem(key: Any) -> bytes:
    encoding, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    pem: bytes = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, plain)
    return pem


def _dump(value: Any) -> bytes:
    return json.dumps(value).encode()


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
