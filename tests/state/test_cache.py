"""The cache of builds: replaced, moved, dropped, and begun anew when its file is gone."""

from pathlib import Path

from service.state.cache import Cache, StoredBuild
from service.state.store import Store


async def test_put_build_replaces_and_drop_forgets(store: Store) -> None:
    cache = Cache(store)
    assert await cache.get_build("u") is None
    await cache.put_build("u", "f1", {"file a": "1"}, {"x": "d"})
    await cache.put_build("u", "f2", {"file b": "2"}, {})
    assert await cache.get_build("u") == StoredBuild(fingerprint="f2", reads={"file b": "2"}, digests={})
    await cache.move_build("u", "f3")
    await cache.move_build("v", "f3")
    assert await cache.get_build("u") == StoredBuild(fingerprint="f3", reads={"file b": "2"}, digests={})
    await cache.drop("u")
    assert [await cache.get_build(uid) for uid in "uv"] == [None, None]


async def test_cache_file_may_be_deleted_or_damaged(tmp_path: Path) -> None:
    for change in (Path.unlink, lambda path: path.write_bytes(b"x" * 5000)):
        store = Store.open(tmp_path)
        await Cache(store).put_build("u", "f", {}, {})
        await store.close()
        change(tmp_path / "cache.db")
        store = Store.open(tmp_path)
        assert await Cache(store).get_build("u") is None
        await store.close()
