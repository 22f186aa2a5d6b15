"""How a Provider is reached: its target, the TLS to use and the proxy to go through.

In: the typed Provider and its Secrets. Out: a Route. https://fluxcd.io/flux/components/notification/providers/#tls-authentication
A CA that is given is the only one that counts, as in Flux; a client certificate needs its key, and the reverse.
"""

import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from providers import contract
from providers.contract import Certificates, Lent, Secret, Target
from service.alerts.credentials import BadCredentials, one_line, target_of
from service.kinds.notification import Provider
from service.transport import BadTransport, checked_proxy, pem_of, proxy_of, tls_of

ReadSecret = Callable[[str, str], Awaitable[Mapping[str, bytes] | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Where and how to send. `tls`, made of `certificates`, is None for the system's authorities; `proxy` is empty for none, and holds
    its own credentials."""

    target: Target
    tls: ssl.SSLContext | None = None
    certificates: Certificates | None = None
    proxy: Secret = field(default_factory=Secret)

    def named(self, status_id: str) -> "Route":
        """The same, with the name of the commit's status."""
        return replace(self, target=replace(self.target, status_id=status_id))

    def lent(self, lent: Lent) -> "Route":
        """The same, with what a cloud has given in the place of credentials."""
        given: dict[str, Any] = {"token": Secret(lent)} if isinstance(lent, str) else {"keys": lent}
        return replace(self, target=replace(self.target, granted=True, **given))

    def masked(self, text: str) -> str:
        """The text without what is secret of the Provider, in case an answer repeats it."""
        target = self.target
        hidden = [
            target.address,
            target.token,
            target.password,
            self.proxy,
            *target.keys.values(),
            *map(Secret, target.headers.values()),
        ]
        for secret in sorted((each.reveal() for each in hidden if each), key=len, reverse=True):
            text = text.replace(secret, "***") if len(secret) > 3 else text
        return text


async def route_of(provider: Provider, by_type: contract.Provider, read_secret: ReadSecret, *, now: datetime) -> Route:
    """Read what the Provider names. Raises BadCredentials, and what `read_secret` raises."""
    spec, namespace = provider.spec, provider.metadata.namespace
    secret = await read_secret(namespace, spec.secret_ref) if spec.secret_ref else None
    target = target_of(provider, by_type, secret, now=now)
    tls: ssl.SSLContext | None = None
    certificates: Certificates | None = None
    _check_unused(provider, secret, by_type)
    if spec.cert_secret_ref:
        held = await _held(read_secret, namespace, spec.cert_secret_ref)
        tls = await _context(held, f"Secret/{namespace}/{spec.cert_secret_ref}", required=True)
        certificates = Certificates(**dict(zip(("ca", "certificate", "key"), pem_of(held), strict=True)))
    elif secret and by_type.wants == "commit_status":
        tls = await _context(secret, f"Secret/{namespace}/{spec.secret_ref}", required=False)
    return Route(target=target, tls=tls, certificates=certificates, proxy=await _proxy(provider, secret, read_secret))


def _check_unused(provider: Provider, secret: Mapping[str, bytes] | None, by_type: contract.Provider) -> None:
    """A proxy or a CA that would silently have no effect is an error."""
    spec = provider.spec
    given = {"spec.certSecretRef": bool(spec.cert_secret_ref) and not by_type.tls}
    given |= {
        "spec.proxySecretRef": bool(spec.proxy_secret_ref) and not by_type.proxies,
        "spec.proxy": bool(spec.proxy) and not by_type.proxies,
    }
    given |= {"the Secret's key proxy": bool(secret and "proxy" in secret) and not by_type.proxies}
    unused = ", ".join(name for name, is_unused in given.items() if is_unused)
    if unused:
        raise BadCredentials(f"{unused}: not carried out for the type {spec.type}: remove it")


async def _held(read_secret: ReadSecret, namespace: str, name: str) -> Mapping[str, bytes]:
    held = await read_secret(namespace, name)
    if held is None:
        raise BadCredentials(f"Secret/{namespace}/{name} does not exist: create it")
    return held


async def _context(held: Mapping[str, bytes], where: str, *, required: bool) -> ssl.SSLContext | None:
    try:
        found = await tls_of(held, where)
    except BadTransport as error:
        raise BadCredentials(str(error)) from error
    if found is None and required:
        raise BadCredentials(f"{where} has neither ca.crt nor tls.crt and tls.key: add them")
    return found


async def _proxy(provider: Provider, secret: Mapping[str, bytes] | None, read_secret: ReadSecret) -> Secret:
    """The proxy's address, with its credentials; proxySecretRef before the Secret's key before spec.proxy, as in Flux."""
    spec, namespace = provider.spec, provider.metadata.namespace
    where, address = "spec.proxy", spec.proxy
    if secret and "proxy" in secret:
        where = f"Secret/{namespace}/{spec.secret_ref}"
        address = one_line("proxy", secret["proxy"], where)
    try:
        if spec.proxy_secret_ref:
            where = f"Secret/{namespace}/{spec.proxy_secret_ref}"
            address = proxy_of(await _held(read_secret, namespace, spec.proxy_secret_ref), where)
        return Secret(checked_proxy(address, where) if address else "")
    except BadTransport as error:
        raise BadCredentials(str(error)) from error
