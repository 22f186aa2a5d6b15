"""The charts that a chart of a Git repository depends on, fetched: from a HelmRepository of its namespace at the same address, else openly.

Credentials are only those of that HelmRepository; a repository that no object names is asked without any.
https://github.com/fluxcd/source-controller/blob/main/docs/spec/v1/helmcharts.md#dependencies
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from service.kinds import meta
from service.kinds.codec import Invalid, decode
from service.kinds.helm import HelmRepository
from service.sources.chartbuild import ChartFailed, Dependency
from service.sources.chartpull import Found, in_index, in_registry, pull
from service.sources.failure import EndedEarly
from service.sources.helmindex import MOST_INDEX_BYTES, BadIndex, store_index
from service.sources.helmway import Access, museum_of
from service.sources.indexes import Indexes
from service.sources.museum import MuseumError, below
from service.sources.reconciler import Needs

Repositories = Callable[[str], Iterable[Mapping[str, Any]]]
"""The HelmRepositories of a namespace, as the API server holds them."""
MOST_DEPENDENCIES = 100
FETCH_LIMIT = timedelta(seconds=60)
INDEX_LIMIT = timedelta(minutes=2)


class Dependencies:
    """Fetches what is missing."""

    def __init__(self, needs: Needs, indexes: Indexes, repositories: Repositories) -> None:
        self._needs = needs
        self._indexes = indexes
        self._repositories = repositories

    async def fetched(self, missing: Sequence[Dependency], namespace: str, drafts: Path) -> tuple[Path, ...]:
        """Return the archives of the remote ones, in `drafts`. Raises ChartFailed, EndedEarly, ApiError, ApiAway, OSError."""
        remote = [each for each in missing if not each.is_local]
        if len(remote) > MOST_DEPENDENCIES:
            raise ChartFailed(meta.DEPENDENCY_BUILD_ERROR, f"the chart names {len(remote)} charts; {MOST_DEPENDENCIES} is the most")
        indexes: dict[str, Path] = {}
        archives: list[Path] = []
        for number, each in enumerate(remote):
            target = drafts / f"dependency-{number}.tgz"
            try:
                access, found = await self._found(each, namespace, drafts, indexes)
                await pull(access, found, target, self._needs, timeout=FETCH_LIMIT)
            except (ChartFailed, EndedEarly, MuseumError, BadIndex) as error:
                why = error.message if isinstance(error, ChartFailed) else str(error)
                said = f"failed to add remote dependency '{each.alias or each.name}': {why}"
                raise ChartFailed(meta.DEPENDENCY_BUILD_ERROR, said) from error
            archives.append(target)
        return tuple(archives)

    async def _found(self, each: Dependency, namespace: str, drafts: Path, indexes: dict[str, Path]) -> tuple[Access, Found]:
        known = self._known(namespace, each.repository)
        access = await Access.of(known, self._needs) if known is not None else Access(namespace=namespace, url=each.repository)
        if each.repository.startswith("oci://"):
            return access, await in_registry(access, each.name, each.version, self._needs)
        if not each.repository.startswith(("https://", "http://")):
            raise ChartFailed(
                meta.DEPENDENCY_BUILD_ERROR,
                f"no chart repository for URL '{each.repository}': aliases of the helm command mean nothing here",
            )
        place = _normal(each.repository)
        if place not in indexes:
            indexes[place] = self._stored(known) or await self._index(access, drafts / f"index-{len(indexes)}")
        return access, await in_index(indexes[place], each.name, each.version, self._needs)

    def _stored(self, known: HelmRepository | None) -> Path | None:
        artifact = (self._indexes.get(known.key) or known.status.artifact) if known is not None else None
        return self._needs.artifacts.file(artifact.path) if artifact is not None else None

    def _known(self, namespace: str, url: str) -> HelmRepository | None:
        for raw in self._repositories(namespace):
            try:
                found = decode(HelmRepository, raw)
            except Invalid:
                continue
            if _normal(found.spec.url) == _normal(url):
                return found
        return None

    async def _index(self, access: Access, target: Path) -> Path:
        fetched = target.with_suffix(".fetched")
        async with museum_of(access, self._needs) as museum:
            await museum.fetch(below(access.url, "index.yaml"), fetched, most=MOST_INDEX_BYTES)
        await self._needs.workers.run(store_index, fetched, target, timeout=INDEX_LIMIT)
        return target


def _normal(url: str) -> str:
    return url.rstrip("/")
