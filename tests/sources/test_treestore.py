"""Archives of foreign hands: what would leave the root, stand for more than it is, or is damaged is refused, in little time and memory."""

import gzip
import io
import tarfile
import time
import tracemalloc
from contextlib import suppress

import pygit2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.sources.chartfiles import BadChart, read_archive
from service.sources.treestore import MOST_HEADER_BYTES, BadArchive, import_tarball, last_import, unpacked

END = bytes(1024)


def entry(name: str = "a", kind: bytes = tarfile.REGTYPE, data: bytes = b"", *, size: int | None = None) -> bytes:
    """One member as it stands in a tar."""
    header = tarfile.TarInfo(name)
    header.type, header.size = kind, len(data) if size is None else size
    return header.tobuf() + data + bytes(-len(data) % 512)


def pax(**records: str) -> bytes:
    """A member with these records before it."""
    header = tarfile.TarInfo("a")
    header.pax_headers = {name.replace("_", "."): value for name, value in records.items()}
    return header.tobuf(tarfile.PAX_FORMAT)


def files(plain: bytes) -> dict[str, bytes]:
    return {each.path: each.content.read() for each in unpacked(io.BytesIO(gzip.compress(plain, 1)))}


def old_sparse(size: int) -> bytes:
    """GNU's old form: one hole of any size."""
    raw = bytearray(entry("hole", tarfile.GNUTYPE_SPARSE))
    raw[257:265] = b"ustar  \0"
    raw[386:410] = b"%011o\0%011o\0" % (size, 0)
    raw[483:495] = b"%011o\0" % size
    raw[148:156] = b" " * 8
    raw[148:156] = b"%06o\0 " % sum(raw[:512])
    return bytes(raw)


def test_plain_files_are_read_and_nothing_else_is():
    link = tarfile.TarInfo("link")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    others = link.tobuf() + entry("dir", tarfile.DIRTYPE) + entry("pipe", tarfile.FIFOTYPE) + entry(".git/config", data=b"x")
    assert files(entry("./b//c", data=b"1") + others + entry("d", data=b"2") + END) == {"b/c": b"1", "d": b"2"}


@pytest.mark.parametrize("name", ["../a", "a/../../b", "/etc/passwd", "a/.."])
def test_paths_that_leave_the_root_are_refused(name):
    with pytest.raises(BadArchive, match="leads out of the archive"):
        files(entry(name, data=b"x") + END)


@pytest.mark.parametrize(
    "member",
    [
        old_sparse(2**33 - 1),
        pax(GNU_sparse_size="99999999999", GNU_sparse_numblocks="0"),
        pax(GNU_sparse_map="99999999999,0", GNU_sparse_size="99999999999"),
        pax(GNU_sparse_major="1", GNU_sparse_minor="0", GNU_sparse_realsize="99999999999") + b"99999999\n0\n" * 40,
    ],
)
def test_files_that_are_mostly_holes_are_refused(member):
    begun = time.monotonic()
    with pytest.raises(BadArchive, match="sparse file"):
        files(member + END)
    with pytest.raises(BadChart, match=r"sparse file|larger than the maximum"):
        read_archive(gzip.compress(member + END))
    assert time.monotonic() - begun < 1


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK])
def test_headers_that_announce_much_are_not_read(kind):
    archive = io.BytesIO(gzip.compress(entry("x", kind, size=2**32) + bytes(16 * 2**20), 1))
    tracemalloc.start()
    try:
        with pytest.raises(BadArchive, match="a header of 4,294,967,296 bytes"):
            list(unpacked(archive))
        assert tracemalloc.get_traced_memory()[1] < 4 * 2**20
    finally:
        tracemalloc.stop()


def test_headers_without_end_are_refused():
    chain = entry("x", tarfile.XGLTYPE, b"11 a=bcdef\n") * 2_000
    with pytest.raises(BadArchive):
        files(chain + END)
    with pytest.raises(BadChart):
        read_archive(gzip.compress(chain + END))
    assert MOST_HEADER_BYTES < 2**20


def test_folders_count_too(monkeypatch):
    monkeypatch.setattr("service.sources.treestore.MOST_MEMBERS", 100)
    files(entry("dir", tarfile.DIRTYPE) * 100 + END)
    with pytest.raises(BadArchive, match="more than 100 entries"):
        files(entry("dir", tarfile.DIRTYPE) * 101 + END)


GOOD = entry("b/c", data=b"1" * 600) + pax(path="long/" * 40) + END


@settings(max_examples=100, deadline=None)
@given(at=st.integers(0, len(GOOD)), put=st.binary(min_size=1, max_size=12))
def test_any_damage_is_refused_or_read(at, put):
    with suppress(BadArchive):
        files(GOOD[:at] + put + GOOD[at + len(put) :])


@pytest.mark.parametrize(
    ("member", "words"),
    [
        (entry("zeros", data=bytes(70 * 2**20)), "unpacks to more than what is accepted"),
        (pax(path="a/" * 400 + "b"), "more than 200 folders"),
    ],
)
def test_a_bomb_is_refused_early_and_the_last_content_stays(tmp_path, member, words):
    store, packed = tmp_path / "store", tmp_path / "packed"
    pygit2.init_repository(str(store), bare=True)
    packed.write_bytes(gzip.compress(entry("a.yaml", data=b"1") + END))
    good = import_tarball(store, "u-1", packed, "sha256:1")
    packed.write_bytes(gzip.compress(member + END, 1))
    begun = time.process_time()
    with pytest.raises(BadArchive, match=words):
        import_tarball(store, "u-1", packed, "sha256:2")
    assert time.process_time() - begun < 2
    assert last_import(store, "u-1") == ("sha256:1", good.tree)


def test_a_link_is_left_out_and_not_followed(tmp_path):
    link, hard = tarfile.TarInfo("link"), tarfile.TarInfo("hard")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc"
    hard.type, hard.linkname = tarfile.LNKTYPE, "../../etc/passwd"
    assert files(link.tobuf() + entry("link/passwd", data=b"ours") + hard.tobuf() + END) == {"link/passwd": b"ours"}
