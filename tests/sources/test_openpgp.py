import sys
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.sources.armour import SignatureRefused
from service.sources.openpgp import cleartext, signer
from tests.sources.signers import JANUARY, Gnupg, gnupg, needs_gpg

pytest.importorskip("pysequoia", reason="the extra openpgp is not installed")
pytestmark = needs_gpg
MESSAGE = b"tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\n\na message\n"


@pytest.fixture(scope="module")
def gpg() -> Iterator[Gnupg]:
    with gnupg() as home:
        home.key("ada@example.com")
        yield home


@pytest.fixture(scope="module")
def signed(gpg: Gnupg) -> tuple[dict[str, bytes], bytes]:
    return {"ada.asc": gpg.public("ada@example.com")}, gpg.signed("ada@example.com", MESSAGE)


def refusal(signature: bytes, rings: dict[str, bytes], message: bytes = MESSAGE) -> str:
    with pytest.raises(SignatureRefused) as caught:
        signer(signature, message, rings)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("algorithm", ["ed25519", "rsa2048", "nistp256"])
def test_a_signature_by_gpg_is_good_for_its_content_alone(gpg, algorithm):
    key = gpg.key(f"{algorithm}@example.com", algorithm=algorithm)[-16:]
    rings, signature = {"all.asc": gpg.public()}, gpg.signed(f"{algorithm}@example.com", MESSAGE)
    assert signer(signature, MESSAGE, rings) == key
    assert f"the OpenPGP signature by {key} is not of this content" in refusal(signature, rings, b"other")


def test_other_keys_are_named(gpg, signed):
    key = gpg.key("eve@example.com")[-16:]
    why = f"it is signed with the OpenPGP key {key}, which is not among the trusted keys"
    assert refusal(gpg.signed("eve@example.com", MESSAGE), signed[0]) == why


def test_a_subkey_signs_for_its_key_until_it_is_revoked(gpg):
    primary = gpg.key("bob@example.com", uses="cert", at=JANUARY)
    gpg.run("--quick-add-key", primary, "ed25519", "sign", "0", at=JANUARY)
    signature = gpg.signed("bob@example.com", MESSAGE, at=JANUARY)
    before = gpg.public("bob@example.com")
    assert signer(signature, MESSAGE, {"bob.asc": before}) == primary[-16:]
    commands = b"key 1\nrevkey\ny\n2\n\ny\nsave\n"  # 2: superseded, for which Sequoia alone would pass older signatures
    gpg.run("--command-fd", "0", "--expert", "--edit-key", primary, data=commands)
    assert gpg.public("bob@example.com") != before
    why = f"which has revoked its subkey {gpg.fingerprints('bob@example.com')[1][-16:]}"
    assert why in refusal(signature, {"bob.asc": gpg.public("bob@example.com")})


def test_keys_that_have_expired_or_are_revoked_now_do_not_count(gpg):
    gpg.key("old@example.com", lasts="30d", at=JANUARY)
    signature = gpg.signed("old@example.com", MESSAGE, at=JANUARY)
    assert "which has expired on 2024-01-31" in refusal(signature, {"old.asc": gpg.public("old@example.com")})
    gpg.key("gone@example.com")
    signature = gpg.signed("gone@example.com", MESSAGE)
    assert signer(signature, MESSAGE, {"gone.asc": gpg.public("gone@example.com")})
    gpg.revoke("gone@example.com")
    assert refusal(signature, {"gone.asc": gpg.public("gone@example.com")})


def test_a_subkey_that_has_expired_now_does_not_count(gpg):
    primary = gpg.key("carl@example.com", uses="cert", at=JANUARY)
    gpg.run("--quick-add-key", primary, "ed25519", "sign", "30d", at=JANUARY)
    signature = gpg.signed("carl@example.com", MESSAGE, at=JANUARY)
    assert "that has expired on 2024-01-31" in refusal(signature, {"carl.asc": gpg.public("carl@example.com")})


@pytest.mark.parametrize("ring", [b"", b"junk", b"\x99\x00", b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n"])
def test_what_is_no_key_ring_is_named(signed, ring):
    assert refusal(signed[1], {"x.asc": ring}).startswith("the key 'x.asc' holds no OpenPGP public keys")
    assert signer(signed[1], MESSAGE, {**signed[0], "known_hosts": ring})
    assert "; the key 'known_hosts' holds no OpenPGP public keys" in refusal(signed[1], {**signed[0], "known_hosts": ring}, b"other")


def test_a_library_that_is_missing_or_panics_is_a_refusal(signed, monkeypatch):
    class PanicException(BaseException):
        """As pyo3 has it."""

    def panics(data: bytes) -> None:
        raise PanicException("index out of bounds")

    monkeypatch.setitem(sys.modules, "pysequoia", None)
    assert refusal(signed[1], signed[0]) == "OpenPGP signatures need the extra openpgp: pip install 'sluice-gitops[openpgp]'"
    monkeypatch.setitem(sys.modules, "pysequoia", SimpleNamespace(Sig=SimpleNamespace(from_bytes=panics)))
    assert refusal(signed[1], signed[0]) == "the OpenPGP signature cannot be read: index out of bounds"


def test_clear_signed_text(gpg, signed):
    message = gpg.signed("ada@example.com", b"- one\n- two\n", how="--clearsign")
    found = cleartext(message, signed[0])
    assert (found.text, found.signer) == (b"- one\n- two", gpg.fingerprints("ada@example.com")[0][-16:])
    for other in (message.replace(b"two", b"too"), b"- one\n- two\n", b""):
        with pytest.raises(SignatureRefused):
            cleartext(other, signed[0])
    with pytest.raises(SignatureRefused):
        cleartext(message, {"eve.asc": gpg.public("eve@example.com")})


@settings(max_examples=80, deadline=None)
@given(at=st.integers(0, 300), cut=st.integers(0, 8), put=st.binary(max_size=8))
def test_no_edit_of_a_signature_makes_it_good_for_another_text(signed, at, cut, put):
    rings, signature = signed
    assert refusal(signature[:at] + put + signature[at + cut :], rings, b"other")


@settings(max_examples=80, deadline=None)
@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_else(signed, data):
    refusal(data, signed[0])
    refusal(signed[1], {"x.asc": data})
    with pytest.raises(SignatureRefused):
        cleartext(data, signed[0])
