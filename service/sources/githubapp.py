"""A GitHub App as the identity of a fetch: a Secret's data in, the user and token of its installation out.

A token lives for an hour and is kept, for each App and installation, until shortly before its end. The store of a repository belongs to
the App and not to the token. https://docs.github.com/en/apps/creating-github-apps/authenticating-with-a-github-app and
https://fluxcd.io/flux/components/source/gitrepositories/#github
"""

import asyncio
import base64
import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

import aiohttp
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from service.outbound import Outbound, OutboundRefused, refusal_in
from service.sources.credentials import Credentials, InvalidSecret, read_certificates
from service.sources.fetcherror import AuthRefused, FetchError, RemoteFailed
from service.sources.smart import trust_of

API = "https://api.github.com"
USER = "x-access-token"
SPARE = timedelta(minutes=5)
LIMIT = timedelta(seconds=20)
PROOF_SECONDS = 540
MOST_KEPT = 512
MOST_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class App:
    """Who asks, and for which installation: its number, or its owner where that is ""."""

    id: str
    installation: str
    owner: str
    api: str
    key: bytes = field(repr=False)
    certificates: Credentials = field(default_factory=Credentials, repr=False)

    @property
    def scope(self) -> str:
        """What tells one from another, without a secret that could be read from it."""
        return repr((self.id, self.installation, self.owner, self.api, hashlib.sha256(self.key).hexdigest()))


def read_app(data: Mapping[str, bytes]) -> App:
    """Return the App of a Secret's decoded data. Raises InvalidSecret."""
    id_, key = _text(data, "githubAppID"), data.get("githubAppPrivateKey", b"")
    installation, owner = _text(data, "githubAppInstallationID"), _text(data, "githubAppInstallationOwner")
    if not id_ or not key:
        raise InvalidSecret("provider github needs the keys 'githubAppID' and 'githubAppPrivateKey'")
    if bool(installation) == bool(owner):
        raise InvalidSecret("exactly one of the keys 'githubAppInstallationID' and 'githubAppInstallationOwner' is needed")
    if installation and not installation.isdigit():
        raise InvalidSecret("the key 'githubAppInstallationID' is not a number: copy it from the installation's page")
    api = _text(data, "githubAppBaseURL").rstrip("/") or API
    if not api.startswith(("https://", "http://")):
        raise InvalidSecret("the key 'githubAppBaseURL' is not an address such as https://github.example.com/api/v3")
    _loaded(key)
    return App(id=id_, installation=installation, owner=owner, api=api, key=key, certificates=read_certificates(data))


def _text(data: Mapping[str, bytes], name: str) -> str:
    try:
        found = data.get(name, b"").decode("ascii").strip()
    except UnicodeDecodeError:
        found = "\n"
    if not found.isprintable():
        raise InvalidSecret(f"the key '{name}' is not plain text")
    return found


def _loaded(key: bytes) -> rsa.RSAPrivateKey:
    try:
        # unchecked, which takes 0.1 instead of 80 ms on the event loop: a bad key of a tenant only makes a bad proof of his own
        found = load_pem_private_key(key, None, unsafe_skip_rsa_key_validation=True)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        found = None
    if not isinstance(found, rsa.RSAPrivateKey):
        raise InvalidSecret("the key 'githubAppPrivateKey' holds no RSA private key in PEM form; download it from the App's page")
    return found


def proof(app: App, now: float) -> str:
    """Return the signed words by which GitHub knows the App, good for some minutes. `now`: seconds since the epoch."""
    claims = {"iat": int(now) - 60, "exp": int(now) + PROOF_SECONDS, "iss": app.id}
    said = b".".join(_coded(json.dumps(each, separators=(",", ":")).encode()) for each in ({"alg": "RS256", "typ": "JWT"}, claims))
    return (said + b"." + _coded(_loaded(app.key).sign(said, padding.PKCS1v15(), hashes.SHA256()))).decode()


def _coded(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


class Apps:
    """The tokens of a process. Belongs to one event loop."""

    def __init__(self, outbound: Outbound) -> None:
        self._outbound = outbound
        self._tokens: dict[str, tuple[str, float]] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    async def credentials(self, app: App, proxy: str = "") -> Credentials:
        """Return what a fetch sends. Raises FetchError, and BadTransport where the CA cannot be read."""
        async with self._locks.setdefault(app.scope, asyncio.Lock()):
            token, end = self._tokens.get(app.scope, ("", 0.0))
            if end < time.time() + SPARE.total_seconds():
                token, end = await self._asked(app, proxy)
                while len(self._tokens) >= MOST_KEPT:
                    oldest = next(iter(self._tokens))
                    del self._tokens[oldest]
                self._tokens[app.scope] = token, end
        return replace(app.certificates, username=USER, password=token, scope=app.scope, proxy=proxy)

    def doubt(self, credentials: Credentials) -> None:
        """A token was refused: it may have been revoked, so the next fetch asks for another."""
        self._tokens.pop(credentials.scope, None)

    async def _asked(self, app: App, proxy: str) -> tuple[str, float]:
        tls = await trust_of(app.certificates)
        timeout = aiohttp.ClientTimeout(total=LIMIT.total_seconds())
        headers = {"Accept": "application/vnd.github+json", "Authorization": f"Bearer {await asyncio.to_thread(proof, app, time.time())}"}
        try:
            async with self._outbound.session(tls=tls, proxy=proxy, timeout=timeout) as session:
                ask = _Ask(session=session, headers=headers)
                number = app.installation or await _installation(ask, app)
                found = await ask.json("POST", f"{app.api}/app/installations/{number}/access_tokens")
        except OutboundRefused as error:
            raise RemoteFailed(f"GitHub App: not allowed: {error}") from error
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            why = refusal_in(error) or type(error).__name__
            raise RemoteFailed(f"GitHub App: no usable answer of {app.api}: {why}") from error
        return _token_of(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ask:
    session: aiohttp.ClientSession
    headers: Mapping[str, str]

    async def json(self, method: str, url: str) -> Any:
        """The answer, None for 404. A redirect is not followed: the proof goes to one host only."""
        async with self.session.request(method, url, headers=self.headers, allow_redirects=False) as answer:
            if answer.status == 404:
                return None
            if answer.status in (401, 403):
                raise AuthRefused(f"GitHub App: refused with {answer.status}; check githubAppID, githubAppPrivateKey and the clock")
            if answer.status not in (200, 201):
                raise RemoteFailed(f"GitHub App: answered {answer.status}")
            body = await answer.content.read(MOST_BYTES)
            while not answer.content.at_eof() and len(body) < MOST_BYTES:
                body += await answer.content.read(MOST_BYTES)
            return json.loads(body)


async def _installation(ask: _Ask, app: App) -> str:
    for kind in ("orgs", "users"):
        found = await ask.json("GET", f"{app.api}/{kind}/{quote(app.owner, safe='')}/installation")
        number = found.get("id") if isinstance(found, dict) else None
        if isinstance(number, int):
            return str(number)
    raise AuthRefused(f"GitHub App: not installed at '{app.owner}'; install it, or correct githubAppInstallationOwner")


def _token_of(found: Any) -> tuple[str, float]:
    if found is None:
        raise AuthRefused("GitHub App: there is no such installation; correct githubAppInstallationID")
    token, end = (found.get("token"), found.get("expires_at")) if isinstance(found, dict) else (None, None)
    try:
        until = datetime.fromisoformat(str(end)).timestamp()
    except ValueError as error:
        raise FetchError("GitHub App: the answer does not say until when its token is good") from error
    if not isinstance(token, str) or not token.isascii() or not token.isprintable() or not token:
        raise FetchError("GitHub App: the answer holds no token")
    return token, until
