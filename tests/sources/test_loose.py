"""A large file of a store as a stream."""

import random
import zlib
from pathlib import Path

import pygit2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.sources import loose

BIG = random.Random(1).randbytes(3 * 2**20) + b"\0" * 2**20


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return pygit2.init_repository(tmp_path_factory.mktemp("store"), bare=True)


@given(st.lists(st.integers(0, 2**21), min_size=1, max_size=5))
@settings(max_examples=6, deadline=None)
def test_reads_in_any_pieces(store, sizes):
    size, content = loose.opened(Path(store.path), str(store.create_blob(BIG)))
    assert size == len(BIG)
    with content:
        pieces = [content.read(piece) for piece in sizes]
        assert [len(each) for each in pieces] == [min(piece, max(0, size - sum(sizes[:at]))) for at, piece in enumerate(sizes)]
        assert b"".join(pieces) + content.read() == BIG


def test_what_is_small_packed_or_damaged(store, tmp_path):
    folder = Path(store.path)
    assert loose.opened(folder, str(store.create_blob(b"small"))) is None
    assert loose.opened(folder, "0" * 40) is None
    for content in (b"tree 4\0" + BIG, b"no head" + BIG, b"blob x\0" + BIG):
        (folder / "objects/ff").mkdir(exist_ok=True)
        (folder / "objects/ff" / ("f" * 38)).write_bytes(zlib.compress(content))
        with pytest.raises(OSError, match="damaged"):
            loose.opened(folder, "f" * 40)


@pytest.mark.parametrize("damage", ["junk", "end", "bit"])
def test_damage_further_on(store, damage):
    oid = str(store.create_blob(BIG[::-1]))
    path = Path(store.path, "objects", oid[:2], oid[2:])
    whole = path.read_bytes()
    body = zlib.decompress(whole)
    middle = len(whole) // 2
    path.chmod(0o644)
    changed = {"junk": whole[:middle] + b"junk" + whole[middle + 4 :], "end": whole[:middle], "bit": zlib.compress(body[:-1] + b"!")}
    path.write_bytes(changed[damage])
    _, stream = loose.opened(Path(store.path), oid)
    with stream, pytest.raises(OSError, match=f"the object {oid} of the store is damaged"):
        stream.read()
    path.unlink()
