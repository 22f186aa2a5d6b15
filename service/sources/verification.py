"""spec.verify of OCIRepositories and HelmCharts: whose signatures count in, who has signed an artifact out.

https://github.com/fluxcd/source-controller/blob/main/docs/spec/v1/ocirepositories.md#verification
"""

from dataclasses import dataclass
from typing import Any

from service.kinds.helm import ChartVerification
from service.kinds.oci import OCIVerification, OIDCIdentity
from service.sources import cosign
from service.sources.failure import EndedEarly
from service.sources.registry import Registry
from service.sources.remote import ReadSecret, held


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
    if not (verify or {}).get("secretRef"):
        raise EndedEarly.invalid("spec.verify: signatures without a key are not carried out by this version; name a secretRef")


class Verifier:
    """Looks signatures up and checks them."""

    def __init__(self, read_secret: ReadSecret) -> None:
        self._read_secret = read_secret

    async def verify(self, wanted: Wanted, registry: Registry, digest: str) -> None:
        """Return if a signature counts. Raises NotVerified, RegistryError, EndedEarly, ApiError, ApiAway."""
        data = await held(self._read_secret, wanted.namespace, wanted.secret)
        await cosign.verify(registry, digest, cosign.keys_of(data))
