"""A chart of a repository: which version it is, from an index or from a registry's tags, and its archive on disk.

The registry is only asked for its tags where a range is wanted; a version is its tag, with `_` for the `+` that tags cannot hold.
https://helm.sh/docs/topics/registries/
"""

import asyncio
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from service.kinds import meta
from service.sources.chartbuild import ChartFailed
from service.sources.chartfiles import MOST_CHART_BYTES
from service.sources.helmindex import Listed, NoVersion, find_version, range_of
from service.sources.helmway import Access, museum_of, registry_of
from service.sources.manifests import RegistryError, Repository
from service.sources.museum import Museum, MuseumError, below
from service.sources.ociref import PAUSES
from service.sources.reconciler import Needs
from service.sources.registry import Registry
from service.sources.semver import InvalidVersion, Version
from service.sources.signatures import NotVerified, Outcome
from service.sources.verification import Verifier, Wanted

CHART_LAYERS = ("application/vnd.cncf.helm.chart.content.v1.tar+gzip", "application/tar+gzip")
PROVENANCE_LAYER = "application/vnd.cncf.helm.chart.provenance.v1.prov"
MOST_PROVENANCE_BYTES = 2**20
Files = tuple[Path, Path | None]
"""Where an archive goes, and its provenance if that is wanted."""
LOOK_LIMIT = timedelta(seconds=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A version that can be pulled: at the URLs of `listed`, or where `tag` is set from `repository`; `digest` and `outcome`: verified."""

    listed: Listed
    repository: Repository | None = None
    tag: str = ""
    digest: str = ""
    outcome: Outcome | None = None


async def in_index(index: Path, name: str, wanted: str, needs: Needs) -> Found:
    """Look a version up in a stored index. Raises ChartFailed, OSError."""
    try:
        return Found(listed=await needs.workers.run(find_version, index, name, wanted, timeout=LOOK_LIMIT))
    except NoVersion as error:
        raise ChartFailed(meta.CHART_REFERENCE_INVALID, f"failed to get chart version for remote reference: {error}") from error


async def in_registry(access: Access, name: str, wanted: str, needs: Needs, *, told: str = "") -> Found:
    """Find a version among a registry's tags, of which none is asked for where it is exact. Raises ChartFailed, EndedEarly.

    `told`: a tag that a payload names. Registries tell of a push before they list its tag, so it is waited for a moment.
    """
    said = "failed to get chart version for remote reference: "
    try:
        repository = Repository.parse(f"{access.url.rstrip('/')}/{name}")
    except ValueError as error:
        raise ChartFailed(meta.CHART_REFERENCE_INVALID, f"invalid chart reference '{name}': {error}") from error
    with suppress(InvalidVersion):
        Version.parse(wanted, strict=True)
        return _tagged(repository, name, wanted.replace("+", "_"))
    try:
        async with asyncio.timeout(LOOK_LIMIT.total_seconds()), registry_of(access, needs, repository) as registry:
            tags = await registry.tags()
            for pause in PAUSES:
                if told and told not in tags:
                    await asyncio.sleep(pause)
                    tags = await registry.tags()
            return _tagged(repository, name, _newest(tags, wanted))
    except NoVersion as error:
        raise ChartFailed(meta.CHART_PULL_ERROR, f"{said}{error}") from error
    except RegistryError as error:
        raise ChartFailed(meta.CHART_PULL_ERROR, f'{said}could not get tags for "{name}": {error}') from error
    except TimeoutError as error:
        raise ChartFailed(meta.CHART_PULL_ERROR, f"{said}{repository.host} did not answer in time") from error


def _tagged(repository: Repository, name: str, tag: str) -> Found:
    version = tag.replace("_", "+")
    return Found(listed=Listed(name=name.rpartition("/")[2], version=version, urls=()), repository=repository, tag=tag)


def _newest(tags: tuple[str, ...], wanted: str) -> str:
    if wanted in tags:
        return wanted
    among, best = range_of(wanted), None
    for tag in tags:
        with suppress(InvalidVersion):
            version = Version.parse(tag.replace("_", "+"), strict=True)
            if version in among and (best is None or version > best[0]):
                best = (version, tag)
    if best is None:
        raise NoVersion(f"could not locate a version matching provided version string {wanted}")
    return best[1]


async def verified(access: Access, found: Found, wanted: Wanted, verifier: Verifier, needs: Needs) -> Found:
    """Return the version by the digest whose signature counts. Raises ChartFailed, EndedEarly, ApiError, ApiAway."""
    assert found.repository is not None
    said = f"failed to verify the signature using provider '{wanted.provider}': "
    try:
        async with asyncio.timeout(LOOK_LIMIT.total_seconds()), registry_of(access, needs, found.repository) as registry:
            digest = await registry.digest_of(found.tag)
            outcome = await verifier.verify(wanted, registry, digest)
    except (NotVerified, RegistryError) as error:
        raise ChartFailed(meta.CHART_VERIFICATION_ERROR, f"{said}{error}") from error
    except TimeoutError as error:
        raise ChartFailed(meta.CHART_VERIFICATION_ERROR, f"{said}{found.repository.host} did not answer in time") from error
    return replace(found, digest=digest, outcome=outcome)


async def pull(access: Access, found: Found, target: Path, needs: Needs, *, timeout: timedelta, prov: Path | None = None) -> None:
    """Write the archive of a version to a file, and to `prov` its provenance, which then must be there.

    Raises ChartFailed, EndedEarly, ApiError, ApiAway, OSError where the disk is full.
    """
    said = "failed to download chart for remote reference: "
    try:
        async with asyncio.timeout(timeout.total_seconds()):
            if found.repository is not None:
                await _from_registry(access, found.repository, found.digest or found.tag, (target, prov), needs)
            else:
                await _from_museum(access, found.listed, (target, prov), needs)
    except (MuseumError, RegistryError) as error:
        raise ChartFailed(meta.CHART_PULL_ERROR, f"{said}{error}") from error
    except TimeoutError as error:
        raise ChartFailed(meta.CHART_PULL_ERROR, f"{said}not finished within {timeout.total_seconds():g} s") from error


async def _from_museum(access: Access, listed: Listed, into: Files, needs: Needs) -> None:
    if not listed.urls:
        raise MuseumError(f"chart '{listed.name}' has no downloadable URLs")
    url = below(access.url, listed.urls[0])
    if url.startswith("oci://"):  # as Bitnami's index does
        place, _, tag = url.rpartition(":")
        try:
            repository = Repository.parse(place)
        except ValueError as error:
            raise MuseumError(f"invalid chart URL format '{url}': {error}") from error
        other = Access(namespace=access.namespace, url=place)  # its log-in is for the index's own origin
        await _from_registry(other, repository, tag, into, needs)
        return
    async with museum_of(access, needs) as museum:
        got = await museum.fetch(url, into[0], most=MOST_CHART_BYTES)
        if into[1] is not None:
            await _fetch_provenance(museum, url, into[1])
    if got is None or (listed.digest and got.digest != listed.digest):
        raise MuseumError(f"{url} has not the digest that the index says")


async def _from_registry(access: Access, repository: Repository, tag: str, into: Files, needs: Needs) -> None:
    async with registry_of(access, needs, repository) as registry:
        await _pulled(registry, repository, tag, into)


async def _fetch_provenance(museum: Museum, url: str, prov: Path) -> None:
    parts = urlsplit(url)
    beside = urlunsplit(parts._replace(path=parts.path + ".prov"))
    try:
        await museum.fetch(beside, prov, most=MOST_PROVENANCE_BYTES)
    except MuseumError as error:
        raise ChartFailed(meta.CHART_VERIFICATION_ERROR, f"failed to verify the provenance: {error}") from error


async def _pulled(registry: Registry, repository: Repository, tag: str, into: Files) -> None:
    target, prov = into
    manifest = await registry.manifest(await registry.digest_of(tag))
    if prov is not None:
        signed = next((each for each in manifest.layers if each.media_type == PROVENANCE_LAYER), None)
        if signed is None:
            why = f"failed to verify the provenance: {repository}:{tag} has no layer of the type {PROVENANCE_LAYER}"
            raise ChartFailed(meta.CHART_VERIFICATION_ERROR, why)
        await registry.blob(signed, prov, most=MOST_PROVENANCE_BYTES)
    for each in manifest.layers:
        if each.media_type in CHART_LAYERS:
            await registry.blob(each, target, most=MOST_CHART_BYTES)
            return
    raise RegistryError(f"{repository}:{tag} is no Helm chart: it has no layer of the type {CHART_LAYERS[0]}")
