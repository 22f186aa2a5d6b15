"""A new revision of a source: which of its consumers run, which merely move.

Work in proportion to the change: the two trees are compared top down, the paths that differ are looked up in the index of reads, and only
those reads are compared. Consumers that the change does not concern cost a set lookup now and one status write later, in the sweep.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import islice

from service.kinds.meta import ObjectKey
from service.kustomizations.building import read_tokens
from service.kustomizations.catalog import Catalog, Settled
from service.kustomizations.records import ENGINE, Record, Records, path_of
from service.log import trace
from service.reconcile.queue import HOOK, SWEEP, Queue, Trigger
from service.reconcile.worker import contained
from service.sources.snapshot import Snapshot, SnapshotGone, touched
from service.workers import Workers

log = logging.getLogger(__name__)
COMPARE_LIMIT = timedelta(seconds=30)
HEAD_START_SECONDS = 0.25
STEP = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Push:
    """A snapshot and the traces of the deliveries that brought it."""

    snapshot: Snapshot
    traces: tuple[str, ...] = ()


class Pushes:
    """A room: takes each new snapshot of each source, newest only."""

    def __init__(
        self,
        *,
        catalog: Catalog,
        records: Records,
        workers: Workers,
        queue: Queue,
        is_open: Callable[[ObjectKey], bool],
        on_move: Callable[[ObjectKey, str], None],
    ) -> None:
        """`is_open` says whether a run of the object has written and not ended: it waits for health, or failed to end."""
        self._catalog = catalog
        self._records = records
        self._workers = workers
        self._queue = queue
        self._is_open = is_open
        self.on_compared: Callable[[Snapshot, Collection[str], Mapping[ObjectKey, Collection[str]]], None] = lambda *_: None
        self._on_move = on_move
        self._pending: dict[ObjectKey, Push] = {}
        self._trees: dict[ObjectKey, str] = {}  # the tree that was spread last, by source
        self._wake = asyncio.Event()
        self.idle = asyncio.Event()  # what has arrived is spread
        self.idle.set()
        self._stopping = False

    def arrived(self, snapshot: Snapshot, triggers: Iterable[Trigger]) -> None:
        """Called by the source room as soon as a fetch has moved; the traces of its triggers go on with the consumers."""
        before = self._pending.pop(snapshot.key, None)
        traces = dict.fromkeys([*(before.traces if before else ()), *(trigger.trace for trigger in triggers if trigger.trace)])
        self._pending[snapshot.key] = Push(snapshot=snapshot, traces=tuple(traces))
        self.idle.clear()
        self._wake.set()

    def stop(self) -> None:
        self._stopping = True
        self._wake.set()

    async def run(self) -> None:
        """Until stopped, and until what has arrived is spread."""
        while not (self._stopping and not self._pending):
            self._wake.clear()
            while self._pending:
                source = next(iter(self._pending))
                await self._spread(self._pending.pop(source))
            self.idle.set()
            if not self._stopping:
                await self._wake.wait()

    async def _spread(self, push: Push) -> None:
        """First those that the change concerns, with a head start, then the rest in small steps, so that nobody waits for their number."""
        snapshot = push.snapshot
        trace.set(next(iter(push.traces), ""))
        before = self._trees.get(snapshot.key, "")
        known = {key: self._records.get(key) for key in self._catalog.of_source(snapshot.key)}
        concerned = await self._concerned(snapshot, before) if before else None
        later = {key for key in concerned or () if self._catalog.needs(key)}  # what these wait for moves first
        run = self._run((concerned or set()) - later, push)
        if run:
            await self._head_start()
        run |= later
        by_tree: dict[str, dict[ObjectKey, Record]] = defaultdict(dict)
        for step in _steps(self._catalog.of_source(snapshot.key) - run):
            for key in step:
                # a run that ended while the trees were compared was not compared: it looks for itself
                if (record := self._movable(key, snapshot)) is not None and record is known.get(key):
                    by_tree[record.basis.tree][key] = record
                else:
                    run |= self._run([key], push)
            await asyncio.sleep(0)
        for tree, records in by_tree.items():
            if tree != before or concerned is None:
                others = await self._concerned(snapshot, tree)
                run |= self._run(records if others is None else records.keys() & others, push)
        unconcerned = {key: record for records in by_tree.values() for key, record in records.items() if key not in run}
        await self._move(snapshot, {key: record for key, record in unconcerned.items() if not self._catalog.needs(key)})
        self._run(later, push)  # before those that wait for them look for them
        await self._move(snapshot, {key: record for key, record in unconcerned.items() if self._catalog.needs(key)})
        self._trees[snapshot.key] = snapshot.tree
        fields = {"object": str(snapshot.key), "revision": snapshot.revision, "run": len(run), "still": len(unconcerned)}
        log.info("revision spread", extra=fields)

    async def _head_start(self) -> None:
        """Moving a thousand objects takes the loop 50 ms, and a run that is interleaved with it takes as much longer."""
        try:
            async with asyncio.timeout(HEAD_START_SECONDS):
                await self._queue.idle.wait()
        except TimeoutError:
            return

    def _run(self, keys: Iterable[ObjectKey], push: Push) -> set[ObjectKey]:
        """Ask for the runs; returns the keys."""
        for key in keys:
            for one in push.traces or ("",):
                self._queue.add(key, trigger=Trigger(reason="source", trace=one), priority=HOOK)
        return set(keys)

    def _movable(self, key: ObjectKey, snapshot: Snapshot) -> Record | None:
        """The record of an object whose last run was whole, for this generation, and that neither runs nor waits for anything."""
        record, object_ = self._records.get(key), self._catalog.raw(key)
        if record is None or object_ is None or self._queue.waits(key) or self._is_open(key):
            return None
        settled, metadata = self._catalog.settled(key), object_["metadata"]
        if "deletionTimestamp" in metadata or object_["spec"].get("suspend") or settled is None or not settled.ready:
            return None
        whole = settled.generation == metadata.get("generation") == record.basis.generation and record.uid == metadata.get("uid")
        same_rules = record.basis.ignore_digest == snapshot.ignore_digest and record.basis.engine == ENGINE
        return record if whole and same_rules else None

    async def _concerned(self, snapshot: Snapshot, tree: str) -> set[ObjectKey] | None:
        """The consumers last built from `tree` whose recorded reads have changed; None where that cannot be found out."""
        found: set[ObjectKey] | None = None

        async def compare() -> None:
            nonlocal found
            try:
                found = await self._compared(snapshot, tree)
            except (SnapshotGone, OSError) as error:  # also a worker that died or took too long
                log.warning("revisions not compared", extra={"object": str(snapshot.key), "error": str(error)})

        await contained(compare(), doing="compare", about=str(snapshot.key))
        return found

    async def _compared(self, snapshot: Snapshot, tree: str) -> set[ObjectKey] | None:
        if tree == snapshot.tree:
            return set()
        paths = await self._workers.run(touched, replace(snapshot, tree=tree), snapshot, timeout=COMPARE_LIMIT)
        if paths is None:
            return None
        readers = {key: record for key in self._records.readers(snapshot.key, paths) if (record := self._records.get(key)) is not None}
        readers = {key: record for key, record in readers.items() if record.basis.tree == tree}
        reads = {read: token for record in readers.values() for read, token in record.reads.items() if path_of(read) in paths}
        if not reads:
            self.on_compared(snapshot, paths, {})
            return set()
        now = await self._workers.run(read_tokens, snapshot, tuple(reads), timeout=COMPARE_LIMIT)
        changed = {read for read in reads if now[read] != reads[read]}
        concerned = {key: hit for key, record in readers.items() if (hit := changed & record.reads.keys())}
        self.on_compared(snapshot, paths, concerned)
        return set(concerned)

    async def _move(self, snapshot: Snapshot, still: Mapping[ObjectKey, Record]) -> None:
        """Settle the unconcerned at the new revision; those with dependencies ask the reconciler, which waits for these first."""
        for step in _steps(still):
            if snapshot.key in self._pending:
                return  # what is unconcerned moves to the newest revision, or not at all
            for key in step:
                self._move_one(key, still[key], snapshot)
            await asyncio.sleep(0)

    def _move_one(self, key: ObjectKey, record: Record, snapshot: Snapshot) -> None:
        if self._catalog.needs(key) or record.basis.variables or self._movable(key, snapshot) is not record:
            self._queue.add(key, trigger=Trigger(reason="source"), priority=SWEEP)
            return
        self._records.move(key, tree=snapshot.tree, revision=snapshot.revision)
        settled = Settled(generation=record.basis.generation, revision=snapshot.revision, ready=True, tree=snapshot.tree)
        self._catalog.settle(key, settled)
        self._on_move(key, snapshot.revision)


def _steps(keys: Iterable[ObjectKey]) -> Iterator[tuple[ObjectKey, ...]]:
    """So many at a time that the loop is free again within a millisecond or two."""
    left = iter(keys)
    while step := tuple(islice(left, STEP)):
        yield step
