"""Signatures of the Notary Project, as notation-go 1.3.2 has put them into a registry: what a policy makes of them, and of changed ones."""

import base64
import json
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from service.sources.cbor import decode
from service.sources.notation import certificates_of, judge
from service.sources.notationenvelope import Envelope, read
from service.sources.signatures import NotVerified, Outcome
from service.sources.trustpolicy import names_of, statement_for
from tests.sources.registry import digest_of

RECORDED: dict[str, Any] = json.loads((Path(__file__).parent / "notation" / "signed.json").read_text())
DIGEST: str = RECORDED["digest"]
REPOSITORY = "registry.example.com/team/app"
TEAM = "x509.subject: C=US, ST=WA, O=Team\\, Inc."
NOW = datetime(2026, 12, 1, tzinfo=UTC)
TRUSTED = certificates_of({name: text.encode() for name, text in RECORDED["certificates"].items()})
ALL = tuple(RECORDED["signed"])


def recorded(name: str) -> tuple[str, bytes]:
    """Media type and bytes of an envelope."""
    index = json.loads(RECORDED["manifests"][RECORDED["signed"][name]])
    manifest = json.loads(RECORDED["manifests"][index["manifests"][0]["digest"]])
    layer = manifest["layers"][0]
    return layer["mediaType"], base64.b64decode(RECORDED["blobs"][layer["digest"]])


def policy(level: str = "strict", *, identities: tuple[str, ...] = ("*",), stores: tuple[str, ...] = ("ca:team",), **more: Any) -> bytes:
    checks = {"level": level, **({"override": more.pop("override")} if "override" in more else {})}
    statement = {
        "name": "all",
        "registryScopes": ["*"],
        "signatureVerification": checks,
        "trustStores": stores,
        "trustedIdentities": identities,
    }
    return json.dumps({"version": "1.0", "trustPolicies": [{**statement, **more}]}).encode()


def judged(name: str, text: bytes, *, digest: str = DIGEST, trusted: Any = TRUSTED, now: datetime = NOW) -> Outcome:
    return judge(read(*recorded(name)), digest, statement_for(text, REPOSITORY), trusted, now)


@pytest.mark.parametrize("name", ["rsa", "ec", "self", "cose-rsa", "cose-ec"])
def test_both_envelopes_count_with_each_kind_of_key(name: str) -> None:
    found = judged(name, policy())
    assert found.is_verified
    assert found.words == f"signed by CN={name.removeprefix('cose-')},O=Team\\, Inc.,L=Seattle,ST=WA,C=US"
    assert judged(name, policy(identities=(TEAM,))) == found
    for digest, trusted, identities, words in (
        ("sha256:" + "0" * 64, TRUSTED, ("*",), "about another artifact"),
        (DIGEST, (), ("*",), "does not come from one that the Secret holds"),
        (DIGEST, TRUSTED, ("x509.subject:C=US,ST=WA,O=Other",), "does not name"),
    ):
        with pytest.raises(NotVerified, match=words):
            judged(name, policy(identities=identities), digest=digest, trusted=trusted)


def test_levels_say_what_must_hold() -> None:
    with pytest.raises(NotVerified, match="has expired on 2026-11-21"):
        judged("expired", policy())
    told = judged("expired", policy("permissive"))
    assert told.is_verified
    assert told.words.endswith("; only logged: the signature has expired on 2026-11-21")
    assert judged("expired", policy(override={"expiry": "log"})).is_verified
    late = NOW + timedelta(days=365 * 100)
    with pytest.raises(NotVerified, match="is not valid on 2126"):
        judged("rsa", policy(), now=late)
    assert judged("rsa", policy("permissive"), now=late).is_verified
    assert not judged("rsa", policy("audit"), trusted=()).is_verified
    assert not judged("rsa", policy("audit", identities=("x509.subject:C=US,ST=WA,O=Other",))).is_verified
    with pytest.raises(NotVerified, match="about another artifact"):
        judged("rsa", policy("audit"), digest="sha256:" + "0" * 64)


def test_revocation_is_refused_by_name_where_it_is_enforced() -> None:
    with pytest.raises(NotVerified, match=r"was revoked is not looked up by this version; set signatureVerification.override.revocation"):
        judged("listed", policy())
    assert "only logged: whether" in judged("listed", policy("permissive")).words
    assert judged("listed", policy(override={"revocation": "skip"})).words == judged("rsa", policy()).words.replace("CN=rsa", "CN=listed")


@pytest.mark.parametrize("name", ALL)
def test_no_changed_byte_counts(name: str) -> None:
    kind, body = recorded(name)
    whole = read(kind, body)
    for at in range(0, len(body), 7):
        try:
            found = read(kind, body[:at] + bytes([body[at] ^ 0x11]) + body[at + 1 :])
        except NotVerified:
            continue
        assert found == whole, at  # a word that is not signed, such as the client's name


def test_a_jws_says_what_is_critical_and_with_which_algorithm() -> None:
    for change, words in (
        ({"crit": []}, "critical"),
        ({"crit": ["io.cncf.notary.signingScheme", "io.example.own"], "io.example.own": "x"}, "critical"),
        ({"io.cncf.notary.verificationPlugin": "com.example.plugin"}, "verification plugin"),
        ({"cty": "text/plain"}, "critical"),
        ({"io.cncf.notary.signingScheme": "own"}, "form"),
        ({"io.cncf.notary.signingTime": "2026-11-21T15:09:10"}, "expires"),
        ({"io.cncf.notary.expiry": "2026-11-21T15:09:10Z", "crit": ["io.cncf.notary.signingScheme", "io.cncf.notary.expiry"]}, "expires"),
        ({"alg": "ES384"}, "algorithm"),
        ({"alg": "none"}, "algorithm"),
    ):
        with pytest.raises(NotVerified, match=words):
            read("application/jose+json", Own().signed(**change))
    assert read("application/jose+json", Own().signed()).digest == DIGEST


class Own:
    """Envelopes of our own, for what real clients never write."""

    def __init__(self) -> None:
        self.key, self.root_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
        self.root = self.certificate("root", self.root_key, x509.BasicConstraints(True, 0), signs=False)
        self.leaf = self.certificate("leaf", self.key)

    def certificate(
        self, name: str, key: Any, constraints: Any = None, *, signs: bool = True, issuer: str = "root", extra: Any = None
    ) -> Any:
        usage = x509.KeyUsage(signs, False, False, False, False, not signs, False, False, False)
        names = [x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)]) for text in (name, issuer)]
        made = x509.CertificateBuilder().subject_name(names[0]).issuer_name(names[1]).public_key(key.public_key()).serial_number(7)
        made = made.not_valid_before(NOW - timedelta(days=1)).not_valid_after(NOW + timedelta(days=1)).add_extension(usage, True)
        if constraints is not None:
            made = made.add_extension(constraints, True)
        if extra is not None:
            made = made.add_extension(extra, False)
        return made.sign(self.root_key, hashes.SHA256())

    def signed(self, chain: Any = (), about: str = DIGEST, **changes: Any) -> bytes:
        header = {
            "alg": "ES256",
            "crit": ["io.cncf.notary.signingScheme"],
            "cty": "application/vnd.cncf.notary.payload.v1+json",
            "io.cncf.notary.signingScheme": "notary.x509",
            "io.cncf.notary.signingTime": "2026-11-21T15:09:10Z",
            **changes,
        }
        header = {name: value for name, value in header.items() if value is not None}
        payload = {"targetArtifact": {"mediaType": "x", "digest": about, "size": 1}}
        protected, content = (base64.urlsafe_b64encode(json.dumps(each).encode()).decode().rstrip("=") for each in (header, payload))
        der = self.key.sign(f"{protected}.{content}".encode(), ec.ECDSA(hashes.SHA256()))
        pair = b"".join(number.to_bytes(32, "big") for number in decode_dss_signature(der))
        certificates = [base64.b64encode(each.public_bytes(Encoding.DER)).decode() for each in chain or (self.leaf, self.root)]
        signature = base64.urlsafe_b64encode(pair).decode().rstrip("=")
        return json.dumps({"payload": content, "protected": protected, "header": {"x5c": certificates}, "signature": signature}).encode()


def own(made: Own, **changes: Any) -> Envelope:
    return read("application/jose+json", made.signed(**changes))


def test_a_signing_authority_proves_the_time() -> None:
    made = Own()
    crit = ["io.cncf.notary.signingScheme", "io.cncf.notary.authenticSigningTime"]
    scheme = {"io.cncf.notary.signingScheme": "notary.x509.signingAuthority", "io.cncf.notary.signingTime": None, "crit": crit}
    late, trusted = NOW + timedelta(days=400), (made.root,)
    good = own(made, **scheme, **{"io.cncf.notary.authenticSigningTime": NOW.isoformat()})
    authority = statement_for(policy(stores=("signingAuthority:team",)), REPOSITORY)
    assert judge(good, DIGEST, authority, trusted, late).is_verified
    with pytest.raises(NotVerified, match="does not come from one"):
        judge(good, DIGEST, statement_for(policy(), REPOSITORY), trusted, late)
    early = own(made, **scheme, **{"io.cncf.notary.authenticSigningTime": (NOW - timedelta(days=2)).isoformat()})
    with pytest.raises(NotVerified, match="is not valid on"):
        judge(early, DIGEST, authority, trusted, NOW)


def _chains() -> Iterator[tuple[str, Any, str]]:
    made = Own()
    other = Own()
    server = x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.SERVER_AUTH])
    yield "no root", (made, (made.leaf,)), "does not end at a root"
    yield "another root", (made, (made.leaf, other.root)), "is not issued by"
    yield "a root twice", (made, (made.leaf, made.root, made.root)), "is not issued by"
    yield (
        "an authority signs",
        (made, (made.certificate("leaf", made.key, x509.BasicConstraints(True, 0), signs=False), made.root)),
        "not for signatures",
    )
    yield "a server's", (made, (made.certificate("leaf", made.key, extra=server), made.root)), "something else than signing"
    made.root = made.certificate("root", made.root_key)
    yield "no authority", (made, (made.leaf, made.root)), "not that of an authority"


@pytest.mark.parametrize(("chain", "words"), [pytest.param(chain, words, id=name) for name, chain, words in _chains()])
def test_chains_keep_the_rules(chain: Any, words: str) -> None:
    made, certificates = chain
    with pytest.raises(NotVerified, match=words):
        read("application/jose+json", made.signed(certificates))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"{}", "form of a trust policy"),
        (b"[]", "form of a trust policy"),
        (policy("strictest"), "is none of strict, permissive, audit, skip"),
        (policy(override={"integrity": "log"}), "override.integrity cannot be 'log'"),
        (policy(override={"expiry": "skip"}), "override.expiry cannot be 'skip'"),
        (policy("skip", override={"expiry": "log"}), "cannot be"),
        (policy(stores=("ca:team", "tsa:clock")), "type tsa are not carried out"),
        (policy(stores=()), "must name ca:"),
        (policy(identities=()), "trustedIdentities is empty"),
        (policy(identities=("*", TEAM)), "'\\*' alone"),
        (policy(identities=("com.example.plugin:x",)), "begin with x509.subject:"),
        (policy(identities=("x509.subject:C=US,ST=WA",)), "must hold C, ST and O"),
        (policy(identities=("x509.subject:C=US,C=US,ST=WA,O=x",)), "no distinguished name"),
        (policy(identities=("x509.subject:C=US+O=x,ST=WA",)), "no distinguished name"),
        (
            policy(registryScopes=["registry.example.com/other"]),
            "has no statement whose registryScopes hold 'registry.example.com/team/app'",
        ),
        (policy(registryScopes=["*", "a/b"]), "two statements"),
        (policy().replace(b'"1.0"', b'"2.0"'), "version 1.0"),
    ],
)
def test_policies_that_cannot_be_used_are_refused(text: bytes, words: str) -> None:
    with pytest.raises(NotVerified, match=words):
        statement_for(text, REPOSITORY)


def test_the_statement_of_the_repository_wins() -> None:
    document = json.loads(policy("skip"))
    own_statement = {**json.loads(policy())["trustPolicies"][0], "name": "own", "registryScopes": [REPOSITORY]}
    document["trustPolicies"].append(own_statement)
    text = json.dumps(document).encode()
    assert (statement_for(text, REPOSITORY).name, statement_for(text, "a/b").is_skipped) == ("own", True)
    assert statement_for(policy(identities=("x509.subject:S=WA,C=US,O=Team\\2C Inc.",)), "a/b").names(
        names_of(read(*recorded("ec")).certificates[0].subject)
    )


_WORDS = st.sampled_from(["strict", "skip", "1.0", "*", "ca:a", "x509.subject:C=US,ST=WA,O=a", "enforce", "expiry", "level", "override"])
_KEYS = st.sampled_from(["version", "trustPolicies", "name", "registryScopes", "signatureVerification", "trustStores", "trustedIdentities"])
_VALUES = st.recursive(_WORDS | st.none() | st.integers(), lambda each: st.lists(each, max_size=3) | st.dictionaries(_KEYS | _WORDS, each))


@given(_KEYS, _VALUES)
def test_policies_with_anything_in_them_are_read_or_refused(name: str, value: Any) -> None:
    document = json.loads(policy())
    (document if name in document else document["trustPolicies"][0])[name] = value
    with suppress(NotVerified):
        assert statement_for(json.dumps(document).encode(), REPOSITORY).name


@given(st.binary(max_size=200))
def test_bytes_of_strangers_are_refused(body: bytes) -> None:
    for kind in ("application/jose+json", "application/cose", "text/plain"):
        with pytest.raises(NotVerified):
            read(kind, body)


@given(st.recursive(st.integers(-(2**40), 2**40) | st.binary(max_size=300) | st.text(max_size=30) | st.booleans() | st.none(), st.lists))
def test_cbor_is_read_back(value: Any) -> None:
    assert decode(_cbor(value)) == value


def _cbor(value: Any) -> bytes:
    match value:
        case None:
            return b"\xf6"
        case bool():
            return b"\xf5" if value else b"\xf4"
        case int():
            return _head(0, value) if value >= 0 else _head(1, -1 - value)
        case bytes():
            return _head(2, len(value)) + value
        case str():
            return _head(3, len(value.encode())) + value.encode()
        case _:
            return _head(4, len(value)) + b"".join(map(_cbor, value))


def _head(kind: int, number: int) -> bytes:
    if number < 24:
        return bytes([kind << 5 | number])
    size = next(power for power in range(4) if number < 1 << (8 << power))
    return bytes([kind << 5 | 24 + size]) + number.to_bytes(1 << size, "big")


def test_the_recording_is_of_what_its_digests_say() -> None:
    assert all(digest_of(text.encode()) == digest for digest, text in RECORDED["manifests"].items())
