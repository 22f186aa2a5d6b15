import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.sources.armour import SignatureRefused
from service.sources.gitsignature import Keys, Signed, commit_signer, of_commit, of_tag, signer, tag_signer
from service.sources.openrepo import SnapshotGone
from tests.sources.signers import fingerprint, needs_ssh_keygen, ssh_key

PLAIN = b"tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\nauthor A <a@b> 1 +0000\ncommitter A <a@b> 1 +0000\n\nsubject\n\nbody\n"
SIGNATURE = b"gpgsig -----BEGIN SSH SIGNATURE-----\n AAAA\n \n -----END SSH SIGNATURE-----\n"


def git(repo: Path, *args: str, data: bytes = b"") -> bytes:
    settings = ("user.name=A", "user.email=a@b", "gpg.format=ssh", f"user.signingKey={repo}/key.pub")
    options = [part for each in settings for part in ("-c", each)]
    return subprocess.run(("git", "-C", str(repo), *options, *args), input=data, capture_output=True, check=True).stdout


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bare repository with a signed commit and a signed tag, both written by git."""
    folder = tmp_path_factory.mktemp("signed")
    subprocess.run(("git", "init", "-q", "--bare", str(folder)), check=True)
    ssh_key(folder)
    tree = git(folder, "mktree").decode().strip()
    commit = git(folder, "commit-tree", "-S", tree, "-m", "subject\n\ngpgsig in the text").decode().strip()
    git(folder, "tag", "-s", "v1", commit, "-m", "one\n\n-----BEGIN is no signature")
    return folder


def keys(repo: Path) -> Keys:
    return Keys.of({"a.sshpub": (repo / "key.pub").read_bytes()})


def id_of(repo: Path, name: str) -> str:
    return git(repo, "rev-parse", name).decode().strip()


@needs_ssh_keygen
def test_a_commit_and_a_tag_of_git(repo):
    assert commit_signer(repo, id_of(repo, "v1^{commit}"), keys(repo)) == fingerprint(repo / "key")
    assert tag_signer(repo, id_of(repo, "v1"), "v1", keys(repo)) == fingerprint(repo / "key")
    with pytest.raises(SignatureRefused, match="it was signed as the tag 'v1'"):
        tag_signer(repo, id_of(repo, "v1"), "v2", keys(repo))
    with pytest.raises(SnapshotGone):
        commit_signer(repo, "0" * 40, keys(repo))


@needs_ssh_keygen
def test_each_changed_byte_of_a_commit_or_tag_is_refused(repo):
    for name, take in (("v1^{commit}", of_commit), ("v1", of_tag)):
        raw = git(repo, "cat-file", git(repo, "cat-file", "-t", name).decode().strip(), name)
        assert signer(take(raw), keys(repo))
        for at in range(len(raw.rstrip())):
            with pytest.raises(SignatureRefused):
                signer(take(raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]), keys(repo))


@needs_ssh_keygen
@settings(max_examples=100, deadline=None)
@given(at=st.integers(0, 600), cut=st.integers(0, 40), put=st.binary(max_size=40))
def test_no_edit_of_a_commit_passes(repo, at, cut, put):
    raw = git(repo, "cat-file", "commit", "v1^{commit}")
    other = raw[:at] + put + raw[at + cut :]
    try:
        signed = of_commit(other)
        signer(signed, keys(repo))
    except SignatureRefused:
        return
    assert signed.payload == of_commit(raw).payload  # then only blanks around the signature differ


def test_what_is_signed_is_all_but_the_signature():
    signed = of_commit(PLAIN.replace(b"\n\nsubject", b"\n" + SIGNATURE + b"\nsubject"))
    assert signed.payload == PLAIN
    assert signed.signature == b"-----BEGIN SSH SIGNATURE-----\nAAAA\n\n-----END SSH SIGNATURE-----\n"
    assert of_commit(PLAIN).signature == b""
    quoted = PLAIN.replace(b"\n\nsubject", b"\nmergetag object 1\n " + SIGNATURE.replace(b"\n ", b"\n  ") + b"\nsubject")
    assert of_commit(quoted).signature == b""


TWICE = PLAIN.replace(b"\n\nsubject", b"\n" + SIGNATURE * 2 + b"\nsubject")


@pytest.mark.parametrize("raw", [TWICE, SIGNATURE + PLAIN, b"", b"parent x\n\n"])
def test_commits_that_git_does_not_write_are_refused(raw):
    with pytest.raises(SignatureRefused, match="it is no commit with one signature at most"):
        of_commit(raw)


@pytest.mark.parametrize(
    ("signature", "why"),
    [
        (b"", "it is not signed"),
        (b"-----BEGIN PGP SIGNATURE-----\n", "the Secret has no OpenPGP keys"),
        (b"-----BEGIN SSH SIGNATURE-----\n", "the Secret has no SSH keys"),
        (b"-----BEGIN SIGNED MESSAGE-----\n", "neither OpenPGP's nor SSH's"),
    ],
)
def test_signatures_without_a_key_for_them(signature, why):
    with pytest.raises(SignatureRefused, match=why):
        signer(Signed(PLAIN, signature), Keys({}, {}))


def test_keys_are_sorted_as_flux_does():
    assert Keys.of({"a.sshpub": b"", "b.asc": b"", "c": b""}) == Keys({"b.asc": b"", "c": b""}, {"a.sshpub": b""})
