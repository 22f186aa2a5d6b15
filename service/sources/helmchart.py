"""HelmChart: a version of a chart repository, or a folder of another source, in; one .tgz and its version out.

A chart that has the name and the version that it had is not fetched or made again while the object stays the same. The archive of a
repository is stored as it is, unless values files ask for another values.yaml.
https://github.com/fluxcd/source-controller/blob/main/docs/spec/v1/helmcharts.md
"""

import logging
import re
import time
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

from service import crash
from service.kinds import meta
from service.kinds.codec import Invalid, decode, refused_fields
from service.kinds.helm import HelmChart, HelmRepository
from service.kinds.meta import SOURCE_GROUP, ObjectKey, Revision, split_revision
from service.kinds.source import Artifact
from service.kinds.table import BY_NAME
from service.reconcile.queue import Trigger
from service.sources.artifact import folder_of
from service.sources.chartbuild import ChartFailed, Made, Recipe, make_folder, named_version, plan_folder, take_archive
from service.sources.chartdependencies import Dependencies, Repositories
from service.sources.chartpull import in_index, in_registry, pull, verified
from service.sources.failure import EndedEarly, Failure, NotYet, Stored
from service.sources.helmway import Access
from service.sources.indexes import Indexes
from service.sources.objects import Objects
from service.sources.ociref import told_of
from service.sources.openrepo import SnapshotGone
from service.sources.provenance import Provenance, Pulled, Trusted
from service.sources.reconciler import Needs, Raw
from service.sources.signatures import Outcome
from service.sources.snapshot import Snapshot
from service.sources.verification import Verifier, Wanted, check_spec, verified_conditions

log = logging.getLogger(__name__)

MAKE_LIMIT = timedelta(minutes=1)
LINK = "latest.tar.gz"
_NAME = re.compile(r"([-a-z0-9]+/?\.?)+")
_STALLING = (meta.CHART_REFERENCE_INVALID, meta.CHART_METADATA_ERROR, meta.VALUES_FILES_ERROR)
_OF_BUILD = (meta.CHART_METADATA_ERROR, meta.VALUES_FILES_ERROR, meta.DEPENDENCY_BUILD_ERROR, meta.CHART_PACKAGE_ERROR)
_SUMMARY = {
    meta.CHART_REFERENCE_INVALID: "invalid chart reference",
    meta.CHART_PULL_ERROR: "chart pull error",
    meta.CHART_METADATA_ERROR: "chart metadata patch error",
    meta.VALUES_FILES_ERROR: "values files merge error",
    meta.DEPENDENCY_BUILD_ERROR: "dependency build error",
    meta.CHART_PACKAGE_ERROR: "chart package error",
    meta.CHART_VERIFICATION_ERROR: "chart verification error",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ChartFetch:
    """See service.sources.reconciler.Fetch."""

    artifact: Artifact
    made: Made
    packaged: bool
    source_revision: str
    link: str
    generation: int
    outcome: Outcome | None = None
    """Of the look at signatures."""
    moved: bool = False

    @property
    def revision(self) -> str:
        return self.made.version

    async def store(self) -> Stored:
        made = self.made
        said = f"{'packaged' if self.packaged else 'pulled'} '{made.name}' chart with version '{made.version}'"
        if made.values_files:
            said += f" and merged values files [{' '.join(made.values_files)}]"
        status = {
            "url": self.link,
            "observedChartName": made.name,
            "observedSourceArtifactRevision": self.source_revision or None,
            "observedValuesFiles": list(made.values_files) or None,
        }
        reason = meta.CHART_PACKAGED if self.packaged else meta.CHART_PULLED
        good = verified_conditions(self.outcome, f"version {made.version}", self.generation)
        return Stored(artifact=self.artifact, ready=said, news=said, reason=reason, status=status, conditions=good)

    async def tidy(self) -> None:
        """There is nothing to tidy."""


class HelmChartOrigin:
    """See service.sources.reconciler.Origin."""

    type = HelmChart
    blank: Raw = {"chart": "invalid", "interval": "0s", "sourceRef": {"kind": "HelmRepository", "name": "invalid"}}  # noqa: RUF012

    def __init__(self, needs: Needs, indexes: Indexes, repositories: Repositories) -> None:
        self._needs = needs
        self._indexes = indexes
        self._sources = Objects(needs.cluster, needs.discovery, needs.read)
        self._verifier = Verifier(needs.read_secret)
        self._provenance = Provenance(needs)
        self._dependencies = Dependencies(needs, indexes, repositories)

    def check(self, spec: Raw) -> None:
        """Signatures are checked in registries alone."""
        verify, source = spec.get("verify"), spec.get("sourceRef") or {}
        if verify is not None:
            check_spec(verify)
        if verify is not None and source.get("kind") != "HelmRepository":
            raise EndedEarly.invalid("spec.verify: only charts of a HelmRepository of the type oci can be verified")

    async def fetch(self, found: HelmChart, triggers: tuple[Trigger, ...]) -> ChartFetch:
        """Find the version, and store the chart if it is another one."""
        begun = time.perf_counter()
        raw = await self._source(found)
        try:
            trusted = await self._provenance.trusted(found)
            with self._needs.artifacts.drafts() as drafts:
                if found.spec.source_ref.kind == "HelmRepository":
                    told, _ = told_of((trigger.hint for trigger in triggers), found.spec.chart)
                    fetch = await self._of_repository(found, raw, drafts, trusted, told)
                else:
                    fetch = await self._of_snapshot(found, raw, drafts)
        except ChartFailed as error:
            raise _failed(error) from error
        except OSError as error:  # also a worker that died or took too long
            why = f"unable to copy Helm chart to storage: {error.strerror or error}"
            raise EndedEarly(Failure(condition=meta.STORAGE_FAILED, reason=meta.ARCHIVE_FAILED, message=why)) from error
        crash.point("source.fetched")
        before = found.status.artifact
        if before is None or before.digest != fetch.artifact.digest:
            spent = round(time.perf_counter() - begun, 4)
            log.info("new revision", extra={"object": str(found.key), "revision": fetch.revision, "seconds": spent})
        return fetch

    async def _source(self, found: HelmChart) -> Raw:
        reference = found.spec.source_ref
        kind = BY_NAME.get((SOURCE_GROUP, reference.kind))
        if kind is None:
            why = f"failed to get source: spec.sourceRef.kind {reference.kind} is not carried out by this version of sluice"
            raise EndedEarly.fetch(meta.UNSUPPORTED_SOURCE, why, stalls=True)
        raw = await self._sources.get(_source_key(found))
        if raw is None:
            why = f'failed to get source: {kind.plural}.{SOURCE_GROUP} "{reference.name}" not found'
            raise EndedEarly.fetch(meta.SOURCE_UNAVAILABLE, why)
        return raw

    async def _of_repository(self, found: HelmChart, raw: Raw, drafts: Path, trusted: Trusted | None, told: str) -> ChartFetch:
        spec = found.spec
        if _NAME.fullmatch(spec.chart) is None:
            why = "a valid name must be lower case letters and numbers and MAY be separated with dashes (-), slashes (/) or periods (.)"
            raise ChartFailed(meta.CHART_REFERENCE_INVALID, f"invalid chart name '{spec.chart}': {why}")
        repository = _repository(raw)
        index = "" if repository.spec.is_oci else self._index(found, repository)
        access = await Access.of(repository, self._needs)
        if repository.spec.is_oci:
            candidate = await in_registry(access, spec.chart, spec.version, self._needs, told=told)
            if spec.verify is not None:
                wanted = Wanted.of(found.key, spec.verify)
                candidate = await verified(access, candidate, wanted, self._verifier, self._needs)
        elif spec.verify is not None:
            raise EndedEarly.invalid("spec.verify: only charts of a HelmRepository of the type oci can be verified")
        else:
            file = self._needs.artifacts.file(self._index_of(repository).path)
            assert file is not None  # _index has looked
            candidate = await in_index(file, spec.chart, spec.version, self._needs)
        recipe = _recipe(found, metadata=str(found.metadata.generation) if spec.merged_files else "")
        made = Made(name=candidate.listed.name, version=named_version(candidate.listed.version, recipe.metadata))
        fetch = replace(self._fetch(made, packaged=recipe.changes, source_revision=index, found=found), outcome=candidate.outcome)
        if trusted is not None:
            fetch = replace(fetch, outcome=self._provenance.known(found, made, trusted))
        if (trusted is None or fetch.outcome is not None) and await self._is_stored(found, made):
            return replace(fetch, made=replace(made, values_files=found.status.observed_values_files))
        pulled = Pulled(drafts / "pulled", drafts / "prov", candidate.listed)
        prov = pulled.provenance if trusted is not None else None
        await pull(access, candidate, pulled.archive, self._needs, timeout=repository.spec.timeout, prov=prov)
        if trusted is not None:
            fetch = replace(fetch, outcome=await self._provenance.check(found, made, pulled, trusted))
        made = await self._needs.workers.run(take_archive, drafts / "pulled", drafts / "chart", recipe, timeout=MAKE_LIMIT)
        if made.name != candidate.listed.name.rpartition("/")[2]:
            raise ChartFailed(meta.CHART_PULL_ERROR, f"the archive holds a chart of another name, '{made.name}'")
        version = candidate.listed.version if not recipe.changes else made.version
        return await self._placed(fetch, replace(made, version=version), drafts / "chart", found)

    def _index(self, found: HelmChart, repository: HelmRepository) -> str:
        """The revision of the repository's index. Raises EndedEarly where there is none."""
        artifact = self._indexes.get(repository.key) or repository.status.artifact
        if artifact is None or self._needs.artifacts.file(artifact.path) is None:
            raise _no_artifact(found)
        return artifact.revision

    def _index_of(self, repository: HelmRepository) -> Artifact:
        artifact = self._indexes.get(repository.key) or repository.status.artifact
        assert artifact is not None
        return artifact

    async def _of_snapshot(self, found: HelmChart, raw: Raw, drafts: Path) -> ChartFetch:
        key, spec, run = _source_key(found), found.spec, self._needs.workers.run
        snapshot = self._needs.published.get(key)
        if snapshot is None:
            if (raw.get("status") or {}).get("artifact"):
                raise NotYet(f"{key} has not been fetched since the start")
            raise _no_artifact(found)
        recipe = _recipe(found, metadata=_metadata(found, snapshot))
        try:
            plan = await run(plan_folder, snapshot, spec.chart, recipe, timeout=MAKE_LIMIT)
            made = Made(name=plan.name, version=plan.version)
            fetch = self._fetch(made, packaged=plan.packaged, source_revision=snapshot.revision, found=found)
            if await self._is_stored(found, made):
                return replace(fetch, made=replace(made, values_files=found.status.observed_values_files))
            archives = await self._dependencies.fetched(plan.missing, found.metadata.namespace, drafts)
            made = await run(make_folder, snapshot, spec.chart, drafts / "chart", recipe, archives, timeout=MAKE_LIMIT)
        except SnapshotGone as error:
            raise NotYet(str(error)) from error
        return await self._placed(fetch, made, drafts / "chart", found)

    def _fetch(self, made: Made, *, packaged: bool, source_revision: str, found: HelmChart) -> ChartFetch:
        link = self._needs.artifacts.url(f"{folder_of(found.key)}/{LINK}")
        current = found.status.artifact or Artifact(path="", url="")
        generation = found.metadata.generation
        return ChartFetch(artifact=current, made=made, packaged=packaged, source_revision=source_revision, link=link, generation=generation)

    async def _is_stored(self, found: HelmChart, made: Made) -> bool:
        current, store = found.status.artifact, self._needs.artifacts
        if current is None or found.status.observed_generation != found.metadata.generation:
            return False
        same = (found.status.observed_chart_name, current.revision) == (made.name, made.version)
        return same and current.url == store.url(current.path) and await store.intact(current)

    async def _placed(self, fetch: ChartFetch, made: Made, file: Path, found: HelmChart) -> ChartFetch:
        name, before = f"{made.name}-{made.version}.tgz", found.status.artifact
        artifact = await self._needs.artifacts.place(found.key, name, file, revision=Revision(made.version), link=LINK)
        if before is not None and replace(artifact, last_update_time=before.last_update_time) == before:
            artifact = before
        return replace(fetch, artifact=artifact, made=made)

    async def restore(self, found: HelmChart, triggers: tuple[Trigger, ...]) -> None:
        """Nobody builds from charts here."""

    async def forget(self, key: ObjectKey, uid: str) -> None:
        """The object is gone."""
        self._provenance.forget(uid)


def _source_key(found: HelmChart) -> ObjectKey:
    reference = found.spec.source_ref
    return ObjectKey(group=SOURCE_GROUP, kind=reference.kind, namespace=found.metadata.namespace, name=reference.name)


def _repository(raw: Raw) -> HelmRepository:
    """The typed form. Raises EndedEarly where it is not carried out as it stands."""
    name = (raw.get("metadata") or {}).get("name")
    try:
        found = decode(HelmRepository, raw)
        refused = refused_fields({"apiVersion": found.api_version, "kind": "HelmRepository", **raw})
    except Invalid as error:
        raise EndedEarly.fetch(meta.SOURCE_UNAVAILABLE, f"failed to get source: HelmRepository '{name}': {error}") from error
    if refused:
        why = f"failed to get source: HelmRepository '{name}': {', '.join(refused)}: not carried out by this version of sluice"
        raise EndedEarly.fetch(meta.SOURCE_UNAVAILABLE, why)
    if found.spec.url.startswith("oci://") != found.spec.is_oci:
        why = f"failed to get source: HelmRepository '{name}': spec.url begins with oci:// if and only if spec.type is oci"
        raise EndedEarly.fetch(meta.URL_INVALID, why, stalls=True)
    return found


def _recipe(found: HelmChart, *, metadata: str) -> Recipe:
    spec = found.spec
    return Recipe(metadata=metadata, values_files=spec.merged_files, ignore_missing=spec.ignore_missing_values_files)


def _metadata(found: HelmChart, snapshot: Snapshot) -> str:
    """What goes behind the + of a version: the revision if the strategy asks for it, the generation where values are merged."""
    parts = []
    if found.spec.reconcile_strategy == "Revision":
        parts.append((split_revision(snapshot.revision)[1] or snapshot.revision)[:12])
    if found.spec.merged_files:
        parts.append(str(found.metadata.generation))
    return ".".join(parts)


def _no_artifact(found: HelmChart) -> EndedEarly:
    reference = found.spec.source_ref
    why = f"no artifact available for {reference.kind} source '{reference.name}'"
    return EndedEarly(Failure(condition=meta.FETCH_FAILED, reason=meta.NO_SOURCE_ARTIFACT, message=why, quiet=True))


def _failed(error: ChartFailed) -> EndedEarly:
    kind = meta.BUILD_FAILED if error.reason in _OF_BUILD else meta.FETCH_FAILED
    if error.reason == meta.CHART_VERIFICATION_ERROR:
        kind = meta.SOURCE_VERIFIED
    message = f"{_SUMMARY[error.reason]}: {error.message}"
    return EndedEarly(Failure(condition=kind, reason=error.reason, message=message, stalls=error.reason in _STALLING))
