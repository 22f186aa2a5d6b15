"""Signatures of Git's commits and tags: an object as Git stores it in, what was signed and by which trusted key out.

A commit's signature is in its header gpgsig, a tag's stands at the end of its message; what is signed is the rest.
https://git-scm.com/docs/gitformat-signature
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pygit2

from service.sources import openpgp, sshsig
from service.sources.armour import PGP, SSH, SignatureRefused, form_of
from service.sources.openrepo import SnapshotGone, open_store

NAMESPACE = "git"
_SSH_KEYS = ".sshpub"
_GPGSIG = re.compile(rb"^gpgsig(?:-sha256)? ((?:.*\n)(?: .*\n)*)", re.MULTILINE)
_IN_TAG = re.compile(rb"^(?:" + re.escape(PGP) + rb"|" + re.escape(SSH) + rb")", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Signed:
    """What is signed, and by what; b"" where it is not."""

    payload: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class Keys:
    """The trusted public keys of a Secret, by the names of its entries: as Flux, all that do not end in .sshpub are OpenPGP's."""

    rings: Mapping[str, bytes]
    ssh: Mapping[str, bytes]

    @classmethod
    def of(cls, data: Mapping[str, bytes]) -> "Keys":
        """Sort a Secret's decoded data."""
        ssh = {name: value for name, value in data.items() if name.endswith(_SSH_KEYS)}
        return cls({name: value for name, value in data.items() if name not in ssh}, ssh)

    @property
    def digest(self) -> str:
        """A hash of all of them."""
        return hashlib.sha256(repr((sorted(self.rings.items()), sorted(self.ssh.items()))).encode()).hexdigest()


def of_commit(raw: bytes) -> Signed:
    """Take a commit apart. Raises SignatureRefused where it is not as Git writes it."""
    headers, blank, message = raw.partition(b"\n\n")
    headers += b"\n"
    found = _GPGSIG.findall(headers)
    if not headers.startswith(b"tree ") or len(found) > 1:
        raise SignatureRefused("it is no commit with one signature at most")
    payload = _GPGSIG.sub(b"", headers) + blank[1:] + message
    return Signed(payload, found[0].replace(b"\n ", b"\n") if found else b"")


def of_tag(raw: bytes) -> Signed:
    """Take an annotated tag apart: the last signature in it counts, as in Git."""
    starts = [found.start() for found in _IN_TAG.finditer(raw)]
    return Signed(raw[: starts[-1]], raw[starts[-1] :]) if starts else Signed(raw, b"")


def signer(signed: Signed, keys: Keys) -> str:
    """Return the id or fingerprint of the trusted key whose signature this is. Raises SignatureRefused."""
    form = form_of(signed.signature)
    if not signed.signature:
        raise SignatureRefused("it is not signed")
    if form == "openpgp":
        if not keys.rings:
            raise SignatureRefused("it is signed with OpenPGP, and the Secret has no OpenPGP keys (entries that end in .asc)")
        return openpgp.signer(signed.signature, signed.payload, keys.rings)
    if form == "ssh":
        if not keys.ssh:
            raise SignatureRefused(f"it is signed with SSH, and the Secret has no SSH keys (entries that end in {_SSH_KEYS})")
        trusted = [key for name, text in sorted(keys.ssh.items()) for key in sshsig.keys_in(text, name)]
        return sshsig.signer(signed.signature, signed.payload, trusted, namespace=NAMESPACE)
    raise SignatureRefused("its signature is neither OpenPGP's nor SSH's")


def commit_signer(store: Path, commit: str, keys: Keys) -> str:
    """Return who signed a commit of a store. Blocking. Raises SignatureRefused, SnapshotGone."""
    return signer(of_commit(_raw(store, commit)), keys)


def tag_signer(store: Path, tag: str, name: str, keys: Keys) -> str:
    """Return who signed the tag object `tag`, which must say itself that its name is `name`. Blocking. Raises as commit_signer."""
    signed = of_tag(_raw(store, tag))
    by = signer(signed, keys)
    said = re.search(rb"^tag (.*)$", signed.payload.partition(b"\n\n")[0], re.MULTILINE)
    if said is None or said[1] != name.encode():
        raise SignatureRefused(f"it was signed as the tag '{said[1].decode(errors='replace') if said else ''}'")
    return by


def _raw(store: Path, id_: str) -> bytes:
    try:
        return bytes(open_store(store).read(id_)[1])
    except (KeyError, pygit2.GitError) as error:
        raise SnapshotGone(f"{id_} is not in the store") from error
