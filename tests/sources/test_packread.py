import hashlib
import random
import subprocess
import time
import zlib
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.sources.packread import BLOB, OFS_DELTA, REF_DELTA, BadPack, Bounds, Object, TooBig, patched, read


def nothing(_id: bytes, _most: int) -> Object | None:
    return None


def size_of(number: int) -> bytes:
    found = b""
    while number > 127:
        found, number = found + bytes([number & 127 | 128]), number >> 7
    return found + bytes([number])


def entry(kind: int, data: bytes, *, base: bytes = b"", says: int | None = None) -> bytes:
    size = len(data) if says is None else says
    head = kind << 4 | size & 15
    rest = size >> 4
    return (bytes([head | 128]) + size_of(rest) if rest else bytes([head])) + base + zlib.compress(data)


def pack_of(entries: Sequence[bytes], count: int | None = None) -> bytes:
    body = b"PACK\0\0\0\2" + (len(entries) if count is None else count).to_bytes(4, "big") + b"".join(entries)
    return body + hashlib.sha1(body).digest()


def inserting(base: bytes, new: bytes) -> bytes:
    """A delta that copies the base whole and puts `new` (up to 127 bytes) behind it."""
    copy = b"\x90" + bytes([len(base)]) if base else b""
    return size_of(len(base)) + size_of(len(base) + len(new)) + copy + (bytes([len(new)]) + new if new else b"")


def test_deltas_by_offset_and_by_id_also_of_what_comes_later_or_is_in_the_store():
    one, two, three = Object(BLOB, b"one"), Object(BLOB, b"one, two"), Object(BLOB, b"here")
    whole = entry(BLOB, one.data)
    pack = pack_of(
        [
            entry(REF_DELTA, inserting(two.data, b", three"), base=two.id),
            whole,
            entry(OFS_DELTA, inserting(one.data, b", two"), base=bytes([len(whole)])),
            entry(REF_DELTA, inserting(three.data, b"!"), base=three.id),
        ]
    )
    found = read(pack, lambda id_, _: three if id_ == three.id else None)
    assert {each.data for each in found.values()} == {b"one", b"one, two", b"one, two, three", b"here!"}
    assert all(each.id == id_ for id_, each in found.items())


def test_real_packs_are_read_as_git_reads_them(history):
    work = history.remote
    pick = random.Random(3)
    history.commit({f"a/{n}.yaml": "".join(f"line {pick.random()}\n" for _ in range(50)) for n in range(20)})
    text = (work.work / "a" / "3.yaml").read_text()
    history.commit({"a/3.yaml": text + "more\n", "b/4.yaml": text[200:] + text[:200], "c.bin": "x" * 300_000})
    for options in (["--delta-base-offset"], [], ["--window=0"]):
        packed = subprocess.run(
            ["git", "pack-objects", "-q", "--all", "--stdout", "--depth=50", *options], cwd=work.work, check=True, capture_output=True
        ).stdout
        found = read(packed, nothing)
        ids = set(work.git("rev-list", "--objects", "--all", "--no-object-names").split())
        assert {id_.hex() for id_ in found} == ids
        for id_, each in found.items():
            kind = work.git("cat-file", "-t", id_.hex())
            raw = subprocess.run(["git", "cat-file", kind, id_.hex()], cwd=work.work, check=True, capture_output=True).stdout
            assert each.data == raw


GOOD = pack_of([entry(BLOB, b"content")])


@pytest.mark.parametrize(
    "pack",
    [
        b"",
        GOOD[:-1],
        b"KCAP" + GOOD[4:],
        GOOD[:-1] + bytes([GOOD[-1] ^ 1]),
        pack_of([entry(BLOB, b"content")], count=2),
        pack_of([entry(BLOB, b"a"), entry(BLOB, b"b")], count=1),
        pack_of([entry(BLOB, b"content", says=6)]),
        pack_of([entry(BLOB, b"content", says=8)]),
        pack_of([entry(5, b"content")]),
        pack_of([entry(0, b"content")]),
        pack_of([b"\x37garbage"]),
        pack_of([b"\xb0" + b"\xff" * 12]),
        pack_of([entry(OFS_DELTA, inserting(b"a", b"b"), base=b"\x05")]),
        pack_of([entry(OFS_DELTA, inserting(b"a", b"b"), base=b"\x00")]),
        pack_of([entry(OFS_DELTA, b"", base=b"\xff\xff\xff\xff\xff\xff\xff")]),
        pack_of([entry(REF_DELTA, inserting(b"a", b"b"), base=b"\1" * 20)]),
        pack_of([entry(BLOB, b"ab"), entry(OFS_DELTA, inserting(b"a", b"b"), base=bytes([len(entry(BLOB, b"ab"))]))]),
    ],
)
def test_a_bad_pack_is_refused(pack):
    with pytest.raises(BadPack):
        read(pack, nothing)


@pytest.mark.parametrize(
    "delta", [b"", b"\1", b"\1\1", b"\1\2\1a", b"\1\1\0", b"\1\1\2a", b"\1\1\x91\1\1", b"\1\1\x91", b"\1\5\x90\5", b"\x80" * 9]
)
def test_a_bad_delta_is_refused(delta):
    with pytest.raises(BadPack):
        patched(b"a", delta, 100)


def test_copies_of_all_forms():
    base = bytes(range(256)) * 300
    delta = size_of(len(base)) + size_of(0x10000 + 3 + 0x102) + b"\x80" + b"\x91\x05\x03" + b"\xb2\x01\x02\x01"
    assert patched(base, delta, 10**6) == base[:0x10000] + base[5:8] + base[0x100 : 0x100 + 0x102]


def test_bombs_end_at_the_bounds():
    zeros = entry(BLOB, bytes(50 * 2**20))
    begun = time.process_time()
    with pytest.raises(TooBig):
        read(pack_of([zeros]), nothing)
    with pytest.raises(BadPack):
        read(pack_of([entry(BLOB, bytes(50 * 2**20), says=10)]), nothing)
    with pytest.raises(TooBig):
        read(pack_of([entry(BLOB, b"a")] * 201), nothing)
    with pytest.raises(TooBig):
        read(bytes(600_000), nothing)
    large = Object(BLOB, bytes(2**20))
    grown = [entry(REF_DELTA, size_of(2**20) + size_of(2**20) + b"\xf0" + b"\0\0\x10", base=large.id)]
    with pytest.raises(TooBig):
        read(pack_of(grown * 100), lambda _id, _most: large, Bounds(object_bytes=8 * 2**20))
    assert time.process_time() - begun < 1.5  # most of it is making the bombs


entries_ = st.lists(
    st.one_of(
        st.builds(entry, st.integers(0, 7), st.binary(max_size=40), base=st.binary(max_size=20)),
        st.builds(lambda new: entry(REF_DELTA, inserting(b"one", new), base=Object(BLOB, b"one").id), st.binary(max_size=10)),
        st.just(entry(BLOB, b"one")),
        st.binary(max_size=30),
    ),
    max_size=6,
)


@given(entries_, st.integers(0, 8))
def test_any_pack_is_read_or_refused(entries, count):
    try:
        found = read(pack_of(entries, count), nothing)
    except (BadPack, TooBig):
        return
    assert all(each.id == id_ for id_, each in found.items())


@given(st.binary(max_size=80), st.binary(max_size=60))
def test_any_delta_is_carried_out_or_refused(base, delta):
    try:
        made = patched(base, size_of(len(base)) + delta, 1000)
    except (BadPack, TooBig):
        return
    assert len(made) <= 1000
