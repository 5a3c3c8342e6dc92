"""A phone, for tests of signing in: what an app sends, and a passkey in software."""

import base64
import hashlib
import hmac
import struct
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any
from uuid import uuid4

import orjson
from allauth.headless.tokens.strategies.jwt.internal import create_access_token
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.sessions.backends.db import SessionStore
from django.db import connections
from django.test import Client
from django.utils import timezone
from fido2.cose import ES256
from fido2.webauthn import Aaguid, AttestationObject, AttestedCredentialData, AuthenticatorData

from backend.accounts import families
from backend.accounts.addresses import address_of
from backend.accounts.models import User
from backend.wire import uuid

SIGN_IN = "/_allauth/app/v1"
PASSWORD = "five quiet herons wading"
MIA = "mia@cast.example"


def phone(address: str = "127.0.0.1", *, device: str | None = "") -> Client:
    """A client that names an installation of its own, or the one given, or none."""
    headers = {} if device is None else {"x-device": device or str(uuid4())}
    return Client(REMOTE_ADDR=address, headers=headers)


def send(
    phone: Client,
    route: str,
    body: dict[str, Any] | None = None,
    *,
    token: str = "",
    session: str = "",
    method: str = "post",
) -> Any:
    """The answer of a sign-in route; `session` is the token of a sign-in that is under way."""
    headers = {"authorization": f"Bearer {token}"} if token else {}
    if session:
        headers["x-session-token"] = session
    if method == "get":
        return phone.get(f"{SIGN_IN}/{route}", headers=headers)
    return phone.generic(
        method.upper(), f"{SIGN_IN}/{route}", orjson.dumps(body or {}), "application/json", headers=headers
    )


def login(phone: Client, email: str | None, password: str = PASSWORD) -> Any:
    return send(phone, "auth/login", {"email": email, "password": password})


def tokens(phone: Client, user: User) -> tuple[str, str]:
    """The access and refresh tokens of a sign-in by password."""
    meta = login(phone, address_of(user)).json()["meta"]
    return meta["access_token"], meta["refresh_token"]


def signed_in(phone: Client, user: User) -> tuple[str, str]:
    """The tokens of a sign-in on that phone, without the cost of a password."""
    session = SessionStore()
    session[SESSION_KEY] = str(user.pk)
    session[BACKEND_SESSION_KEY] = "allauth.account.auth_backends.AuthenticationBackend"
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.save()
    family = families.start_family(
        user=user,
        session=session,
        installation=uuid(phone.defaults.get("HTTP_X_DEVICE")),
        now=timezone.now(),
    )
    session.save()
    return create_access_token(user, session, {}), families.signed(family)


def status(phone: Client, token: str) -> int:
    """How the API answers that access token."""
    return int(phone.get("/api/v1/me", headers={"authorization": f"Bearer {token}"}).status_code)


def refresh(phone: Client, token: str) -> dict[str, Any] | None:
    """The next tokens; None where they are refused."""
    answer = send(phone, "tokens/refresh", {"refresh_token": token})
    assert answer.status_code in (200, 400), answer.content
    return dict(answer.json()["data"]) if answer.status_code == 200 else None


def at_once(calls: list[Callable[[], Any]]) -> list[Any]:
    """What each call gives, all of them begun at the same moment over connections of their own."""
    barrier = Barrier(len(calls))

    def run(call: Callable[[], Any]) -> Any:
        barrier.wait()
        try:
            return call()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls))


def totp(secret: str, steps: int = 0) -> str:
    """The code an authenticator app shows for that secret (RFC 6238), so many steps from now."""
    key = base64.b32decode(secret)
    digest = hmac.new(key, struct.pack(">Q", int(time.time()) // 30 + steps), hashlib.sha1).digest()
    offset = digest[-1] & 15
    return f"{(int.from_bytes(digest[offset : offset + 4]) & 0x7FFFFFFF) % 10**6:06}"


class Passkey:
    """An authenticator that keeps one passkey, for the origin of the app's server."""

    def __init__(self, origin: str) -> None:
        self.origin = origin
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.id = uuid4().bytes
        self.user_handle = ""

    def create(self, options: dict[str, Any]) -> dict[str, Any]:
        """What the app sends when a passkey was made."""
        asked = options["publicKey"]
        self.user_handle = asked["user"]["id"]
        public = ES256.from_cryptography_key(self.key.public_key())
        data = AuthenticatorData.create(
            hashlib.sha256(asked["rp"]["id"].encode()).digest(),
            AuthenticatorData.FLAG.UP | AuthenticatorData.FLAG.UV | AuthenticatorData.FLAG.AT,
            0,
            AttestedCredentialData.create(Aaguid.NONE, self.id, public),
        )
        client_data = self._client_data("webauthn.create", asked["challenge"])
        return self._credential(
            clientDataJSON=client_data,
            attestationObject=bytes(AttestationObject.create("none", data, {})),
        ) | {"clientExtensionResults": {"credProps": {"rk": True}}}

    def get(self, options: dict[str, Any]) -> dict[str, Any]:
        """What the app sends when the passkey was used."""
        asked = options["publicKey"]
        data = bytes(
            AuthenticatorData.create(
                hashlib.sha256(asked["rpId"].encode()).digest(),
                AuthenticatorData.FLAG.UP | AuthenticatorData.FLAG.UV,
                0,
            )
        )
        client_data = self._client_data("webauthn.get", asked["challenge"])
        signature = self.key.sign(data + hashlib.sha256(client_data).digest(), ec.ECDSA(SHA256()))
        credential = self._credential(clientDataJSON=client_data, authenticatorData=data, signature=signature)
        credential["response"]["userHandle"] = self.user_handle
        return credential

    def _client_data(self, kind: str, challenge: str) -> bytes:
        return orjson.dumps({"type": kind, "challenge": challenge, "origin": self.origin})

    def _credential(self, **response: bytes) -> dict[str, Any]:
        return {
            "type": "public-key",
            "id": _url_safe(self.id),
            "rawId": _url_safe(self.id),
            "clientExtensionResults": {},
            "response": {name: _url_safe(value) for name, value in response.items()},
        }


def _url_safe(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
