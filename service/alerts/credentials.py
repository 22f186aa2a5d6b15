"""A Provider and its Secret -> where to send.

In: the typed Provider, and the Secret's data where it names one. Out: a Target. Half-given credentials are an error that says which half is
missing; Flux drops all of them instead and sends without. https://fluxcd.io/flux/components/notification/providers/#secret-reference
"""

from collections.abc import Mapping
from urllib.parse import urlsplit

from providers.contract import Secret, Target
from service.kinds.notification import Provider

_KEYS = ("address", "token", "username", "password")
_REFUSED = ("proxy", "ca.crt", "caFile", "tls.crt", "certFile", "tls.key", "keyFile", "headers")


class BadCredentials(Exception):
    """The Provider cannot be used with these credentials; the message says what to change and shows none of them."""


def target_of(provider: Provider, secret: Mapping[str, bytes] | None) -> Target:
    """Return the target; `secret` is None where the Provider names none or where there is no such Secret. Raises BadCredentials."""
    spec, where = provider.spec, f"Secret/{provider.metadata.namespace}/{provider.spec.secret_ref}"
    if spec.secret_ref and secret is None:
        raise BadCredentials(f"{where} does not exist: create it with the key address or token")
    held = secret or {}
    given = {name: _text(name, held[name], where) for name in _KEYS if name in held}
    refused = sorted(name for name in _REFUSED if name in held)
    if refused:
        raise BadCredentials(f"{where}: {', '.join(refused)} is not carried out by this version of sluice: remove it from the Secret")
    username = given.get("username") or spec.username
    if "password" in given and not username:
        raise BadCredentials(f"{where} has a password but no username: add the key username, or set spec.username")
    if "username" in given and "password" not in given:
        raise BadCredentials(f"{where} has a username but no password: add the key password, or move the name to spec.username")
    address, token = given.get("address") or spec.address, given.get("token", "")
    if not address and not token:
        missing = f"{where} has neither the key address nor the key token" if spec.secret_ref else "no spec.address and no spec.secretRef"
        raise BadCredentials(f"{missing}: add one")
    if address:
        _check_address(address, where if "address" in given else "spec.address")
    return Target(address=Secret(address), token=Secret(token), username=username, channel=spec.channel)


def _text(name: str, value: bytes, where: str) -> str:
    try:
        text = value.decode().strip()
    except UnicodeDecodeError as error:
        raise BadCredentials(f"{where}: the key {name} is not text: store it as it is, without encoding it twice") from error
    if not text:
        raise BadCredentials(f"{where}: the key {name} is empty: fill it, or remove it")
    if not text.isprintable():
        raise BadCredentials(f"{where}: the key {name} holds a line break or the like: remove that")
    return text


def _check_address(address: str, where: str) -> None:
    try:
        parts = urlsplit(address)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0 and not parts.username
    except ValueError:
        usable = False
    if not usable or not address.isprintable() or " " in address:
        raise BadCredentials(f"{where}: the address is not a plain http:// or https:// URL: copy it again")
