"""Drift: what others change of the objects that we manage, seen when it happens, and what follows from it.

`interval`: nothing until the Kustomization's interval, which compares everything (Flux's way, the default). `watch`: undone at once.
`report`: left alone and told. The word on the object (annotation) wins over that on its Kustomization, which wins over the flag.
In: sightings of the watches, what runs did. Out: runs that send only what drifted, and events that name the manager, the fields and values.
Whether a field is ours is the API server's knowledge (server-side apply): what Git does not set is never compared, nor touched.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from service.cluster.built import Built
from service.cluster.changes import Change, ChangeSet
from service.cluster.managed import Sighting, Stand
from service.kinds.event import Event
from service.kinds.kustomize import Kustomization
from service.kinds.meta import DRIFT, KUSTOMIZE_GROUP, ObjectKey, format_duration, format_time
from service.kustomizations.catalog import Catalog, key_of
from service.kustomizations.fights import Dispute, Fights
from service.kustomizations.records import Record
from service.kustomizations.standing import MODES, Mode, Standing, Standings
from service.reconcile.queue import CHANGE, Queue, Trigger
from service.state.cache import Cache
from service.state.errors import StateError

if TYPE_CHECKING:
    from service.kustomizations.run import Run

log = logging.getLogger(__name__)
DETECTED, DISPUTED, NOT_WATCHED = "DriftDetected", "DriftDisputed", "DriftNotWatched"
CONTROLLER = "kustomize-controller"
LOOK_AGAIN = timedelta(seconds=2)
SHORT = 16  # hex digits of a manifest's digest


class Drift:
    """One for the room. `on_modes(key)` is called when the set of kinds that a Kustomization wants watched may have changed."""

    def __init__(self, *, mode: Mode, catalog: Catalog, queue: Queue, cache: Cache, tell: Callable[[Event], None]) -> None:
        self.mode = mode
        self.standings = Standings()
        self.on_modes: Callable[[ObjectKey], None] = lambda _key: None
        self._catalog, self._queue, self._cache, self._tell = catalog, queue, cache, tell
        self._drifted: dict[ObjectKey, set[str]] = defaultdict(set)
        self._unsure: dict[ObjectKey, dict[str, Sighting]] = defaultdict(dict)
        self._fights = Fights(lambda: asyncio.get_running_loop().time())

    # --- what a watch sees

    def sighted(self, seen: Sighting) -> None:
        """An object changed. While a run of its owner is under way nobody can tell whose doing that is: then it is looked at afterwards."""
        key = ObjectKey(group=KUSTOMIZE_GROUP, kind="Kustomization", namespace=seen.owner[0], name=seen.owner[1])
        if self._queue.waits(key):
            self._unsure[key][seen.object.id] = seen
        else:
            self._judge(key, seen)

    def ended(self, key: ObjectKey, *, gone: bool) -> None:
        """A run is over: what was seen meanwhile can be judged."""
        unsure = self._unsure.pop(key, {})
        if gone:
            self._fights.forget((key, id) for id in self.standings.forget(key))
            self._drifted.pop(key, None)
        for seen in unsure.values():
            self._judge(key, seen)
        self.on_modes(key)

    def _judge(self, key: ObjectKey, seen: Sighting) -> None:
        id = seen.object.id
        known = self.standings.get(key, id)
        if known is None or seen.version < known.stand.version:
            return
        soon = timedelta(0)
        if seen.stand is not None:
            if seen.stand.mode != known.stand.mode:
                self._restand(key, id, known, seen.stand)
            if seen.stand.owned == known.stand.owned:
                if not known.left or seen.stand.around == known.stand.around:
                    return self._drifted[key].discard(id)
                soon = LOOK_AGAIN  # drift that is left alone: it may be over, or be another
        self._drifted[key].add(id)
        settled = self._catalog.settled(key)
        if self.mode_of(key, seen.stand or known.stand) == "interval" or settled is None or not settled.ready:
            return  # the interval, or the retry, looks at everything
        log.info("drift seen", extra={"object": str(key), "drifted": str(seen.object)})
        self._queue.add(key, trigger=Trigger(reason="drift"), priority=CHANGE, after=max(soon, self._fights.pause((key, id))))

    def _restand(self, key: ObjectKey, id: str, known: Standing, stand: Stand) -> None:
        self.standings.put(key, id, replace(known, stand=replace(known.stand, mode=stand.mode)))
        self.on_modes(key)

    def mode_of(self, key: ObjectKey, stand: Stand) -> Mode:
        """The object's word, else its Kustomization's, else the flag's."""
        return _mode(stand.mode) or self._mode_at(key)

    def _mode_at(self, key: ObjectKey) -> Mode:
        raw = self._catalog.raw(key)
        annotations: Mapping[str, str] = (raw or {}).get("metadata", {}).get("annotations") or {}
        return _mode(annotations.get(DRIFT, "")) or self.mode

    # --- what a run asks

    def is_due(self, key: ObjectKey) -> bool:
        """Whether an object has drifted and something follows from it now."""
        return bool(self.due(key))

    def due(self, key: ObjectKey) -> frozenset[str]:
        """The ids of the objects that a run looks at although their manifests are as before."""
        ids = self._drifted.get(key)
        return frozenset(id for id in ids if self._follows(key, id)) if ids else frozenset()

    def _follows(self, key: ObjectKey, id: str) -> bool:
        known = self.standings.get(key, id)
        return known is not None and self.mode_of(key, known.stand) != "interval" and not self._fights.pause((key, id))

    async def look(self, key: ObjectKey, record: Record) -> Literal["known", "due", "unknown"]:
        """Whether all drift since the record was made is known (`due`: and there is some to act on), so that no full run is needed."""
        try:
            self.standings.load(key, await self._cache.get_managed(record.uid))
        except (StateError, ValueError, TypeError) as error:
            log.warning("standing of objects not readable", extra={"object": str(key), "error": str(error)})
        if self._mode_at(key) != "interval" and not self.standings.knows(key, record.digests):
            return "unknown"
        return "due" if self.is_due(key) else "known"

    def leaves(self, key: ObjectKey) -> Callable[[Built, Mapping[str, Any] | None], bool]:
        """Which objects are only reported on: those whose word is `report`, as long as their manifest is the one that was applied."""
        word = (((self._catalog.raw(key) or {}).get("metadata") or {}).get("annotations") or {}).get(DRIFT, "")
        if word and _mode(word) is None:
            log.warning("annotation not understood", extra={"object": str(key), "annotation": f"{DRIFT}: {word}", "known": list(MODES)})

        def left(built: Built, live: Mapping[str, Any] | None) -> bool:
            known = self.standings.get(key, built.object.id)
            annotations = (live["metadata"].get("annotations") or {}) if live is not None else built.annotations
            mode = _mode(annotations.get(DRIFT, "")) or self._mode_at(key)
            return mode == "report" and known is not None and known.digest == built.digest[:SHORT]

        return left

    # --- what a run has done

    def note(self, run: "Run", result: ChangeSet, digests: Mapping[str, str]) -> list[str]:
        """Remember how the objects stand; returns the lines about drift that was undone. What is left alone, or disputed, is told."""
        undone: list[str] = []
        found: list[str] = []
        for change in result.entries:
            words = self._noted(run, change, digests.get(change.id, "")[:SHORT])
            if words and change.action == "drifted":
                found.append(words)
            elif words:
                undone.append(f"{words}, undone")
        if found:
            self._told(run.found, run.raw, DETECTED, "\n".join(f"{words}, left alone" for words in found))
        return undone

    def _noted(self, run: "Run", change: Change, digest: str) -> str:
        """The words about an object's drift where that is news, else ""."""
        key, id = run.key, change.id
        self._drifted[key].discard(id)
        before = self.standings.get(key, id)
        if change.action == "deleted" or change.action == "skipped":
            self.standings.drop(key, id)
            return ""
        same = before is not None and before.digest == digest
        words = self._words(run.found, change) if same else ""
        left = words if change.action == "drifted" else self._dispute(run, change) if words else ""
        stand = change.stand or (replace(before.stand, owned="gone") if before is not None else None)
        if stand is not None:
            api_version = change.object.api_version
            self.standings.put(key, id, Standing(api_version=api_version, stand=stand, digest=digest, left=left))
        if words:
            log.info("drift", extra={"object": str(key), "drift": words, "undone": change.action != "drifted"})
        return "" if change.action == "drifted" and before is not None and before.left == words else words

    def _words(self, found: Kustomization, change: Change) -> str:
        """`Deployment/ns/web drifted: spec.replicas 3 -> 5 by kubectl`, "" where nothing differs."""
        if change.action == "created" or (change.action == "drifted" and change.stand is None):
            return f"{change.object} drifted: it was deleted"
        masked = may_hold_secrets(found) or (change.object.group, change.object.kind) == ("", "Secret")
        fields = ", ".join(each.words(masked=masked) for each in change.fields)
        return f"{change.object} drifted: {fields}" if fields else ""

    def _dispute(self, run: "Run", change: Change) -> str:
        """A correction was made; once too often, that is told, and the words stay until it is over."""
        dispute = self._fights.corrected((run.key, change.id), [(each.path, each.manager) for each in change.fields] or [("", "")])
        if dispute is None:
            return ""
        words = _disputed(change, dispute)
        self._told(run.found, run.raw, DISPUTED, words)
        return words

    def left(self, key: ObjectKey) -> str:
        """What the condition says: all drift that is left alone, "" without any."""
        return "\n".join(each.left for _, each in self.standings.all(key) if each.left)

    async def save(self, key: ObjectKey, uid: str) -> None:
        """Store how the objects stand; what cannot be stored is found out anew after a restart."""
        try:
            await self._cache.put_managed(uid, self.standings.to_json(key))
        except StateError as error:
            log.warning("standing of objects not stored", extra={"object": str(key), "error": str(error)})

    def forget_all(self) -> None:
        """Others may have written."""
        self.standings.forget_all()
        self._drifted.clear()
        self._unsure.clear()

    # --- what is told

    def not_watched(self, key: ObjectKey, kind: str, others: int, message: str) -> None:
        """A kind may not be watched."""
        raw = self._catalog.raw(key)
        if raw is None:
            return
        more = f" (and in {others} more Kustomizations)" if others else ""
        words = f"drift of kind {kind} is seen at the interval only{more}: it may not be watched: {message}"
        self._tell(_event(raw, NOT_WATCHED, words))

    def _told(self, found: Kustomization, raw: Mapping[str, Any], reason: str, message: str) -> None:
        log.warning("drift is left alone", extra={"object": str(found.key), "reason": reason, "drift": message})
        self._tell(_event(raw, reason, message))


def _mode(text: str) -> Mode | None:
    return next((mode for mode in MODES if mode == text), None)


def may_hold_secrets(found: Kustomization) -> bool:
    """Whether values of Secrets may have got into any of its manifests."""
    post = found.spec.post_build
    return found.spec.decryption is not None or (post is not None and any(each.kind == "Secret" for each in post.substitute_from))


def _disputed(change: Change, dispute: Dispute) -> str:
    again = format_time(datetime.now(UTC) + dispute.pause)
    what = f"{dispute.path} of {change.object}" if dispute.path else str(change.object)
    who = dispute.manager or "somebody who leaves no name"
    return (
        f"{what} is changed back by {who}: {dispute.times} times now; it is left alone for {format_duration(dispute.pause)}, "
        f"until {again}. Take the field out of Git, or stop {who}"
    )


def _event(raw: Mapping[str, Any], reason: str, message: str) -> Event:
    metadata = raw["metadata"]
    return Event(
        involved=key_of(raw),
        involved_api_version=str(raw.get("apiVersion", "")),
        involved_uid=metadata.get("uid", ""),
        involved_resource_version=metadata.get("resourceVersion", ""),
        severity="error",
        reason=reason,
        message=message,
        reporting_controller=CONTROLLER,
    )
