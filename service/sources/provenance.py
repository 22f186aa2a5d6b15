"""Helm's provenance: a chart's archive, the clear-signed file beside it and trusted keys in; who has signed exactly this chart out.

Flux has no field for it: an annotation on a HelmChart names the Secret with the keys, and then no chart counts without. A chart that was
good once is not fetched and checked again while chart, version and keys stay the same. https://helm.sh/docs/topics/provenance/
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from service.kinds import meta
from service.kinds.helm import HelmChart
from service.sources import openpgp
from service.sources.armour import SignatureRefused
from service.sources.chartbuild import ChartFailed, Made
from service.sources.failure import EndedEarly
from service.sources.helmindex import Listed
from service.sources.plainyaml import BadYaml, read_yaml
from service.sources.reconciler import Needs
from service.sources.signatures import Outcome

PROVENANCE = "source.sluice.dev/provenance"
CHECK_LIMIT = timedelta(seconds=30)
_SAID = "failed to verify the provenance: "
_PARTED = b"\n...\n"


@dataclass(frozen=True, slots=True)
class Trusted:
    """The keys of the Secret, by the names of its entries."""

    rings: Mapping[str, bytes]

    @property
    def digest(self) -> str:
        return hashlib.sha256(repr(sorted(self.rings.items())).encode()).hexdigest()


class Provenance:
    """The checks of all HelmCharts."""

    def __init__(self, needs: Needs) -> None:
        self._needs = needs
        self._good: dict[str, tuple[str, str, str, Outcome]] = {}  # by uid: name, version, digest of the keys

    async def trusted(self, found: HelmChart) -> Trusted | None:
        """The keys, None where no provenance is asked for. Raises EndedEarly, ChartFailed, ApiError, ApiAway."""
        name, namespace = found.metadata.annotations.get(PROVENANCE), found.metadata.namespace
        if name is None:
            self._good.pop(found.metadata.uid, None)
            return None
        if not name or found.spec.source_ref.kind != "HelmRepository":
            raise EndedEarly.invalid(f"the annotation {PROVENANCE} names a Secret, for charts of a HelmRepository alone")
        data = await self._needs.read_secret(namespace, name)
        if not data:
            raise ChartFailed(meta.CHART_VERIFICATION_ERROR, f"{_SAID}secret '{namespace}/{name}' is not there, or has no keys")
        return Trusted(data)

    def known(self, found: HelmChart, made: Made, trusted: Trusted) -> Outcome | None:
        """That of an earlier check of the same."""
        good = self._good.get(found.metadata.uid)
        return good[3] if good is not None and good[:3] == (made.name, made.version, trusted.digest) else None

    async def check(self, found: HelmChart, made: Made, pulled: "Pulled", trusted: Trusted) -> Outcome:
        """Raises ChartFailed, OSError where the worker died."""
        try:
            by = await self._needs.workers.run(signer, pulled, dict(trusted.rings), timeout=CHECK_LIMIT)
        except SignatureRefused as error:
            raise ChartFailed(meta.CHART_VERIFICATION_ERROR, f"{_SAID}{error}") from error
        outcome = Outcome(words=f"provenance by the key {by}")
        self._good[found.metadata.uid] = (made.name, made.version, trusted.digest, outcome)
        return outcome

    def forget(self, uid: str) -> None:
        """The object is gone."""
        self._good.pop(uid, None)


@dataclass(frozen=True, slots=True)
class Pulled:
    """A chart's archive and its provenance on disk, and which chart it should be."""

    archive: Path
    provenance: Path
    listed: Listed


def signer(pulled: Pulled, rings: Mapping[str, bytes]) -> str:
    """Return the id of the key that has signed this chart of this name and version. For a worker. Raises SignatureRefused, OSError."""
    found = openpgp.cleartext(pulled.provenance.read_bytes(), rings)
    about, files = _parts(found.text)
    named, wanted = (about.get("name"), about.get("version")), (pulled.listed.name, pulled.listed.version)
    if named != wanted:
        raise SignatureRefused(f"it is for chart {named[0]!r} of version {named[1]!r}, and not for {wanted[0]!r} of {wanted[1]!r}"[:300])
    digest = hashlib.sha256(pulled.archive.read_bytes()).hexdigest()
    if f"sha256:{digest}" not in files.values():
        raise SignatureRefused(f"it is not for this archive, whose digest is sha256:{digest}")
    return found.signer


def _parts(text: bytes) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """What the signed text says: the chart's metadata, and digests by file name."""
    try:
        about, files = (read_yaml(part) for part in text.replace(b"\r\n", b"\n").split(_PARTED))
    except (BadYaml, ValueError) as error:
        raise SignatureRefused("the signed text is not Helm's: a Chart.yaml, `...` and the digests") from error
    digests = files.get("files") if isinstance(files, dict) else None
    if not isinstance(about, dict) or not isinstance(digests, dict):
        raise SignatureRefused("the signed text is not Helm's: a Chart.yaml, `...` and the digests")
    return about, digests
