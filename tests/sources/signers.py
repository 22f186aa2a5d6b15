"""Keys and signatures by real gpg and ssh-keygen, in folders of their own."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

needs_gpg = pytest.mark.skipif(shutil.which("gpg") is None, reason="gpg (gnupg) is not installed")
needs_ssh_keygen = pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="ssh-keygen (openssh-client) is not installed")
JANUARY = "20240101T000000!"


class Gnupg:
    """A home of gpg."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def run(self, *args: str, data: bytes = b"", at: str = "") -> bytes:
        """Run gpg, at another time if one is given, which then stands still."""
        fixed = ["--faked-system-time", at] if at else []
        command = ("gpg", "--batch", "--quiet", "--no-tty", "--pinentry-mode", "loopback", "--passphrase", "", *fixed, *args)
        done = subprocess.run(command, input=data, capture_output=True, env={**os.environ, "GNUPGHOME": str(self.home)})
        assert done.returncode == 0, (args, done.stderr.decode())
        return done.stdout

    def key(self, name: str, *, uses: str = "sign", lasts: str = "0", at: str = "", algorithm: str = "ed25519") -> str:
        """Make a key; returns its fingerprint."""
        self.run("--quick-gen-key", name, algorithm, uses, lasts, at=at)
        return self.fingerprints(name)[0]

    def fingerprints(self, name: str) -> list[str]:
        """Those of the key and of its subkeys."""
        lines = self.run("--list-keys", "--with-colons", name).decode().splitlines()
        return [line.split(":")[9] for line in lines if line.startswith("fpr:")]

    def public(self, *names: str) -> bytes:
        return self.run("--armor", "--export", *names)

    def signed(self, name: str, message: bytes, *, how: str = "--detach-sign", at: str = "") -> bytes:
        return self.run("--armor", "--local-user", name, how, data=message, at=at)

    def revoke(self, name: str) -> None:
        """By the certificate that gpg makes with each key, in which a colon guards against accidents."""
        certificate = self.home / "openpgp-revocs.d" / f"{self.fingerprints(name)[0]}.rev"
        self.run("--import", data=certificate.read_bytes().replace(b":-----BEGIN", b"-----BEGIN"))


@contextmanager
def gnupg() -> Iterator[Gnupg]:
    """A fresh home, whose path is short enough for the agent's socket."""
    home = Path(tempfile.mkdtemp(prefix="gpg-", dir="/tmp"))
    try:
        yield Gnupg(home)
    finally:
        subprocess.run(("gpgconf", "--kill", "all"), env={**os.environ, "GNUPGHOME": str(home)}, check=False)
        shutil.rmtree(home, ignore_errors=True)


def ssh_key(folder: Path, name: str = "key") -> Path:
    """Make an ed25519 key; returns the file of the private one, beside which the public one lies."""
    subprocess.run(("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "a comment", "-f", str(folder / name)), check=True)
    return folder / name


def fingerprint(key: Path) -> str:
    said = subprocess.run(("ssh-keygen", "-l", "-f", str(key)), check=True, capture_output=True, text=True).stdout
    return said.split()[1]
