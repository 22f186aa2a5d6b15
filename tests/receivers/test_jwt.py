"""Tokens of somebody else: only what a given key has signed counts, and only with the one algorithm."""

import base64
import hmac
import json
from contextlib import suppress
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from receivers.contract import BadPayload, BadSignature, RsaKey, UnknownKey
from receivers.jwt import claims_of, expiry, keys_of

PRIVATE = rsa.generate_private_key(public_exponent=65537, key_size=2048)
NUMBERS = PRIVATE.public_key().public_numbers()
KEY = RsaKey(id="a", modulus=NUMBERS.n, exponent=NUMBERS.e)


def coded(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def token(claims: Any, header: Any = None, private: rsa.RSAPrivateKey = PRIVATE, algorithm: Any = None) -> str:
    head = {"alg": "RS256", "kid": "a"} if header is None else header
    signed = f"{coded(json.dumps(head).encode())}.{coded(json.dumps(claims).encode())}"
    return f"{signed}.{coded(private.sign(signed.encode(), padding.PKCS1v15(), algorithm or hashes.SHA256()))}"


def test_claims_of_a_signed_token_are_read() -> None:
    assert claims_of(token({"aud": "x"}), (KEY,)) == {"aud": "x"}


@pytest.mark.parametrize(
    "header", [{"alg": "none"}, {"alg": "HS256", "kid": "a"}, {"alg": "PS256", "kid": "a"}, {"kid": "a"}, [], {"alg": 3}]
)
def test_other_algorithms_are_refused(header: Any) -> None:
    with pytest.raises(BadSignature):
        claims_of(token({}, header), (KEY,))


def test_the_public_key_is_no_secret_of_an_hmac() -> None:
    signed = ".".join(coded(part) for part in (b'{"alg": "HS256", "kid": "a"}', b"{}"))
    mac = hmac.digest(NUMBERS.n.to_bytes(256), signed.encode(), "sha256")
    with pytest.raises(BadSignature, match="RS256"):
        claims_of(f"{signed}.{coded(mac)}", (KEY,))


def test_another_key_of_the_same_name_is_refused() -> None:
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    with pytest.raises(BadSignature, match="does not fit"):
        claims_of(token({}, private=other), (KEY,))


def test_another_hash_is_refused() -> None:
    with pytest.raises(BadSignature, match="does not fit"):
        claims_of(token({}, algorithm=hashes.SHA512()), (KEY,))


def test_a_key_that_is_not_known_can_be_told_from_a_bad_signature() -> None:
    with pytest.raises(UnknownKey):
        claims_of(token({}, {"alg": "RS256", "kid": "b"}), (KEY,))
    with pytest.raises(UnknownKey):
        claims_of(token({}), ())


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_changed_token_is_never_good(data: st.DataObject) -> None:
    good = token({"aud": "x", "exp": 1})
    spot = data.draw(st.integers(0, len(good) - 1))
    other = data.draw(st.sampled_from("ABCxyz019-_.") | st.characters(max_codepoint=0x2FF))
    changed = good[:spot] + other + good[spot + 1 :]
    if changed == good:
        return
    try:
        claims = claims_of(changed, (KEY,))
    except BadSignature:
        return
    assert claims == {"aud": "x", "exp": 1}, "only the unused bits of the last letter of a part may differ"
    assert changed.split(".")[:2] == good.split(".")[:2]


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60))
def test_any_text_is_refused(given_: str) -> None:
    with pytest.raises(BadSignature):
        claims_of(given_, (KEY,))
    with suppress(BadSignature):
        expiry(given_)


@pytest.mark.parametrize("claims", [{}, {"exp": -1}, {"exp": 2**40}, {"exp": "1"}, {"exp": True}, []])
def test_a_token_must_say_when_it_ends(claims: Any) -> None:
    with pytest.raises(BadSignature):
        expiry(token(claims))
    assert expiry(token({"exp": 60})).timestamp() == 60


def jwk(**fields: Any) -> dict[str, Any]:
    made = {"kty": "RSA", "use": "sig", "kid": "a", "n": coded(NUMBERS.n.to_bytes(256)), "e": coded(NUMBERS.e.to_bytes(3))}
    return {**made, **fields}


def test_keys_of_a_set_are_read_and_others_passed_over() -> None:
    weak = coded((2**1023 + 1).to_bytes(128))
    whole = [jwk(), jwk(kty="EC"), jwk(use="enc"), jwk(n=weak), jwk(e="Ag"), jwk(e="AQ")]
    assert keys_of(json.dumps({"keys": whole}).encode()) == (KEY,)


@pytest.mark.parametrize(
    "body", [b"", b"[]", b'{"keys": 3}', b'{"keys": [{"kty": "RSA"}]}', b'{"keys": [{"kty": "RSA", "n": "!", "e": "AQAB"}]}']
)
def test_what_is_no_set_of_keys_is_refused(body: bytes) -> None:
    with pytest.raises(BadPayload):
        keys_of(body)
