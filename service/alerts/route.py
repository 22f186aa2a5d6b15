"""How a Provider is reached: its target, the TLS to use and the proxy to go through.

In: the typed Provider and its Secrets. Out: a Route. https://fluxcd.io/flux/components/notification/providers/#tls-authentication
A CA that is given is the only one that counts, as in Flux; a client certificate needs its key, and the reverse.
"""

import asyncio
import os
import ssl
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

from providers import PROVIDERS
from providers.contract import Secret, Target
from service.alerts.credentials import BadCredentials, one_line, target_of
from service.kinds.notification import Provider

ReadSecret = Callable[[str, str], Awaitable[Mapping[str, bytes] | None]]
CONTEXTS = 64
_OLD_NAMES = {"ca.crt": "caFile", "tls.crt": "certFile", "tls.key": "keyFile"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Where and how to send. `tls` is None for the system's authorities; `proxy` is empty for none, and holds its own credentials."""

    target: Target
    tls: ssl.SSLContext | None = None
    proxy: Secret = field(default_factory=Secret)

    def masked(self, text: str) -> str:
        """The text without what is secret of the Provider, in case an answer repeats it."""
        target = self.target
        hidden = [target.address, target.token, target.password, self.proxy, *target.keys.values(), *map(Secret, target.headers.values())]
        for secret in sorted((each.reveal() for each in hidden if each), key=len, reverse=True):
            text = text.replace(secret, "***") if len(secret) > 3 else text
        return text


async def route_of(provider: Provider, read_secret: ReadSecret, *, now: datetime) -> Route:
    """Read what the Provider names. Raises BadCredentials, and what `read_secret` raises."""
    spec, namespace = provider.spec, provider.metadata.namespace
    secret = await read_secret(namespace, spec.secret_ref) if spec.secret_ref else None
    target = target_of(provider, secret, now=now)
    tls: ssl.SSLContext | None = None
    by_type = PROVIDERS.get(spec.type)
    if spec.cert_secret_ref:
        held = await _held(read_secret, namespace, spec.cert_secret_ref)
        tls = await _context(held, f"Secret/{namespace}/{spec.cert_secret_ref}", required=True)
    elif secret and by_type is not None and by_type.wants == "commit_status":
        tls = await _context(secret, f"Secret/{namespace}/{spec.secret_ref}", required=False)
    return Route(target=target, tls=tls, proxy=await _proxy(provider, secret, read_secret))


async def _held(read_secret: ReadSecret, namespace: str, name: str) -> Mapping[str, bytes]:
    held = await read_secret(namespace, name)
    if held is None:
        raise BadCredentials(f"Secret/{namespace}/{name} does not exist: create it")
    return held


async def _context(held: Mapping[str, bytes], where: str, *, required: bool) -> ssl.SSLContext | None:
    ca, certificate, key = (held.get(new, held.get(old, b"")) for new, old in _OLD_NAMES.items())
    if bool(certificate) != bool(key):
        raise BadCredentials(f"{where} has only one of tls.crt and tls.key: add the other")
    if not ca and not certificate:
        if required:
            raise BadCredentials(f"{where} has neither ca.crt nor tls.crt and tls.key: add them")
        return None
    try:
        return await asyncio.to_thread(_made, ca, certificate, key)
    except (ssl.SSLError, ValueError, OSError):
        raise BadCredentials(f"{where} holds a certificate or key that cannot be used: store them in PEM form") from None


@lru_cache(maxsize=CONTEXTS)
def _made(ca: bytes, certificate: bytes, key: bytes) -> ssl.SSLContext:
    """One context for the same certificates, so that connections are used again."""
    context = ssl.create_default_context(cadata=ca.decode("ascii")) if ca else ssl.create_default_context()
    if certificate:
        with tempfile.TemporaryDirectory(prefix="sluice-") as folder:  # the ssl module takes files only; the folder is ours alone
            files = Path(folder, "crt"), Path(folder, "key")
            for file, content in zip(files, (certificate, key), strict=True):
                with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
                    out.write(content)
            context.load_cert_chain(files[0], files[1], password="")  # so that an encrypted key fails, and nobody is asked
    return context


async def _proxy(provider: Provider, secret: Mapping[str, bytes] | None, read_secret: ReadSecret) -> Secret:
    """The proxy's address, with its credentials; proxySecretRef before the Secret's key before spec.proxy, as in Flux."""
    spec, namespace = provider.spec, provider.metadata.namespace
    where, address = "spec.proxy", spec.proxy
    if secret and "proxy" in secret:
        where = f"Secret/{namespace}/{spec.secret_ref}"
        address = one_line("proxy", secret["proxy"], where)
    if spec.proxy_secret_ref:
        where = f"Secret/{namespace}/{spec.proxy_secret_ref}"
        held = await _held(read_secret, namespace, spec.proxy_secret_ref)
        if "address" not in held:
            raise BadCredentials(f"{where} has no key address: add it")
        given = {name: one_line(name, held[name], where) for name in ("address", "username", "password") if name in held}
        if ("username" in given) != ("password" in given):
            raise BadCredentials(f"{where} has only one of username and password: add the other")
        if ":" in given.get("username", ""):
            raise BadCredentials(f"{where} has a username with a colon: no proxy can be told that one")
        address = _with_user(given["address"], given) if "username" in given else given["address"]
    if address and not _is_proxy(address):
        raise BadCredentials(f"{where}: the proxy's address is not an http:// or https:// URL: other kinds of proxy are not carried out")
    return Secret(address)


def _with_user(address: str, given: Mapping[str, str]) -> str:
    parts = urlsplit(address)
    user = f"{quote(given['username'], safe='')}:{quote(given['password'], safe='')}"
    return urlunsplit((parts.scheme, f"{user}@{parts.netloc.rpartition('@')[2]}", parts.path, parts.query, ""))


def _is_proxy(address: str) -> bool:
    try:
        parts = urlsplit(address)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
