"""Credentials of a Git remote: a Secret's data in, what a fetch sends out, with a hash that tells one identity from another.

Keys as Flux reads them: https://fluxcd.io/flux/components/source/gitrepositories/#secret-reference
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

_CERTIFICATES = {"ca.crt": "caFile", "tls.crt": "certFile", "tls.key": "keyFile"}
_IN_URL = re.compile(r"(?<=://)[^/@\s]+@")


class InvalidSecret(ValueError):
    """The Secret cannot be used; the message says which key is wrong and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """What one GitRepository may send. `ca` is PEM, trusted beside the system's roots and for this remote only; `certificate` and `key`
    are what the client shows in the TLS handshake.

    Over ssh `ssh_key` is the private key, `password` its passphrase, `known_hosts` the host keys to trust.
    `scope` says whose the log-in is where it changes by itself; then it tells identities apart instead of that.
    `proxy` is the URL of the proxy to go through, with its own credentials; "" leaves it to the environment.
    """

    username: str = ""
    password: str = field(default="", repr=False)
    bearer: str = field(default="", repr=False)
    ca: bytes = field(default=b"", repr=False)
    certificate: bytes = field(default=b"", repr=False)
    key: bytes = field(default=b"", repr=False)
    proxy: str = field(default="", repr=False)
    ssh_key: bytes = field(default=b"", repr=False)
    known_hosts: bytes = field(default=b"", repr=False)
    scope: str = field(default="", repr=False)

    @property
    def identity(self) -> str:
        """A hash of all of it: objects share a store only where they would see the same."""
        told = ("", self.scope, "") if self.scope else (self.username, self.password, self.bearer)
        parts = [*map(str.encode, told), self.ca]
        parts += [b"scope"] if self.scope else []
        parts += [self.proxy.encode()] if self.proxy else []
        parts += [b"tls", self.certificate, self.key] if self.certificate else []
        parts += [b"ssh", self.ssh_key, self.known_hosts] if self.ssh_key else []
        return hashlib.sha256(b"".join(len(part).to_bytes(8, "big") + part for part in parts)).hexdigest()

    @property
    def given(self) -> bool:
        """Whether anything is sent to the remote."""
        return bool(self.username or self.password or self.bearer or self.ssh_key)


def read_credentials(data: Mapping[str, bytes]) -> Credentials:
    """Return the credentials of a Secret's decoded data. Raises InvalidSecret, naming the key."""
    if data.get("githubAppID"):
        raise InvalidSecret("the Secret has the keys of a GitHub App, but spec.provider is not github; set it")
    certificates = read_certificates(data)
    bearer = _text(data, "bearerToken")
    if bearer:
        return replace(certificates, bearer=bearer)
    username, password = _text(data, "username"), _text(data, "password")
    if username and not password:
        raise InvalidSecret("the Secret has a username but no password")
    if password and not username:
        raise InvalidSecret("the Secret has a password but no username; with an access token any username will do, such as git")
    return replace(certificates, username=username, password=password)


def read_certificates(data: Mapping[str, bytes]) -> Credentials:
    """Return the certificates of a Secret's decoded data alone. Raises InvalidSecret, naming the key."""
    ca, certificate, key = (data.get(new) or data.get(old) or b"" for new, old in _CERTIFICATES.items())
    if ca and b"-----BEGIN CERTIFICATE-----" not in ca:
        raise InvalidSecret("the key 'ca.crt' (or 'caFile') holds no PEM certificate")
    if bool(certificate) != bool(key):
        raise InvalidSecret("the Secret has only one of 'tls.crt' and 'tls.key': add the other")
    return Credentials(ca=ca, certificate=certificate, key=key)


def _text(data: Mapping[str, bytes], key: str) -> str:
    try:
        text = data.get(key, b"").decode().strip("\r\n")
    except UnicodeDecodeError as error:
        raise InvalidSecret(f"the key '{key}' is not UTF-8 text") from error
    if any(ord(letter) < 32 or ord(letter) == 127 for letter in text):
        raise InvalidSecret(f"the key '{key}' contains a line break or a control character")
    return text


def masked(text: str, credentials: Credentials = Credentials()) -> str:
    """Return `text` without the secrets of `credentials` and without user information in URLs."""
    for secret in (credentials.password, credentials.bearer, credentials.username if credentials.scope else ""):
        if len(secret) > 2:
            text = text.replace(secret, "***")
    return _IN_URL.sub("***@", text)
