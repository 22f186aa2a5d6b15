"""trustpolicy.json of the Notary Project: text of a Secret in, what must hold for the signatures of one repository out.

https://github.com/notaryproject/specifications/blob/main/specs/trust-store-trust-policy.md ; a statement that asks for what this version
does not carry out (timestamp authorities, identities that a plugin judges) is refused, and the message names it.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.x509 import Name
from cryptography.x509.oid import NameOID

from service.sources.signatures import NotVerified

KEY = "trustpolicy.json"
_CHECKS = ("integrity", "authenticity", "authenticTimestamp", "expiry", "revocation")
_LEVELS = {
    "strict": dict.fromkeys(_CHECKS, "enforce"),
    "permissive": {**dict.fromkeys(_CHECKS, "log"), "integrity": "enforce", "authenticity": "enforce"},
    "audit": {**dict.fromkeys(_CHECKS, "log"), "integrity": "enforce"},
    "skip": dict.fromkeys(_CHECKS, "skip"),
}
_NAMES = {
    NameOID.COUNTRY_NAME: "C", NameOID.STATE_OR_PROVINCE_NAME: "ST", NameOID.LOCALITY_NAME: "L", NameOID.ORGANIZATION_NAME: "O",
    NameOID.ORGANIZATIONAL_UNIT_NAME: "OU", NameOID.COMMON_NAME: "CN", NameOID.SERIAL_NUMBER: "SERIALNUMBER",
    NameOID.STREET_ADDRESS: "STREET", NameOID.POSTAL_CODE: "POSTALCODE",
}  # fmt: skip
_PART = re.compile(r"\s*([A-Za-z][A-Za-z0-9-]*)\s*=((?:[^,+\\]|\\.)*)(,|$)")
_ESCAPED = re.compile(r"\\([0-9A-Fa-f]{2}|.)")

Names = Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """What holds for one repository. `actions` by check: enforce, log or skip; `identities` None: any whom a store trusts."""

    name: str
    actions: Mapping[str, str]
    stores: frozenset[str]
    identities: tuple[Names, ...] | None

    @property
    def is_skipped(self) -> bool:
        """Whether no signature is asked for."""
        return self.actions["integrity"] == "skip"

    def names(self, subject: Names) -> bool:
        """Whether a certificate's owner is one of those who may sign."""
        return self.identities is None or any(set(each.items()) <= set(subject.items()) for each in self.identities)


def statement_for(text: bytes, repository: str) -> Statement:
    """Return the statement of `host/name`, or that of `*`. Raises NotVerified for a document that cannot be used, or has neither."""
    try:
        document = json.loads(text)
        statements = [_statement(each) for each in document["trustPolicies"]]
        listed = [tuple(map(str, each["registryScopes"])) for each in document["trustPolicies"]]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise NotVerified(f"the key '{KEY}' does not have the form of a trust policy") from error
    names, scopes = [each.name for each in statements], [scope for each in listed for scope in each]
    if document.get("version") != "1.0":
        raise NotVerified(f"the key '{KEY}' is not of the version 1.0")
    if len(set(scopes)) != len(scopes) or len(set(names)) != len(names) or any("*" in each and len(each) > 1 for each in listed):
        raise NotVerified(f"the key '{KEY}' has two statements of one name or of one registry scope")
    for wanted in (repository, "*"):
        for scope, statement in zip(listed, statements, strict=True):
            if wanted in scope:
                return statement
    raise NotVerified(f"the key '{KEY}' has no statement whose registryScopes hold '{repository}' or '*'")


def _statement(found: Mapping[str, Any]) -> Statement:
    name, checks = str(found["name"]), found["signatureVerification"]
    said = f"the statement '{name[:100]}' of '{KEY}'"
    if checks["level"] not in _LEVELS:
        raise NotVerified(f"{said}: signatureVerification.level is none of {', '.join(_LEVELS)}")
    actions, override = dict(_LEVELS[checks["level"]]), checks.get("override") or {}
    for check, action in override.items():
        may = ("enforce", "log", "skip") if check == "revocation" else ("enforce", "log")
        if check not in _CHECKS[1:] or action not in may or checks["level"] == "skip":
            raise NotVerified(f"{said}: signatureVerification.override.{str(check)[:50]} cannot be '{str(action)[:50]}'")
        actions[check] = action
    if checks["level"] == "skip":
        return Statement(name=name, actions=actions, stores=frozenset(), identities=())
    stores = [str(each).partition(":")[0] for each in found["trustStores"]]
    if "tsa" in stores:
        raise NotVerified(f"{said}: trustStores of the type tsa are not carried out: timestamps are not looked at")
    if not stores or set(stores) - {"ca", "signingAuthority"}:
        raise NotVerified(f"{said}: trustStores must name ca:<name> or signingAuthority:<name>")
    return Statement(name=name, actions=actions, stores=frozenset(stores), identities=_identities(found["trustedIdentities"], said))


def _identities(found: list[Any], said: str) -> tuple[Names, ...] | None:
    if found == ["*"]:
        return None
    if not found:
        raise NotVerified(f"{said}: trustedIdentities is empty")
    return tuple(_identity(str(each), said) for each in found)


def _identity(text: str, said: str) -> Names:
    kind, _, name = text.partition(":")
    if kind != "x509.subject":
        raise NotVerified(f"{said}: trustedIdentities can only be '*' alone, or begin with x509.subject:")
    names: dict[str, str] = {}
    at = 0
    while at < len(name) or not names:
        part = _PART.match(name, at)
        key = "ST" if part is not None and part[1] == "S" else part[1] if part is not None else ""
        if part is None or key in names:
            raise NotVerified(f"{said}: '{name[:200]}' is no distinguished name of single, different parts")
        names[key] = _ESCAPED.sub(_unescaped, part[2].strip())
        at = part.end()
    if not {"C", "ST", "O"} <= set(names):
        raise NotVerified(f"{said}: '{name[:200]}' must hold C, ST and O")
    return names


def _unescaped(found: re.Match[str]) -> str:
    return chr(int(found[1], 16)) if len(found[1]) == 2 else found[1]


def names_of(subject: Name) -> Names:
    """The parts of a certificate's owner. Raises NotVerified where they cannot be compared."""
    found: dict[str, str] = {}
    for part in subject.rdns:
        for each in part:
            key = _NAMES.get(each.oid, "")
            if len(list(part)) > 1 or not key or key in found or not isinstance(each.value, str):
                raise NotVerified(f"the certificate's owner '{subject.rfc4514_string()[:200]}' has parts that cannot be compared")
            found[key] = each.value
    return found
