"""spec.verify of OCIRepositories and HelmCharts: whose signatures count in, who has signed an artifact out.

https://github.com/fluxcd/source-controller/blob/main/docs/spec/v1/ocirepositories.md#verification
"""

import logging
from dataclasses import dataclass
from typing import Any

from service.kinds import meta
from service.kinds.helm import ChartVerification
from service.kinds.meta import Condition, ObjectKey
from service.kinds.oci import OCIVerification, OIDCIdentity
from service.reconcile.conditions import condition
from service.sources import cosign, keyless, notation
from service.sources.failure import EndedEarly
from service.sources.keyless import Keyless
from service.sources.registry import Registry
from service.sources.remote import ReadSecret, held
from service.sources.signatures import NotVerified, Outcome, signatures_of

log = logging.getLogger(__name__)

ROOT = "trusted_root.json"
_GOOD = "verified signature of "


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What one object asks for of a repository; `secret` and `trusted_root` are names of Secrets in its namespace."""

    key: ObjectKey
    provider: str
    secret: str
    identities: tuple[OIDCIdentity, ...] = ()
    trusted_root: str = ""

    @classmethod
    def of(cls, key: ObjectKey, verify: OCIVerification | ChartVerification) -> "Wanted":
        return cls(
            key=key,
            provider=verify.provider,
            secret=verify.secret_ref or "",
            identities=verify.match_oidc_identity,
            trusted_root=(verify.trusted_root_secret_ref or "") if isinstance(verify, OCIVerification) else "",
        )


def check_spec(verify: Any) -> None:
    """Look at spec.verify as it stands in the object. Raises EndedEarly for what only a change of the object can mend."""
    found = verify if isinstance(verify, dict) else {}
    if found.get("provider") == "notation" and not found.get("secretRef"):
        raise EndedEarly.invalid("spec.verify.secretRef: is missing: notation needs a Secret with trustpolicy.json and certificates")
    for name in ("matchOIDCIdentity", "trustedRootSecretRef"):
        if found.get("secretRef") and found.get(name):
            raise EndedEarly.invalid(
                f"spec.verify.{name}: is for cosign's signatures without a key; take it away, or spec.verify.secretRef"
            )


def verified_conditions(outcome: Outcome | None, what: str, generation: int) -> tuple[Condition, ...]:
    """What the status tells of a good signature; of an artifact that a policy let pass without one, as in Flux, nothing."""
    if outcome is None or not outcome.is_verified:
        return ()
    words = f"{_GOOD}{what}" + (f", {outcome.words}" if outcome.words else "")
    return (condition(meta.SOURCE_VERIFIED, "True", meta.SUCCEEDED, words, generation),)


def told_outcome(found: Condition, what: str) -> Outcome:
    """The outcome that a condition tells of."""
    return Outcome(words=found.message.removeprefix(_GOOD).removeprefix(what).removeprefix(", "))


def _told(wanted: Wanted, outcome: Outcome) -> Outcome:
    if not outcome.is_verified:
        log.warning("taken without a good signature", extra={"object": str(wanted.key), "reason": outcome.words})
    return outcome


class Verifier:
    """Looks signatures up and checks them."""

    def __init__(self, read_secret: ReadSecret) -> None:
        self._read_secret = read_secret
        self._keyless = Keyless()

    async def verify(self, wanted: Wanted, registry: Registry, digest: str) -> Outcome:
        """Return what is known of who has signed. Raises NotVerified, RegistryError, EndedEarly, ApiError, ApiAway."""
        if wanted.secret:
            data = await held(self._read_secret, wanted.key.namespace, wanted.secret)
            if wanted.provider == "notation":
                return _told(wanted, await notation.verify(registry, registry.repository, digest, data))
            await cosign.verify(registry, digest, cosign.keys_of(data))
            return Outcome()
        problem = keyless.problem_of(wanted.identities)
        if problem:
            raise EndedEarly.invalid(problem)
        found = tuple([each async for each in signatures_of(registry, digest)])
        if not found:
            raise NotVerified("no signatures found")
        signer = await self._keyless.verify(found, digest, wanted.identities, await self._root(wanted))
        warning = "" if wanted.identities else ": spec.verify.matchOIDCIdentity names nobody, so anybody's signature would count"
        return Outcome(words=f"signed by {signer}{warning}")

    async def _root(self, wanted: Wanted) -> bytes | None:
        if not wanted.trusted_root:
            return None
        data = await held(self._read_secret, wanted.key.namespace, wanted.trusted_root)
        if ROOT not in data:
            raise NotVerified(f"the Secret '{wanted.key.namespace}/{wanted.trusted_root}' has no key '{ROOT}'")
        return data[ROOT]
