"""spec.verify of OCIRepositories and HelmCharts: whose signatures count in, who has signed an artifact out.

https://github.com/fluxcd/source-controller/blob/main/docs/spec/v1/ocirepositories.md#verification
"""

from dataclasses import dataclass
from typing import Any

from service.kinds.helm import ChartVerification
from service.kinds.oci import OCIVerification, OIDCIdentity
from service.sources import cosign, keyless
from service.sources.failure import EndedEarly
from service.sources.keyless import Keyless
from service.sources.registry import Registry
from service.sources.remote import ReadSecret, held
from service.sources.signatures import NotVerified, signatures_of

ROOT = "trusted_root.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What one object asks for; `secret` and `trusted_root` are names of Secrets in its namespace."""

    namespace: str
    provider: str
    secret: str
    identities: tuple[OIDCIdentity, ...] = ()
    trusted_root: str = ""

    @classmethod
    def of(cls, namespace: str, verify: OCIVerification | ChartVerification) -> "Wanted":
        return cls(
            namespace=namespace,
            provider=verify.provider,
            secret=verify.secret_ref or "",
            identities=verify.match_oidc_identity,
            trusted_root=(verify.trusted_root_secret_ref or "") if isinstance(verify, OCIVerification) else "",
        )


def check_spec(verify: Any) -> None:
    """Look at spec.verify as it stands in the object. Raises EndedEarly for what only a change of the object can mend."""
    found = verify if isinstance(verify, dict) else {}
    if found.get("provider", "cosign") != "cosign":
        return
    for name in ("matchOIDCIdentity", "trustedRootSecretRef"):
        if found.get("secretRef") and found.get(name):
            raise EndedEarly.invalid(f"spec.verify.{name}: is for signatures without a key; take it away, or spec.verify.secretRef")


class Verifier:
    """Looks signatures up and checks them."""

    def __init__(self, read_secret: ReadSecret) -> None:
        self._read_secret = read_secret
        self._keyless = Keyless()

    async def verify(self, wanted: Wanted, registry: Registry, digest: str) -> str:
        """Return who has signed, "" for one who has a key. Raises NotVerified, RegistryError, EndedEarly, ApiError, ApiAway."""
        if wanted.secret:
            data = await held(self._read_secret, wanted.namespace, wanted.secret)
            await cosign.verify(registry, digest, cosign.keys_of(data))
            return ""
        problem = keyless.problem_of(wanted.identities)
        if problem:
            raise EndedEarly.invalid(problem)
        found = tuple([each async for each in signatures_of(registry, digest)])
        if not found:
            raise NotVerified("no signatures found")
        signer = await self._keyless.verify(found, digest, wanted.identities, await self._root(wanted))
        return signer if wanted.identities else f"{signer}: spec.verify.matchOIDCIdentity names nobody, so anybody's signature would count"

    async def _root(self, wanted: Wanted) -> bytes | None:
        if not wanted.trusted_root:
            return None
        data = await held(self._read_secret, wanted.namespace, wanted.trusted_root)
        if ROOT not in data:
            raise NotVerified(f"the Secret '{wanted.namespace}/{wanted.trusted_root}' has no key '{ROOT}'")
        return data[ROOT]
