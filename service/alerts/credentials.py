"""A Provider and its Secret -> where to send.

In: the typed Provider, and the Secret's data where it names one. Out: a Target. Half-given credentials are an error that says which half is
missing; Flux drops all of them instead and sends without. https://fluxcd.io/flux/components/notification/providers/#secret-reference
"""

import re
from collections.abc import Mapping
from datetime import datetime
from urllib.parse import urlsplit

import yaml

from providers import contract
from providers.contract import Secret, Target
from service.kinds.notification import Provider

OPTION_PREFIX = "notification.sluice.dev/"
_KEYS = ("address", "token", "username", "password")
_TLS = ("ca.crt", "caFile", "tls.crt", "certFile", "tls.key", "keyFile")
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,200}")
_HEADERS_BYTES = 64 * 1024
_SCP = re.compile(r"(?:[\w.-]+@)?[\w.-]+:(?!//)[\w./~-]+", re.ASCII)


class BadCredentials(Exception):
    """The Provider cannot be used with these credentials; the message says what to change and shows none of them."""


def target_of(provider: Provider, by_type: contract.Provider, secret: Mapping[str, bytes] | None, *, now: datetime) -> Target:
    """Return the target; `secret` is None where the Provider names none or where there is no such Secret. Raises BadCredentials."""
    spec, where = provider.spec, f"Secret/{provider.metadata.namespace}/{provider.spec.secret_ref}"
    if spec.secret_ref and secret is None:
        raise BadCredentials(f"{where} does not exist: create it with the key address or token")
    held = secret or {}
    _check_unused(held, by_type, where, spec.type)
    given = {name: one_line(name, held[name], where) for name in _KEYS if name in held and name not in by_type.secret_keys}
    username = given.get("username") or spec.username
    if "password" in given and not username:
        raise BadCredentials(f"{where} has a password but no username: add the key username, or set spec.username")
    if "username" in given and "password" not in given:
        raise BadCredentials(f"{where} has a username but no password: add the key password, or move the name to spec.username")
    address, token = given.get("address") or spec.address, given.get("token", "")
    keys = {name: Secret(text(name, held[name], where)) for name in by_type.secret_keys if name in held}
    if spec.service_account_name and (token or keys or "password" in given):
        raise BadCredentials(f"{where} has credentials, and spec.serviceAccountName is set: choose one of them")
    if not address and not token and not keys and not spec.service_account_name:
        missing = f"{where} has neither the key address nor the key token" if spec.secret_ref else "no spec.address and no spec.secretRef"
        raise BadCredentials(f"{missing}: add one")
    if address:
        _check_address(address, by_type.address, where if "address" in given else "spec.address")
    return Target(
        address=Secret(address),
        token=Secret(token),
        username=username,
        password=Secret(given.get("password", "")),
        channel=spec.channel,
        headers=_headers(held["headers"], where) if "headers" in held else {},
        uid=provider.metadata.uid,
        keys=keys,
        now=now,
        options=options_of(provider.metadata.annotations),
    )


def options_of(annotations: Mapping[str, str]) -> dict[str, str]:
    """What annotations say of the look and the place of messages, by their names without the prefix."""
    return {name.removeprefix(OPTION_PREFIX): value[:4_000] for name, value in annotations.items() if name.startswith(OPTION_PREFIX)}


def text(name: str, value: bytes, where: str) -> str:
    """A value of a Secret as text, without white space around it. Raises BadCredentials."""
    try:
        found = value.decode().strip()
    except UnicodeDecodeError as error:
        raise BadCredentials(f"{where}: the key {name} is not text: store it as it is, without encoding it twice") from error
    if not found:
        raise BadCredentials(f"{where}: the key {name} is empty: fill it, or remove it")
    return found


def one_line(name: str, value: bytes, where: str) -> str:
    """The same where it must be one line. Raises BadCredentials."""
    found = text(name, value, where)
    if not found.isprintable():
        raise BadCredentials(f"{where}: the key {name} holds a line break or the like: remove that")
    return found


def _check_unused(held: Mapping[str, bytes], by_type: contract.Provider, where: str, name: str) -> None:
    """What would silently have no effect is an error."""
    unused = [key for key in _TLS if key in held and by_type.wants != "commit_status"]
    if unused:
        raise BadCredentials(
            f"{where}: {', '.join(unused)} is not carried out there: move it to a Secret of its own, in spec.certSecretRef"
        )
    if "headers" in held and not by_type.headers:
        raise BadCredentials(f"{where}: headers is not carried out for the type {name}: remove it from the Secret")


def _headers(value: bytes, where: str) -> dict[str, str]:
    """The YAML map of headers."""
    try:
        found = yaml.safe_load(value) if len(value) <= _HEADERS_BYTES else None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise BadCredentials(f"{where}: the key headers is not YAML: write one `Name: value` on each line") from error
    if not isinstance(found, dict):
        raise BadCredentials(f"{where}: the key headers is not a map: write one `Name: value` on each line")
    for name, content in found.items():
        if not isinstance(name, str) or not _HEADER_NAME.fullmatch(name) or not isinstance(content, str) or not content.isprintable():
            raise BadCredentials(f"{where}: the key headers holds a name or a value that no header can have: write each as one quoted text")
    return found


def _check_address(address: str, form: contract.Address, where: str) -> None:
    if form in ("free", "unused") or (form == "git" and _SCP.fullmatch(address)):
        usable, wanted = True, ""
    else:
        schemes = {"git": ("http", "https", "ssh"), "nats": ("nats", "tls")}.get(form, ("http", "https"))
        wanted = " or ".join(f"{scheme}://" for scheme in schemes)
        usable = _is_url(address, schemes, with_user=form in ("git", "dsn"))
    if not usable or not address.isprintable() or " " in address:
        raise BadCredentials(f"{where}: the address is not a plain {wanted} URL: copy it again")


def _is_url(address: str, schemes: tuple[str, ...], *, with_user: bool) -> bool:
    try:
        parts = urlsplit(address)
        return parts.scheme in schemes and bool(parts.hostname) and parts.port != 0 and (with_user or not parts.username)
    except ValueError:
        return False
