"""A tarball that is gone is made again for who asks, with the digest that the status names or not at all."""

import asyncio
from dataclasses import replace
from typing import Any

from service.kinds.meta import ObjectKey
from service.sources.artifact import ArtifactStore
from service.sources.remade import Remade
from service.sources.snapshot import Snapshot


class Place:
    def __init__(self, tmp_path, workers, snapshot: Snapshot) -> None:
        self.store = ArtifactStore(tmp_path / "artifacts", "http://x", workers)
        self.object: dict[str, Any] | None = None
        self.published: dict[ObjectKey, Snapshot] = {snapshot.key: snapshot}
        self.remade = Remade(self.store, self.published, lambda key: self.object)

    async def stored(self, snapshot: Snapshot) -> str:
        made = await self.store.store(snapshot)
        self.object = {"status": {"artifact": {"path": made.path, "digest": made.digest, "revision": made.revision}}}
        return made.path.rpartition("/")[2]


async def test_what_the_status_names_is_made_again(history, tmp_path, workers):
    snapshot = history.commit({"a.yaml": "1"})
    place = Place(tmp_path, workers, snapshot)
    name = await place.stored(snapshot)
    path = f"gitrepository/apps/fleet/{name}"
    before = place.store.file(path).read_bytes()
    for asked in (name, "latest.tar.gz"):
        await place.store.remove(snapshot.key)
        assert await asyncio.gather(*[place.remade.make(snapshot.key, asked)] * 1, place.remade.make(snapshot.key, asked)) == [True, True]
        assert place.store.file(path).read_bytes() == before
        assert place.store.file("gitrepository/apps/fleet/latest.tar.gz").read_bytes() == before


async def test_nothing_else_is(history, tmp_path, workers):
    snapshot = history.commit({"a.yaml": "1"})
    place = Place(tmp_path, workers, snapshot)
    name = await place.stored(snapshot)
    await place.store.remove(snapshot.key)
    assert not await place.remade.make(snapshot.key, f"{'0' * 40}.tar.gz")
    assert not await place.remade.make(replace(snapshot.key, name="other"), name)
    place.published[snapshot.key] = history.commit({"a.yaml": "2"})  # found, not stored yet
    assert not await place.remade.make(snapshot.key, name)
    place.published[snapshot.key] = snapshot
    said, place.object = place.object, None
    assert not await place.remade.make(snapshot.key, name)
    place.object = {"status": {"artifact": {**said["status"]["artifact"], "digest": f"sha256:{'0' * 64}"}}}
    assert not await place.remade.make(snapshot.key, name)
    assert place.store.file(f"gitrepository/apps/fleet/{name}") is None
    place.object = said
    assert await place.remade.make(snapshot.key, name)
