"""Git over ssh: a Secret's data in, the key to log in with and the host keys to trust out.

libgit2 speaks the protocol, through libssh2: the release of pygit2 that we pin brings both, so there is no second client to keep. It
looks for known_hosts in one home folder per process; that is why a fetch over ssh has a process, and its store the home folder. No agent,
no key and no known_hosts of the machine is ever used. Keys as Flux reads them, and the form of known_hosts:
https://fluxcd.io/flux/components/source/gitrepositories/#ssh-authentication and https://man.openbsd.org/sshd#SSH_KNOWN_HOSTS_FILE_FORMAT
"""

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pygit2

from service.sources.credentials import Credentials, InvalidSecret

DEFAULT_USER = "git"


def is_ssh(url: str) -> bool:
    """Return whether an address is one of ssh."""
    return url.startswith("ssh:")


def read_ssh(data: Mapping[str, bytes]) -> Credentials:
    """Return the credentials of a Secret's decoded data: identity and known_hosts, password where the key has one. Raises InvalidSecret."""
    for name in ("identity", "known_hosts"):
        if not data.get(name, b"").strip():
            raise InvalidSecret(f"the key '{name}' is missing or empty: ssh needs 'identity' and 'known_hosts'")
    key = data["identity"].strip() + b"\n"
    if not key.startswith(b"-----BEGIN ") or b"PRIVATE KEY-----" not in key:
        raise InvalidSecret("the key 'identity' holds no private key in PEM or OpenSSH form")
    try:
        key.decode("ascii")
        phrase = data.get("password", b"").decode().strip("\r\n")
    except UnicodeDecodeError as error:
        raise InvalidSecret("the keys 'identity' and 'password' must be text") from error
    return Credentials(password=phrase, ssh_key=key, known_hosts=_host_keys(data["known_hosts"]))


def _host_keys(text: bytes) -> bytes:
    lines = [line.strip() for line in text.splitlines()]
    kept = [line for line in lines if line and not line.startswith(b"#")]
    for line in kept:
        if line.startswith(b"@"):  # libssh2 would take the marker for the name of a host, and a revoked key for a good one
            raise InvalidSecret("the key 'known_hosts' has a line with a marker such as @revoked or @cert-authority; write plain host keys")
        if len(line.split()) < 3:
            raise InvalidSecret("the key 'known_hosts' has a line that is not: hosts, kind of key, key; make it with ssh-keyscan")
    if not kept:
        raise InvalidSecret("the key 'known_hosts' holds no host key; make it with ssh-keyscan")
    return b"\n".join(kept) + b"\n"


def with_user(url: str) -> str:
    """Return the address with the user to log in as: the one that it names, or git."""
    parts = urlsplit(url)
    if parts.username:
        return url
    return urlunsplit(parts._replace(netloc=f"{DEFAULT_USER}@{parts.netloc.rpartition('@')[2]}"))


def trust_hosts(store: Path, known_hosts: bytes) -> None:
    """Trust these host keys, and no others, in all of this process from now on: only for a process made for one remote."""
    home = store / "home"
    (home / ".ssh").mkdir(parents=True, exist_ok=True, mode=0o700)
    (home / ".ssh" / "known_hosts").write_bytes(known_hosts)
    pygit2.settings.homedir = str(home)


def key_of(credentials: Credentials, user: str) -> pygit2.KeypairFromMemory:
    """Return what libgit2 logs in with."""
    return pygit2.KeypairFromMemory(user, "", credentials.ssh_key.decode("ascii"), credentials.password)
