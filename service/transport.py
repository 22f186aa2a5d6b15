"""TLS and proxies as tenants give them: the data of Secrets in, what a connection is made with out.

Keys as Flux reads them: ca.crt, tls.crt and tls.key (or caFile, certFile and keyFile); address, username and password of a proxy.
https://fluxcd.io/flux/components/source/ocirepositories/#cert-secret-reference
"""

import asyncio
import os
import ssl
import tempfile
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

from service.socks import SCHEMES, is_there

CONTEXTS = 64
_OLD_NAMES = {"ca.crt": "caFile", "tls.crt": "certFile", "tls.key": "keyFile"}


class BadTransport(Exception):
    """A Secret cannot be used; the message says what to change and shows nothing of it."""


async def tls_of(held: Mapping[str, bytes], where: str, *, system: bool = False) -> ssl.SSLContext | None:
    """Return the TLS of a Secret's decoded data, None where it holds none. `where` names the Secret in errors.

    A CA that is given is the only one that counts, or with `system` counts beside the system's. Raises BadTransport.
    """
    ca, certificate, key = pem_of(held)
    if bool(certificate) != bool(key):
        raise BadTransport(f"{where} has only one of tls.crt and tls.key: add the other")
    if not ca and not certificate:
        return None
    try:
        return await asyncio.to_thread(_made, ca, certificate, key, system)
    except (ssl.SSLError, ValueError, OSError):
        raise BadTransport(f"{where} holds a certificate or key that cannot be used: store them in PEM form") from None


def pem_of(held: Mapping[str, bytes]) -> tuple[bytes, bytes, bytes]:
    """The authorities, the certificate and the key of a Secret's decoded data, empty where it holds none."""
    ca, certificate, key = (held.get(new, held.get(old, b"")) for new, old in _OLD_NAMES.items())
    return ca, certificate, key


@lru_cache(maxsize=CONTEXTS)
def _made(ca: bytes, certificate: bytes, key: bytes, system: bool) -> ssl.SSLContext:
    """One context for the same certificates, so that connections are used again."""
    context = ssl.create_default_context(cadata=ca.decode("ascii")) if ca else ssl.create_default_context()
    if ca and system:
        context.load_default_certs()
    if certificate:
        with tempfile.TemporaryDirectory(prefix="sluice-") as folder:  # the ssl module takes files only; the folder is ours alone
            files = Path(folder, "crt"), Path(folder, "key")
            for file, content in zip(files, (certificate, key), strict=True):
                with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
                    out.write(content)
            context.load_cert_chain(files[0], files[1], password="")  # so that an encrypted key fails, and nobody is asked
    return context


def proxy_of(held: Mapping[str, bytes], where: str, *, socks: bool = True) -> str:
    """Return the URL of the proxy that a Secret's decoded data names, with its credentials. Raises BadTransport."""
    if "address" not in held:
        raise BadTransport(f"{where} has no key address: add it")
    given = {name: _line(name, held[name], where) for name in ("address", "username", "password") if name in held}
    if ("username" in given) != ("password" in given):
        raise BadTransport(f"{where} has only one of username and password: add the other")
    if ":" in given.get("username", ""):
        raise BadTransport(f"{where} has a username with a colon: no proxy can be told that one")
    return checked_proxy(_with_user(given["address"], given) if "username" in given else given["address"], where, socks=socks)


def checked_proxy(address: str, where: str, *, socks: bool = True) -> str:
    """Return the address of a proxy if it can be used; without `socks` it must be one of HTTP. Raises BadTransport."""
    try:
        parts = urlsplit(address)
        usable, scheme = bool(parts.hostname) and parts.port != 0, parts.scheme
    except ValueError:
        usable, scheme = False, ""
    if scheme in SCHEMES and usable and not socks:
        raise BadTransport(f"{where}: the proxy's address is {scheme}://, which is not carried out here: name one of http:// or https://")
    if not usable or scheme not in ("http", "https", *SCHEMES):
        raise BadTransport(f"{where}: the proxy's address is no URL of http, https, socks5 or socks5h: other kinds are not carried out")
    if scheme in SCHEMES and not is_there():
        raise BadTransport(f"{where}: python-socks is not installed: install sluice-gitops[socks]")
    return address


def _line(name: str, value: bytes, where: str) -> str:
    try:
        found = value.decode().strip()
    except UnicodeDecodeError as error:
        raise BadTransport(f"{where}: the key {name} is not text: store it as it is, without encoding it twice") from error
    if not found:
        raise BadTransport(f"{where}: the key {name} is empty: fill it, or remove it")
    if not found.isprintable():
        raise BadTransport(f"{where}: the key {name} holds a line break or the like: remove that")
    return found


def _with_user(address: str, given: Mapping[str, str]) -> str:
    parts = urlsplit(address)
    user = f"{quote(given['username'], safe='')}:{quote(given['password'], safe='')}"
    return urlunsplit((parts.scheme, f"{user}@{parts.netloc.rpartition('@')[2]}", parts.path, parts.query, ""))
