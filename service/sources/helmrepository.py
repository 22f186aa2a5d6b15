"""HelmRepository: the index of a chart repository in, one JSON file that charts are looked up in out.

The index is asked for with the conditions of the last answer (ETag), so that an unchanged one costs one small request. It goes from the
connection to the disk, and from there, in a worker process, to the file that is stored. Of the type oci there is nothing to fetch: the
object is static. https://github.com/fluxcd/source-controller/blob/main/docs/spec/v1/helmrepositories.md
"""

import asyncio
import json
import logging
import time
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

from service import crash
from service.kinds import meta
from service.kinds.helm import HelmRepository
from service.kinds.meta import ObjectKey, Revision
from service.kinds.source import Artifact
from service.reconcile.queue import Trigger
from service.sources.artifact import folder_of
from service.sources.failure import EndedEarly, Failure, Stored
from service.sources.helmindex import MOST_INDEX_BYTES, BadIndex, store_index
from service.sources.helmway import Access, museum_of
from service.sources.indexes import Indexes
from service.sources.museum import Got, MuseumError, below
from service.sources.reconciler import Needs, Raw

log = logging.getLogger(__name__)

INDEX_LIMIT = timedelta(minutes=2)
LINK = "index.yaml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the last answer said, for the next question: only the same address with the same log-in is asked with it."""

    url: str
    identity: str
    revision: str
    etag: str
    modified: str


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexFetch:
    """See service.sources.reconciler.Fetch."""

    artifact: Artifact
    link: str
    news: str
    moved: bool = False

    @property
    def revision(self) -> str:
        return self.artifact.revision

    async def store(self) -> Stored:
        ready = f"stored artifact: revision '{self.artifact.revision}'"
        return Stored(artifact=self.artifact, ready=ready, news=self.news, status={"url": self.link})

    async def tidy(self) -> None:
        """There is nothing to tidy."""


class HelmRepositoryOrigin:
    """See service.sources.reconciler.Origin. For the type default."""

    type = HelmRepository
    blank: Raw = {"url": "https://invalid.invalid"}  # noqa: RUF012 - never written

    def __init__(self, needs: Needs, indexes: Indexes) -> None:
        self._needs = needs
        self._indexes = indexes

    def check(self, spec: Raw) -> None:
        """The address, whose form the CRD does not hold."""
        parts = urlsplit(str(spec.get("url")))
        if parts.scheme not in ("http", "https") or not parts.hostname:
            kind = "set spec.type to oci" if parts.scheme == "oci" else "it must begin with https:// or http://"
            raise EndedEarly.fetch(meta.URL_INVALID, f"invalid Helm repository URL: {kind}", stalls=True)

    async def fetch(self, found: HelmRepository, triggers: tuple[Trigger, ...]) -> IndexFetch:
        """Ask for the index, store a new one, and tell the charts."""
        begun, seconds = time.perf_counter(), found.spec.timeout.total_seconds()
        current = self._indexes.get(found.key) or found.status.artifact
        if current is not None and not await self._intact(current):
            current = None
        with self._needs.artifacts.drafts() as drafts:
            try:
                async with asyncio.timeout(seconds):
                    asked, got = await self._fetched(found, current, drafts / "fetched")
            except MuseumError as error:
                reason = meta.AUTHENTICATION_FAILED if error.unauthorized else meta.FAILED
                raise EndedEarly.fetch(reason, f"failed to fetch Helm repository index: {error}") from error
            except TimeoutError as error:
                why = f"failed to fetch Helm repository index: not finished within {seconds:g} s; is spec.timeout too short?"
                raise EndedEarly.fetch(meta.FAILED, why) from error
            except OSError as error:
                raise _not_stored(str(error.strerror or error)) from error
            crash.point("source.fetched")
            artifact, news = current, ""
            if got is not None and (artifact is None or artifact.revision != f"sha256:{got.digest}"):
                artifact = await self._stored(found, got, drafts)
                news = f"stored fetched index of size {_human(got.size)} from '{found.spec.url}'"
                spent = round(time.perf_counter() - begun, 4)
                log.info("new revision", extra={"object": str(found.key), "revision": artifact.revision, "seconds": spent})
            assert artifact is not None  # without one the question has no conditions, and the answer is an index
            if got is not None:
                asked = Asked(url=asked.url, identity=asked.identity, revision=artifact.revision, etag=got.etag, modified=got.modified)
                self._remember(found.key, asked)
        self._indexes.publish(found.key, artifact, triggers)
        link = self._needs.artifacts.url(f"{folder_of(found.key)}/{LINK}")
        return IndexFetch(artifact=artifact, link=link, news=news or f"stored artifact: revision '{artifact.revision}'")

    async def _fetched(self, found: HelmRepository, current: Artifact | None, target: Path) -> tuple[Asked, Got | None]:
        access = await Access.of(found, self._needs)
        url = below(found.spec.url, "index.yaml")
        known = self._recalled(found.key)
        fits = known is not None and current is not None and known.revision == current.revision
        if known is None or not fits or (known.url, known.identity) != (url, access.identity):
            known = Asked(url=url, identity=access.identity, revision="", etag="", modified="")
        asked = {"If-None-Match": known.etag, "If-Modified-Since": known.modified}
        async with museum_of(access, self._needs) as museum:
            return known, await museum.fetch(url, target, most=MOST_INDEX_BYTES, asked={k: v for k, v in asked.items() if v})

    async def _stored(self, found: HelmRepository, got: Got, drafts: Path) -> Artifact:
        try:
            await self._needs.workers.run(store_index, drafts / "fetched", drafts / "index", timeout=INDEX_LIMIT)
            name, revision = f"index-{got.digest}.yaml", Revision(f"sha256:{got.digest}")
            return await self._needs.artifacts.place(found.key, name, drafts / "index", revision=revision, link=LINK)
        except BadIndex as error:
            why = f"failed to load Helm repository from index YAML: {error}"
            raise EndedEarly.fetch(meta.INDEXATION_FAILED, why) from error
        except OSError as error:  # also a worker that died or took too long
            raise _not_stored(str(error.strerror or error)) from error

    async def _intact(self, artifact: Artifact) -> bool:
        store = self._needs.artifacts
        return artifact.url == store.url(artifact.path) and await store.intact(artifact)

    def _asked_file(self, key: ObjectKey) -> Path:
        return self._needs.artifacts.private(key, "asked.json")

    def _remember(self, key: ObjectKey, asked: Asked) -> None:
        file = self._asked_file(key)
        draft = file.with_suffix(".new")
        draft.write_text(json.dumps(asdict(asked)))
        draft.replace(file)

    def _recalled(self, key: ObjectKey) -> Asked | None:
        """None where it is not there or not whole: then the whole index is fetched, which is right too."""
        try:
            return Asked(**json.loads(self._asked_file(key).read_text()))
        except (OSError, ValueError, TypeError):
            return None

    async def restore(self, found: HelmRepository, triggers: tuple[Trigger, ...]) -> None:
        """Charts read the index that the status names."""

    async def forget(self, key: ObjectKey, uid: str) -> None:
        """The object is gone."""
        self._indexes.forget(key)


def _not_stored(why: str) -> EndedEarly:
    message = f"unable to save artifact to storage: {why}"
    return EndedEarly(Failure(condition=meta.STORAGE_FAILED, reason=meta.ARCHIVE_FAILED, message=message))


def _human(size: int) -> str:
    """Bytes as Docker writes them: 25.1MB."""
    amount, units = float(size), ["B", "kB", "MB"]
    while amount >= 1000 and len(units) > 1:
        amount, units = amount / 1000, units[1:]
    return f"{amount:.4g}{units[0]}"
