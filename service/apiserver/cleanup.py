"""What the real cluster's controllers clean up: dependents of deleted owners, contents of deleted namespaces, objects of deleted CRDs.

Committed events in, deletions out. https://kubernetes.io/docs/concepts/architecture/garbage-collection/
"""

import asyncio
import logging
from collections import deque
from typing import Any

from service.apiserver.intake import Options, Target
from service.apiserver.objects import FOREGROUND, ORPHAN, Objects
from service.apiserver.refusal import Refused
from service.apiserver.resources import CRD_KEY, NAMESPACES_KEY
from service.apiserver.store import Event, Stored

Object = dict[str, Any]
_log = logging.getLogger(__name__)
_OPTIONS_MANAGER = "embedded-controllers"


class Cleanup:
    """Follows deletions one at a time, in the order of the events."""

    def __init__(self, objects: Objects) -> None:
        self._objects, self._store = objects, objects.store
        self._todo: deque[Stored] = deque()
        self._news = asyncio.Event()
        for resource in self._objects.store.resources():
            for row in self._objects.store.select(resource):
                if row.deleting:
                    self._todo.append(row)

    def see(self, event: Event) -> None:
        """Take note of an event that may need work."""
        if event.type == "DELETED" or event.new.deleting:
            self._todo.append(event.new)
            self._news.set()

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            while self._todo:
                row = self._todo.popleft()
                try:
                    await self._follow(row)
                except Refused as refused:
                    _log.warning(
                        "an object could not be cleaned up", extra={"object": f"{row.namespace}/{row.name}", "reason": refused.message}
                    )
            self._news.clear()
            await self._news.wait()

    async def _follow(self, row: Stored) -> None:
        live = self._store.get(row.resource, row.namespace, row.name)
        if live is None or live.uid != row.uid:
            await self._gone(row)
            return
        meta = live.load()["metadata"]
        if not meta.get("deletionTimestamp"):
            return
        finalizers = meta.get("finalizers") or []
        if live.resource == NAMESPACES_KEY:
            await self._empty_namespace(live)
        elif live.resource == CRD_KEY and "customresourcecleanup.apiextensions.k8s.io" in finalizers:
            await self._empty_crd(live)
        elif ORPHAN in finalizers:
            for dependent in self._store.dependents(live.uid):
                await self._change(dependent, lambda obj: _disown(obj, live.uid))
            await self._change(live, lambda obj: _release(obj, ORPHAN))
        elif FOREGROUND in finalizers:
            await self._foreground(live)

    async def _gone(self, row: Stored) -> None:
        """Delete dependents without another owner; look again at what waited for this object."""
        for dependent in self._store.dependents(row.uid):
            if not any(self._exists(uid) for uid in dependent.owners if uid != row.uid):
                await self._delete(dependent)
        namespace = self._store.get(NAMESPACES_KEY, "", row.namespace) if row.namespace else None
        if namespace is not None and namespace.deleting and not self._store.holds(row.namespace):
            await self._follow(namespace)
        for crd in list(self._store.select(CRD_KEY)):
            if crd.deleting and _serves(crd.load(), row.resource):
                await self._follow(crd)
        for owner in row.owners:
            waiting = self._store.by_uid(owner)
            if waiting is not None and waiting.deleting:
                await self._follow(waiting)

    def _exists(self, uid: str) -> bool:
        return self._store.by_uid(uid) is not None

    async def _foreground(self, row: Stored) -> None:
        dependents = self._store.dependents(row.uid)
        for dependent in dependents:
            if not dependent.deleting:
                await self._delete(dependent, "Foreground")
        blocking = [one for one in self._store.dependents(row.uid) if _blocks(one.load(), row.uid)]
        if not blocking:
            await self._change(row, lambda obj: _release(obj, FOREGROUND))

    async def _empty_namespace(self, namespace: Stored) -> None:
        for row in self._store.within(namespace.name):
            if not row.deleting:
                await self._delete(row)
        if not self._store.holds(namespace.name):
            await self._change(namespace, lambda obj: obj["spec"].pop("finalizers", None))

    async def _empty_crd(self, crd: Stored) -> None:
        spec = crd.load()["spec"]
        key = f"{spec['group']}/{spec['names']['plural']}"
        for row in list(self._store.select(key)):
            if not row.deleting:
                await self._delete(row)
        if not self._store.count(key):
            await self._change(crd, lambda obj: _release(obj, "customresourcecleanup.apiextensions.k8s.io"))

    async def _delete(self, row: Stored, policy: str = "Background") -> None:
        resource = self._objects.registry.stored(row.resource)
        if resource is None:
            await self._store.delete(row)
            return
        target = Target(resource=resource, namespace=row.namespace, name=row.name)
        try:
            await self._objects.delete(
                target, Options(manager=_OPTIONS_MANAGER), {"propagationPolicy": policy} if policy == "Foreground" else {}
            )
        except Refused as refused:
            if refused.code != 404:
                raise

    async def _change(self, row: Stored, change: Any) -> None:
        """Change the stored object directly; it goes when its last finalizer does."""
        live = self._store.get(row.resource, row.namespace, row.name)
        if live is None or live.uid != row.uid:
            return
        obj = live.load()
        change(obj)
        held = obj["metadata"].get("finalizers") or (row.resource == NAMESPACES_KEY and obj.get("spec", {}).get("finalizers"))
        if obj["metadata"].get("deletionTimestamp") and not held:
            await self._store.delete(live, obj)
        elif obj != live.load():
            await self._store.put(row.resource, obj)


def _serves(crd: Object, key: str) -> bool:
    return bool(f"{crd['spec']['group']}/{crd['spec']['names']['plural']}" == key)


def _blocks(obj: Object, uid: str) -> bool:
    return any(owner.get("uid") == uid and owner.get("blockOwnerDeletion") for owner in obj["metadata"].get("ownerReferences") or ())


def _release(obj: Object, name: str) -> None:
    left = [finalizer for finalizer in obj["metadata"].get("finalizers") or () if finalizer != name]
    if left:
        obj["metadata"]["finalizers"] = left
    else:
        obj["metadata"].pop("finalizers", None)


def _disown(obj: Object, uid: str) -> None:
    left = [owner for owner in obj["metadata"].get("ownerReferences") or () if owner.get("uid") != uid]
    if left:
        obj["metadata"]["ownerReferences"] = left
    else:
        obj["metadata"].pop("ownerReferences", None)
