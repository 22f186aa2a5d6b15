"""OCIRepository: an artifact of a registry in, its files as a tree for our own consumers at once, then the tarball for everyone else.

One HEAD says whether anything is new; only then is the one layer pulled. What a payload said is never used: the tag is asked.
https://github.com/fluxcd/source-controller/blob/main/docs/spec/v1/ocirepositories.md
"""

import asyncio
import logging
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

from service import crash
from service.kinds import meta
from service.kinds.meta import ObjectKey, Revision
from service.kinds.oci import OCIRepository
from service.reconcile.queue import Trigger
from service.sources.cloudlogin import Holder, refused, registry_login
from service.sources.credentials import masked
from service.sources.failure import EndedEarly, Failure
from service.sources.manifests import RegistryError, Repository
from service.sources.ociref import LAYER_FAILED, PAUSES, PULL_FAILED, Layer, chosen, is_signature, settled, told_of
from service.sources.openrepo import SnapshotGone
from service.sources.reconciler import Needs, Raw
from service.sources.registry import Registry
from service.sources.remote import Remote
from service.sources.signatures import NotVerified, Outcome
from service.sources.snapshot import Snapshot, ignore_files
from service.sources.tarball import Tarball, Tarballs, Words
from service.sources.treestore import BadArchive, import_files, import_tarball, last_import
from service.sources.trustedkeys import CHANGED
from service.sources.verification import Verifier, Wanted, check_spec, told_outcome, verified_conditions

log = logging.getLogger(__name__)

MOST_LAYER_BYTES = 512 * 2**20
IMPORT_LIMIT = timedelta(minutes=5)
WALK_LIMIT = timedelta(minutes=1)
_SOURCE, _REVISION = "org.opencontainers.image.source", "org.opencontainers.image.revision"


class OCIOrigin:
    """See service.sources.reconciler.Origin."""

    type = OCIRepository
    blank: Raw = {"url": "oci://invalid/invalid", "interval": "0s"}  # noqa: RUF012 - never written

    def __init__(self, needs: Needs) -> None:
        self._needs = needs
        self._tarballs = Tarballs(artifacts=needs.artifacts, gitstore=needs.gitstore, workers=needs.workers)
        self._verifier = Verifier(needs.read_secret)
        self._layers: dict[str, Layer] = {}  # by uid: that of the newest snapshot
        self._checked: dict[str, _Checked] = {}  # by uid: the last good signature

    def check(self, spec: Raw) -> None:
        """The address, and whose signatures count: what the CRD does not hold."""
        _repository(str(spec.get("url")))
        if "verify" in spec:
            check_spec(spec["verify"])

    async def fetch(self, found: OCIRepository, triggers: tuple[Trigger, ...]) -> Tarball:
        """Ask for the digest, pull what is new, and publish it."""
        begun = time.perf_counter()
        if any(trigger.reason == CHANGED for trigger in triggers):
            self._checked[found.metadata.uid] = _Checked()
        try:
            async with asyncio.timeout(found.spec.timeout.total_seconds()), self._registry(found) as registry:
                snapshot, layer = await self._pulled(found, registry, triggers)
        except RegistryError as error:
            reason = meta.AUTHENTICATION_FAILED if error.unauthorized else PULL_FAILED
            raise EndedEarly.fetch(reason, f"failed to pull artifact from '{found.spec.url}': {error}") from error
        except TimeoutError as error:
            seconds = found.spec.timeout.total_seconds()
            why = f"failed to pull artifact from '{found.spec.url}': not finished within {seconds:g} s; is spec.timeout too short?"
            raise EndedEarly.fetch(PULL_FAILED, why) from error
        crash.point("source.fetched")
        moved = self._needs.published.publish(snapshot, triggers)
        if moved:
            seconds = round(time.perf_counter() - begun, 4)
            log.info("new revision", extra={"object": str(found.key), "revision": snapshot.revision, "seconds": seconds})
        checked = (self._checked.get(found.metadata.uid) or _checked_before(found)) if found.spec.verify is not None else _Checked()
        return self._tarballs.of(found, snapshot, _words(found, snapshot, layer, checked), moved=moved)

    @asynccontextmanager
    async def _registry(self, found: OCIRepository) -> AsyncIterator[Registry]:
        spec, repository = found.spec, _repository(found.spec.url)
        remote = Remote(
            namespace=found.metadata.namespace,
            certificates=spec.cert_secret_ref,
            proxy=spec.proxy_secret_ref,
            insecure=spec.insecure,
        )
        async with remote.open(self._needs.outbound, self._needs.read_secret) as way:
            holder = Holder(namespace=found.metadata.namespace, provider=spec.provider, account=spec.service_account_name, proxy=way.proxy)
            login = await registry_login(holder, [spec.secret_ref] if spec.secret_ref else [], repository, self._needs)
            registry = Registry(way.session, repository, login)
            if spec.insecure:
                await registry.allow_http()
            try:
                yield registry
            except RegistryError as error:
                if error.unauthorized:
                    refused(holder, self._needs)
                raise

    async def _pulled(self, found: OCIRepository, registry: Registry, triggers: tuple[Trigger, ...]) -> tuple[Snapshot, Layer]:
        uid, before = found.metadata.uid, await self._tarballs.still(self._needs.published.get(found.key), triggers)
        name, told = told_of(trigger.hint for trigger in triggers)
        known = before.revision.rpartition("@")[2] if before is not None else ""
        tag, digest = await settled(found.spec.ref, registry, told="" if is_signature(name) else told, known=known)
        revision = Revision(f"{tag}@{digest}" if tag else digest)
        await self._verified(found, registry, digest, revision, PAUSES if is_signature(name) else ())
        layer = self._layers.get(uid)
        if before is None or layer is None or layer.manifest.digest != digest or layer.selector != found.spec.layer_selector:
            layer = chosen(await registry.manifest(digest), found.spec.layer_selector)
            before = await self._imported(found, registry, layer)
            self._layers[uid] = layer
        return replace(before, revision=revision, ignore=found.spec.ignore, url=found.spec.url), layer

    async def _verified(
        self, found: OCIRepository, registry: Registry, digest: str, revision: Revision, pauses: tuple[float, ...] = ()
    ) -> None:
        """Once for each digest and generation, and again when the keys change. Raises EndedEarly.

        Where a signature is about to come, it is looked for again after each of the pauses.
        """
        verification, uid = found.spec.verify, found.metadata.uid
        if verification is None or (self._checked.get(uid) or _checked_before(found)).covers(digest, found):
            return
        try:
            outcome = await self._verifier.verify(Wanted.of(found.key, verification), registry, digest)
        except NotVerified as error:
            if pauses:
                await asyncio.sleep(pauses[0])
                return await self._verified(found, registry, digest, revision, pauses[1:])
            why = f"failed to verify the signature using provider '{verification.provider}': {error}"
            raise EndedEarly.unverified(why, revision) from error
        self._checked[uid] = _Checked(digest=digest, generation=found.metadata.generation, outcome=outcome)

    async def _imported(self, found: OCIRepository, registry: Registry, layer: Layer) -> Snapshot:
        """The files of one layer, as a tree in the object's own store."""
        uid, digest = found.metadata.uid, layer.manifest.digest
        store = await self._needs.gitstore.prepared(uid)
        try:
            with tempfile.TemporaryDirectory(prefix="layer-", dir=store) as draft:
                file = Path(draft, "layer")
                await registry.blob(layer.descriptor, file, most=MOST_LAYER_BYTES)
                try:
                    made = await self._needs.workers.run(import_tarball, store, uid, file, digest, timeout=IMPORT_LIMIT)
                except BadArchive as error:
                    if not layer.is_copied:
                        why = f"failed to extract layer contents from artifact: {error}"
                        raise EndedEarly.fetch(LAYER_FAILED, why) from error
                    made = await self._needs.workers.run(import_files, store, uid, (), digest, timeout=IMPORT_LIMIT)
                if layer.is_copied:
                    await self._needs.artifacts.keep(found.key, f"{digest}.tar.gz", file)
        except SnapshotGone as error:
            await self._needs.gitstore.discard(store)
            raise EndedEarly.damaged(error, digest) from error
        except OSError as error:  # also a worker that died or took too long
            why = f"failed to store the layer {layer.descriptor.digest}: {error.strerror or error}"
            raise EndedEarly(Failure(condition=meta.STORAGE_FAILED, reason=LAYER_FAILED, message=why, revision=digest)) from error
        return await self._snapshot(found, store, made.tree, digest)

    async def _snapshot(self, found: OCIRepository, store: Path, tree: str, digest: str) -> Snapshot:
        files = await self._needs.workers.run(ignore_files, store, tree, timeout=WALK_LIMIT)
        return Snapshot(
            key=found.key,
            revision=Revision(digest),
            store_path=store,
            commit=digest,
            tree=tree,
            ignore=found.spec.ignore,
            ignore_files=files,
            url=found.spec.url,
        )

    async def restore(self, found: OCIRepository, triggers: tuple[Trigger, ...]) -> None:
        """After a restart without a pull: what was pulled last."""
        uid = found.metadata.uid
        store = self._needs.gitstore.located(uid)
        if found.key in self._needs.published or store is None:
            return
        try:
            digest, tree = await asyncio.to_thread(last_import, store, uid)
            snapshot = await self._snapshot(found, store, tree, digest)
        except SnapshotGone:
            return  # nothing was fetched yet
        except OSError as error:
            log.warning("snapshot not restored", extra={"object": str(found.key), "error": str(error)})
            return
        applied = found.status.artifact
        if applied is not None and applied.revision.endswith(digest):  # the tag, which the store does not know
            snapshot = replace(snapshot, revision=applied.revision)
        self._needs.published.publish(snapshot, triggers)

    async def forget(self, key: ObjectKey, uid: str) -> None:
        """The object is gone."""
        self._layers.pop(uid, None)
        self._checked.pop(uid, None)
        self._tarballs.forget(uid)
        await self._needs.gitstore.forget(uid)


def _repository(url: str) -> Repository:
    try:
        return Repository.parse(url)
    except ValueError as error:
        raise EndedEarly.fetch(meta.URL_INVALID, f"failed to parse url '{masked(url)}': {error}", stalls=True) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class _Checked:
    """The last look at signatures: of which digest, in which generation of the object, and what came of it."""

    digest: str = ""
    generation: int = -1
    outcome: Outcome | None = None

    def covers(self, digest: str, found: OCIRepository) -> bool:
        return (self.digest, self.generation) == (digest, found.metadata.generation)


def _checked_before(found: OCIRepository) -> _Checked:
    """What the status tells, as Flux relies on it too: after a restart nothing is checked again."""
    artifact = found.status.artifact
    for each in found.status.conditions:
        if each.type == meta.SOURCE_VERIFIED and each.status == "True" and artifact is not None:
            digest = artifact.revision.rpartition("@")[2]
            outcome = told_outcome(each, f"revision {artifact.revision}")
            return _Checked(digest=digest, generation=each.observed_generation, outcome=outcome)
    return _Checked()


def _words(found: OCIRepository, snapshot: Snapshot, layer: Layer, checked: _Checked) -> Words:
    annotations, selector = layer.manifest.annotations, found.spec.layer_selector
    news = f"stored artifact with revision '{snapshot.revision}' from '{found.spec.url}'"
    if annotations.get(_SOURCE) and annotations.get(_REVISION):
        news += f", origin source '{annotations[_SOURCE]}', origin revision '{annotations[_REVISION]}'"
    observed = {"mediaType": selector.media_type, "operation": selector.operation} if selector is not None else None
    status = found.status
    return Words(
        ready=f"stored artifact for digest '{snapshot.revision}'",
        news=news,
        same_rules=status.observed_ignore == found.spec.ignore and status.observed_layer_selector == selector,
        status={"observedIgnore": found.spec.ignore, "observedLayerSelector": observed},
        metadata=annotations,
        conditions=verified_conditions(checked.outcome, f"revision {snapshot.revision}", found.metadata.generation),
        as_it_is=layer.is_copied,
    )
