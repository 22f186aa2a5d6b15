"""Signatures of cosign without a key: what lies beside an artifact and who may have signed in, who has signed out.

The check itself is sigstore's own library, 30 MiB that nobody else needs: it runs in a process that ends with it, which also bounds what an
expression or a certificate of strangers can cost. Nothing is asked of the network: the log's word comes with the signature, and the trusted
root with the library or in a Secret. https://docs.sigstore.dev/cosign/verifying/verify/
"""

import asyncio
import hashlib
import logging
import os
import tempfile
from collections.abc import Sequence
from datetime import timedelta

from service.kinds.oci import OIDCIdentity
from service.kustomize.errors import BuildError
from service.kustomize.selectors import go_regexp
from service.sources.signatures import Bundle, NotVerified, Simple
from service.workers import Workers

LIMIT = timedelta(seconds=20)
REMEMBERED = 1_000


def problem_of(identities: Sequence[OIDCIdentity]) -> str:
    """Return which expression cannot be used and why, or ""."""
    for number, each in enumerate(identities):
        for name, pattern in (("issuer", each.issuer), ("subject", each.subject)):
            try:
                go_regexp(pattern)
            except BuildError as error:
                return f"spec.verify.matchOIDCIdentity[{number}].{name}: {error}"
    return ""


class Keyless:
    """One check after the other. What was good is remembered: a HelmChart asks again at each interval."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()
        self._good: dict[str, str] = {}

    async def verify(
        self, found: tuple[Simple | Bundle, ...], digest: str, identities: tuple[OIDCIdentity, ...], root: bytes | None
    ) -> str:
        """Return who has signed, as `subject (issuer)`. `root`: a trusted_root.json, None for that of Sigstore. Raises NotVerified."""
        asked = hashlib.sha256(repr((found, digest, identities, root)).encode()).hexdigest()
        if asked not in self._good:
            async with self._turn:
                signer = await _in_process(found, digest, identities, root)
            if len(self._good) >= REMEMBERED:
                self._good.clear()
            self._good[asked] = signer
        return self._good[asked]


async def _in_process(found: tuple[Simple | Bundle, ...], digest: str, identities: tuple[OIDCIdentity, ...], root: bytes | None) -> str:
    workers = Workers(1)
    try:
        return await workers.run(_check, found, digest, identities, root, timeout=LIMIT)
    except TimeoutError as error:
        raise NotVerified(f"the check was not finished within {LIMIT.total_seconds():g} s") from error
    except ChildProcessError as error:
        raise NotVerified("the process of the check died, probably out of memory") from error
    finally:
        await workers.close()


def _check(found: tuple[Simple | Bundle, ...], digest: str, identities: tuple[OIDCIdentity, ...], root: bytes | None) -> str:
    """In the process, which keeps to what the library brings along, and is quiet."""
    try:
        from service.sources.keylesscheck import check
    except ImportError as error:
        raise NotVerified("signatures without a key need the extra 'keyless': pip install 'sluice-gitops[keyless]'") from error
    logging.disable()
    with tempfile.TemporaryDirectory(prefix="sigstore-") as folder:
        os.environ.update({"XDG_DATA_HOME": folder, "XDG_CACHE_HOME": folder})
        return check(found, digest, identities, root)
