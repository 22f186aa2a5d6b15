"""GitRepositories that are more than their commit, by spec.recurseSubmodules and spec.include: a fetched commit in, the whole tree out.

The whole is a tree in a store of the object's own, which borrows the parts from the stores that they were fetched into and keeps those
stores from being removed. A part that has not moved costs nothing: no fetch of a submodule, no walk of what is included.
"""

import asyncio
from dataclasses import replace
from datetime import timedelta

from service.kinds import meta
from service.kinds.source import GitRepository
from service.sources.composing import BadInclude, Composed, Inclusion, Recipe, compose, last_composed
from service.sources.credentials import Credentials
from service.sources.depth import PART
from service.sources.failure import EndedEarly, Failure
from service.sources.fetcherror import Stopped
from service.sources.gitref import Wanted
from service.sources.includes import Included
from service.sources.openrepo import SnapshotGone, borrowed, open_store
from service.sources.reconciler import Needs
from service.sources.submodules import Above, Submodule, Submodules
from service.sources.transfer import Fetched, described

WALK_LIMIT = timedelta(minutes=1)
_WHOLE = "whole"


class Compositions:
    """Those of all objects; knows the last one of each."""

    def __init__(self, needs: Needs) -> None:
        self._needs = needs
        self._last: dict[str, tuple[Recipe, Composed]] = {}
        self._parts: dict[str, set[str]] = {}

    async def whole(
        self, found: GitRepository, fetched: Fetched, credentials: Credentials, included: tuple[Included, ...], only: tuple[str, ...]
    ) -> Fetched:
        """Return the same commit with the whole tree. Raises FetchError, EndedEarly, SnapshotGone, OSError."""
        if not is_composed(found):
            self._last.pop(found.metadata.uid, None)
            return fetched
        modules = await self._submodules(found, fetched, credentials, only) if found.spec.recurse_submodules else ()
        uid, gitstore = found.metadata.uid, self._needs.gitstore
        parts = {uid + PART + _WHOLE, *(uid + PART + each.name for each in modules)}
        lent = [store for each in included for store in (each.snapshot.store_path, *borrowed(each.snapshot.store_path))]
        for store in lent:
            parts.add(part := uid + PART + store.name)
            await gitstore.hold(part, store)
        store = await gitstore.prepared(uid + PART + _WHOLE)
        recipe = Recipe(
            store=store,
            uid=uid + PART + _WHOLE,
            stores=(fetched.store, *(each.store for each in modules), *lent),
            commit=fetched.commit,
            tree=fetched.tree,
            modules=tuple((each.path, each.tree) for each in modules),
            includes=tuple(_inclusion(each) for each in included),
            only=only,
        )
        composed = await self._composed(uid, recipe)
        before = self._parts.get(uid)
        if before is not None and before != parts:
            await gitstore.release(uid, parts | before)  # consumers may still compare with the one before
        self._parts[uid] = parts
        return replace(fetched, store=store, tree=composed.tree)

    async def _submodules(
        self, found: GitRepository, fetched: Fetched, credentials: Credentials, only: tuple[str, ...]
    ) -> tuple[Submodule, ...]:
        async def fetch(name: str, url: str, credentials: Credentials, wanted: Wanted) -> Fetched:
            part, timeout = found.metadata.uid + PART + name, found.spec.timeout
            return await self._needs.gitstore.fetch(uid=part, url=url, credentials=credentials, wanted=wanted, timeout=timeout)

        try:
            async with asyncio.timeout(found.spec.timeout.total_seconds()):
                submodules = Submodules(found.spec.url, credentials, only, fetch)
                return await submodules.below(Above(store=fetched.store, tree=fetched.tree, url=found.spec.url))
        except TimeoutError:
            raise Stopped(f"submodules: not finished within {found.spec.timeout.total_seconds():g} s; is spec.timeout too short?") from None

    async def _composed(self, uid: str, recipe: Recipe) -> Composed:
        known, last = self._last.get(uid, (None, None))
        if last is not None and known == recipe and recipe.store.is_dir():
            return last
        includes = recipe.includes
        if last is not None and len(last.includes) == len(includes):
            includes = tuple(replace(each, before=before) for each, before in zip(includes, last.includes, strict=True))
        try:
            composed = await self._needs.workers.run(compose, replace(recipe, includes=includes), timeout=WALK_LIMIT)
        except BadInclude as error:
            raise EndedEarly(Failure(condition=meta.STORAGE_FAILED, reason=meta.COPY_FAILURE, message=str(error))) from error
        except SnapshotGone:
            for store in {recipe.store, *recipe.stores}:
                await self._needs.gitstore.discard(store)
            raise
        self._last[uid] = (recipe, composed)
        return composed

    def last(self, uid: str) -> Fetched:
        """What was put together last, also by an earlier process. Raises SnapshotGone. Blocking."""
        store = self._needs.gitstore.located(uid + PART + _WHOLE)
        if store is None:
            raise SnapshotGone("nothing has been put together yet")
        commit, tree = last_composed(store, uid + PART + _WHOLE)
        try:
            _, subject, author = described(open_store(store), commit)
        except (KeyError, ValueError) as error:
            raise SnapshotGone(f"commit {commit} is not in the store") from error
        return Fetched(store=store, commit=commit, before=commit, tree=tree, subject=subject, author=author)

    def forget(self, uid: str) -> None:
        """The object is gone."""
        self._last.pop(uid, None)
        self._parts.pop(uid, None)


def is_composed(found: GitRepository) -> bool:
    """Whether the object is more than its commit."""
    return bool(found.spec.include) or found.spec.recurse_submodules


def _inclusion(each: Included) -> Inclusion:
    return Inclusion(name=each.spec.repository, snapshot=each.snapshot, from_path=each.spec.from_path, to_path=each.spec.to_path)
