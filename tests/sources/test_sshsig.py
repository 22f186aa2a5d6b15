import base64
import hashlib
import struct
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from service.sources.armour import SignatureRefused
from service.sources.sshsig import fingerprint, keys_in, signer
from tests.sources.signers import needs_ssh_keygen

MESSAGE = b"tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\n\na message\n"


def made(folder: Path, kind: str, *, bits: str = "", namespace: str = "git", hashed: str = "sha512") -> tuple[bytes, bytes, str]:
    """A fresh key's public line, its signature of MESSAGE, and the fingerprint, all by ssh-keygen."""
    key, file = folder / "key", folder / "message"
    file.write_bytes(MESSAGE)
    run = ["ssh-keygen", "-q", "-t", kind, "-N", "", "-C", "a comment", "-f", str(key), *(["-b", bits] if bits else [])]
    subprocess.run(run, check=True)
    subprocess.run(["ssh-keygen", "-q", "-Y", "sign", "-O", f"hashalg={hashed}", "-n", namespace, "-f", str(key), str(file)], check=True)
    said = subprocess.run(["ssh-keygen", "-l", "-f", str(key)], check=True, capture_output=True, text=True).stdout
    return key.with_suffix(".pub").read_bytes(), file.with_suffix(".sig").read_bytes(), said.split()[1]


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, bytes]:
    return made(tmp_path_factory.mktemp("ssh"), "ed25519")[:2]


@needs_ssh_keygen
@pytest.mark.parametrize(
    ("kind", "bits", "hashed"),
    [
        ("ed25519", "", "sha512"),
        ("rsa", "2048", "sha256"),
        ("ecdsa", "256", "sha256"),
        ("ecdsa", "384", "sha512"),
        ("ecdsa", "521", "sha512"),
    ],
)
def test_what_ssh_keygen_signs_is_good_and_for_this_content_alone(tmp_path, kind, bits, hashed):
    line, signature, expected = made(tmp_path, kind, bits=bits, hashed=hashed)
    keys = keys_in(b"# people\n\n" + line, "a.sshpub")
    assert signer(signature, MESSAGE, keys, namespace="git") == expected
    with pytest.raises(SignatureRefused, match=f"the SSH signature by {expected} is not of this content".replace("+", r"\+")):
        signer(signature, MESSAGE + b" ", keys, namespace="git")


@needs_ssh_keygen
def test_other_keys_and_namespaces_are_refused(tmp_path, signed):
    line, signature, expected = made(tmp_path, "ed25519", namespace="file")
    with pytest.raises(SignatureRefused, match="not made for the namespace git"):
        signer(signature, MESSAGE, keys_in(line, "a.sshpub"), namespace="git")
    with pytest.raises(SignatureRefused) as caught:
        signer(signature, MESSAGE, keys_in(signed[0], "a.sshpub"), namespace="file")
    assert str(caught.value) == f"it is signed with the SSH key {expected}, which is not among the trusted keys"


@needs_ssh_keygen
def test_principals_may_stand_before_a_key_and_limits_are_refused(signed):
    line = signed[0]
    assert keys_in(b"me@example.com " + line, "a") == keys_in(b"no-pty,no-agent-forwarding " + line, "a") == keys_in(line, "a")
    for option in (b"cert-authority", b'valid-before="20200101"', b'expiry-time="20200101"', b'namespaces="file"'):
        with pytest.raises(SignatureRefused, match=r"line 2 of the key 'a.sshpub' .* the option [a-z-]+ is not carried out"):
            keys_in(b"\n" + option + b" " + line, "a.sshpub")


@pytest.mark.parametrize(
    "line",
    [
        b"ssh-ed25519",
        b"ssh-ed25519 AAAA",
        b"ssh-dss AAAAB3NzaC1kc3M=",
        b"nothing of this kind",
        b"ssh-rsa AAAAB3NzaC1yc2EAAAABAwAAAAED",
        b"\xff",
    ],
)
def test_lines_that_are_no_keys_are_named(line):
    with pytest.raises(SignatureRefused, match=r"line 1 of the key 'x.sshpub' holds no public SSH key that can be used"):
        keys_in(line, "x.sshpub")


@needs_ssh_keygen
def test_each_changed_byte_is_refused(signed):
    keys, signature = keys_in(signed[0], "a"), signed[1]
    for at in range(len(signature.rstrip())):
        for change in (1, 0x20, 0x80):
            other = signature[:at] + bytes([signature[at] ^ change]) + signature[at + 1 :]
            with pytest.raises(SignatureRefused):
                signer(other, MESSAGE, keys, namespace="git")
    for size in range(len(signature) - 1):
        with pytest.raises(SignatureRefused):
            signer(signature[:size], MESSAGE, keys, namespace="git")


@needs_ssh_keygen
@settings(max_examples=200, deadline=None)
@given(at=st.integers(0, 400), cut=st.integers(0, 12), put=st.binary(max_size=12))
def test_no_edit_of_a_signature_raises_anything_else(signed, at, cut, put):
    keys, signature = keys_in(signed[0], "a"), signed[1]
    other = signature[:at] + put + signature[at + cut :]
    if b"".join(other.split()) == b"".join(signature.split()):
        return  # where lines end means nothing
    with pytest.raises(SignatureRefused):
        signer(other, MESSAGE, keys, namespace="git")


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300))
def test_no_bytes_raise_anything_else(data):
    with pytest.raises(SignatureRefused):
        signer(armoured(data), MESSAGE, (), namespace="git")
    with pytest.raises(SignatureRefused):
        signer(armoured(b"SSHSIG\0\0\0\1" + data), MESSAGE, (), namespace="git")
    try:
        keys_in(data, "a")
    except SignatureRefused:
        return


def armoured(blob: bytes) -> bytes:
    text = base64.b64encode(blob)
    lines = [text[at : at + 70] for at in range(0, len(text), 70)]
    return b"\n".join((b"-----BEGIN SSH SIGNATURE-----", *lines, b"-----END SSH SIGNATURE-----", b""))


def string(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


def number(value: int) -> bytes:
    return string(value.to_bytes(value.bit_length() // 8 + 1, "big"))


def of_token(kind: bytes, sign, public: bytes) -> tuple[bytes, bytes]:
    """A key of a security token, which ssh-keygen makes only with one: its line, its signature, by PROTOCOL.u2f."""
    blob = string(kind) + public + string(b"ssh:")
    digest = string(b"git") + string(b"") + string(b"sha512") + string(hashlib.sha512(MESSAGE).digest())
    flags = b"\x01" + struct.pack(">I", 7)
    raw = sign(hashlib.sha256(b"ssh:").digest() + flags + hashlib.sha256(b"SSHSIG" + digest).digest())
    outer = string(blob) + string(b"git") + string(b"") + string(b"sha512") + string(string(kind) + string(raw) + flags)
    return kind + b" " + base64.b64encode(blob), armoured(b"SSHSIG\0\0\0\1" + outer)


def test_keys_of_security_tokens():
    edwards, elliptic = ed25519.Ed25519PrivateKey.generate(), ec.generate_private_key(ec.SECP256R1())

    def by_curve(data: bytes) -> bytes:
        return b"".join(number(each) for each in decode_dss_signature(elliptic.sign(data, ec.ECDSA(hashes.SHA256()))))

    point = elliptic.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    for line, signature in (
        of_token(b"sk-ssh-ed25519@openssh.com", edwards.sign, string(edwards.public_key().public_bytes_raw())),
        of_token(b"sk-ecdsa-sha2-nistp256@openssh.com", by_curve, string(b"nistp256") + string(point)),
    ):
        keys = keys_in(line, "a")
        assert signer(signature, MESSAGE, keys, namespace="git") == fingerprint(keys[0].blob)
        with pytest.raises(SignatureRefused, match="is not of this content"):
            signer(signature, b"other", keys, namespace="git")
