import os
import time

import pygit2
import pytest

from service.sources import packs
from service.sources.openrepo import open_store
from service.sources.tree import GitTree


@pytest.fixture
def many(history):
    """Snapshots whose objects lie in 66 packs."""
    found = []
    for n in range(66):
        blob = history.remote.git("hash-object", "-w", "--stdin", data=b"b: %d" % n)
        (history.remote.work / ".list").write_text(blob)
        history.remote.git("pack-objects", "-q", str(history.remote.bare / "objects" / "pack" / "pack"), data=blob.encode())
        found.append(blob)
    return history.commit({"a.yaml": "a: 1"}), found


def age(store):
    hour_ago = time.time() - 3600
    os.utime(store / "sluice-replaced-packs", (hour_ago, hour_ago))


def test_many_packs_become_one_in_two_steps(many):
    snapshot, blobs = many
    store = snapshot.store_path
    reader = open_store(store)
    assert packs.todo(store) == "pack"
    before = set((store / "objects" / "pack").glob("*.pack"))
    packs.pack(store)
    assert packs.todo(store) is None  # readers may still have the old ones
    assert all(blob in reader for blob in blobs)
    assert open_store(store) is not reader
    age(store)
    assert packs.todo(store) == "drop"
    packs.drop(store)
    assert packs.todo(store) is None
    left = set((store / "objects" / "pack").glob("*.pack"))
    assert len(left) == 1
    assert not before & left
    assert all(blob in open_store(store) for blob in blobs)
    assert GitTree.open(snapshot).read("a.yaml") == b"a: 1"


def test_many_loose_objects_become_one_pack(history):
    snapshot = history.commit({"a.yaml": "a: 1"})
    store = snapshot.store_path
    repo = pygit2.Repository(str(store))
    blobs = [repo.create_blob(b"b: %d" % n) for n in range(2000)]
    assert packs.todo(store) == "pack"
    reader = open_store(store)
    packs.pack(store)
    age(store)
    packs.drop(store)
    assert packs.todo(store) is None
    assert not list((store / "objects").glob("[0-9a-f][0-9a-f]/*"))
    assert all(blob in reader for blob in blobs)
    assert GitTree.open(snapshot).read("a.yaml") == b"a: 1"


def test_a_pack_that_already_holds_everything_stays(many):
    snapshot, blobs = many
    store = snapshot.store_path
    packs.pack(store)
    packs.pack(store)  # killed before the drop, packed again: the same pack
    packs.drop(store)
    assert len(list((store / "objects" / "pack").glob("*.pack"))) == 1
    assert all(blob in open_store(store) for blob in blobs)


def test_few_packs_and_no_store(history, tmp_path):
    snapshot = history.commit({"a.yaml": "1"})
    assert packs.todo(snapshot.store_path) is None
    assert packs.todo(tmp_path / "none") is None


def test_a_store_that_has_grown_keeps_what_its_refs_lead_to(history, monkeypatch):
    monkeypatch.setattr(packs, "SMALL_BYTES", 100_000)
    first = history.commit({"a.bin": os.urandom(150_000).hex(), "keep/b.yaml": "b: 1"})
    snapshot = history.commit({"a.bin": "small"})
    store = snapshot.store_path
    history.remote.git("-C", str(store), "repack", "-adq")
    repo = pygit2.Repository(str(store))
    repo.references.delete("refs/heads/main")
    who = pygit2.Signature("a", "a@example.com")
    lone = repo.create_commit(None, who, who, "x", pygit2.Oid(hex=snapshot.tree), [])
    repo.references.create("refs/sluice/u-1", lone, force=True)
    gone = repo[first.tree].peel(pygit2.Tree)["a.bin"].id
    assert packs.todo(store) == "pack"
    packs.pack(store)
    assert gone in open_store(store)  # readers may still want it
    age(store)
    packs.drop(store)
    assert gone not in pygit2.Repository(str(store))
    assert GitTree.open(snapshot).read("keep/b.yaml") == b"b: 1"
    assert history.remote.git("-C", str(store), "fsck", "--full", "--connectivity-only") == ""
    assert packs.todo(store) is None
