"""What the last complete run of each Kustomization left behind: the ground for leaving it alone when a push does not concern it.

A record says which tree was built, what was read there and the digest of each object as it was sent. It lives in memory, indexed by the
paths that were read, and in the cache file, which may be deleted at any time: without a record the object simply runs in full.
A record is true as long as nobody else writes the objects: it goes when a run begins to write, and when the Lease was in other hands.
"""

import json
import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta

from service.kinds.kustomize import Kustomization
from service.kinds.meta import ObjectKey
from service.kustomize.tree import REMOTE
from service.state.cache import Cache
from service.state.errors import StateError

log = logging.getLogger(__name__)
ENGINE = "3"  # raised when the same input would build, read or be digested otherwise


@dataclass(frozen=True, slots=True, kw_only=True)
class Basis:
    """What a run was made from. Equal bases but for tree and revision, and equal reads: equal objects."""

    generation: int
    source: ObjectKey
    tree: str
    ignore_digest: str
    revision: str
    reconciled_at: datetime
    variables: str = ""  # which ConfigMaps and Secrets were substituted from, and how they were
    engine: str = ENGINE

    def to_text(self) -> str:
        return json.dumps(asdict(self) | {"source": asdict(self.source), "reconciled_at": self.reconciled_at.isoformat()}, sort_keys=True)

    @classmethod
    def from_text(cls, text: str) -> "Basis":
        """Raises ValueError, KeyError or TypeError for anything that this version did not write."""
        found = json.loads(text)
        found["source"] = ObjectKey(**found["source"])
        found["reconciled_at"] = datetime.fromisoformat(found["reconciled_at"]).astimezone(UTC)
        return cls(**found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """`reads`: token by read key; `digests`: digest of the built form by object id."""

    uid: str
    basis: Basis
    reads: Mapping[str, str]
    digests: Mapping[str, str]


class Records:
    """All records, with the reverse index path -> Kustomizations."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        self._records: dict[ObjectKey, Record] = {}
        self._readers: dict[ObjectKey, dict[str, set[ObjectKey]]] = defaultdict(lambda: defaultdict(set))

    def get(self, key: ObjectKey) -> Record | None:
        """The record in memory."""
        return self._records.get(key)

    @property
    def known(self) -> frozenset[ObjectKey]:
        """The objects whose record is in memory."""
        return frozenset(self._records)

    async def load(self, key: ObjectKey, uid: str, *, applied: str) -> Record | None:
        """The record in memory, else the one in the cache file, if this version can read it and the object still stands where it says.

        `applied` is the object's status.lastAppliedRevision: where it is another, somebody else has applied since, or the record is late.
        """
        found = self._records.get(key)
        if found is not None and found.uid == uid:
            return found
        try:
            stored = await self._cache.get_build(uid)
            basis = Basis.from_text(stored.fingerprint) if stored is not None else None
        except (StateError, ValueError, KeyError, TypeError) as error:
            log.warning("record not readable", extra={"object": str(key), "error": str(error)})
            return None
        if stored is None or basis is None or basis.revision != applied or basis.engine != ENGINE:
            return None
        record = Record(uid=uid, basis=basis, reads=stored.reads, digests=stored.digests)
        self._index(key, record)
        return record

    async def put(self, key: ObjectKey, record: Record) -> None:
        """Keep the record of a run, in memory and, where that can be written, in the cache file."""
        self._index(key, record)
        try:
            await self._cache.put_build(record.uid, record.basis.to_text(), record.reads, record.digests)
        except StateError as error:
            log.warning("record not stored", extra={"object": str(key), "error": str(error)})

    def move(self, key: ObjectKey, *, tree: str, revision: str) -> None:
        """The same objects would be built from another tree: only the basis changes. The cache file follows with `save`."""
        record = self._records[key]
        self._records[key] = replace(record, basis=replace(record.basis, tree=tree, revision=revision))

    async def save(self, key: ObjectKey) -> None:
        """Bring the cache file up to a record that moved."""
        record = self._records.get(key)
        if record is not None:
            await self._cache.move_build(record.uid, record.basis.to_text())

    async def drop(self, key: ObjectKey, uid: str = "") -> None:
        """The object is gone, or its objects will not be as the record says: forget it, in the cache file too. `uid` where it is known."""
        record = self._records.get(key)
        self.forget(key)
        for each in {uid, record.uid if record is not None else ""} - {""}:
            try:
                await self._cache.drop(each)
            except StateError as error:
                log.warning("record not dropped", extra={"object": str(key), "error": str(error)})

    def forget(self, key: ObjectKey) -> None:
        """Forget the record in memory."""
        record = self._records.pop(key, None)
        if record is not None:
            self._unindex(key, record)

    def forget_all(self) -> None:
        """Others may have written: only what agrees with the statuses is read again from the cache file."""
        self._records.clear()
        self._readers.clear()

    def readers(self, source: ObjectKey, paths: Iterable[str]) -> set[ObjectKey]:
        """The Kustomizations of a source that read, listed or looked for any of these paths."""
        by_path = self._readers.get(source, {})
        return {key for path in paths for key in by_path.get(path, ())}

    def _index(self, key: ObjectKey, record: Record) -> None:
        before = self._records.get(key)
        if before is not None:
            self._unindex(key, before)
        self._records[key] = record
        by_path = self._readers[record.basis.source]
        for read in record.reads:
            by_path[path_of(read)].add(key)

    def _unindex(self, key: ObjectKey, record: Record) -> None:
        by_path = self._readers[record.basis.source]
        for read in record.reads:
            readers = by_path.get(path_of(read))
            if readers is not None:
                readers.discard(key)
                if not readers:
                    del by_path[path_of(read)]


def due_in(found: Kustomization, basis: Basis) -> timedelta | None:
    """Time until the interval asks for a look at drift, 5 % more or less by the object's uid, so that it does not move. None: never."""
    if not found.spec.interval:
        return None
    jitter = 0.95 + 0.1 * (int(found.metadata.uid.replace("-", "")[:4] or "0", 16) / 0xFFFF)
    return basis.reconciled_at + found.spec.interval * jitter - datetime.now(UTC)


def path_of(read: str) -> str:
    """The path in a read key `OP PATH`; the root for what is outside of the tree: whatever changes, that is looked at again."""
    operation, _, path = read.partition(" ")
    return "" if operation == REMOTE else path
