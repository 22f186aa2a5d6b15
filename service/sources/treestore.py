"""Files of any origin -> one Git tree in a store, so that builds, comparisons and tarballs work on it as on a repository's.

Equal files have equal ids: a new artifact in which one app of a thousand has changed concerns that app alone. A commit without parents
holds the tree under the object's private ref; its message is the revision. In: a tar.gz on disk, for a worker process. What Flux's artifact
would not hold is not there: symbolic links, devices, names that are not UTF-8. https://git-scm.com/book/en/v2/Git-Internals-Git-Objects
"""

import gzip
import io
import json
import tarfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import pygit2
from pygit2.enums import FileMode

from service.sources.depth import PRIVATE
from service.sources.layout import Layout
from service.sources.openrepo import SnapshotGone, open_store, repository

MOST_FILES = 100_000
MOST_BYTES = 2 * 2**30
USUAL_BYTES, MOST_RATIO = 64 * 2**20, 200
"""What unpacks to more than the first must not be so many times its packed size: it is a bomb."""
MOST_DEPTH = 200
_OBJECTS = "sluice-objects"
MOST_HEADER_BYTES = 2**18
MOST_MEMBERS = 2 * MOST_FILES
"""Folders and links among them: tarfile keeps each."""
_LONG = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)
_SPARSE = "it holds a sparse file, which is not accepted; pack it without --sparse"
NOBODY = pygit2.Signature("sluice", "sluice@localhost", 0, 0)


class BadArchive(Exception):
    """The archive cannot be used; the message says what is wrong with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """One regular file: `path` is POSIX and relative, without `.` and `..`."""

    path: str
    content: IO[bytes]
    executable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """Where the files are now."""

    commit: str
    tree: str


class Header(tarfile.TarInfo):
    """A header of a tar, within bounds: tarfile reads what some of them announce into memory, and sparse files stand for any size."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> "Header":
        found = super().frombuf(buf, encoding, errors)
        if found.type in _LONG and found.size > MOST_HEADER_BYTES:
            raise BadArchive(f"a header of {found.size:,} bytes is larger than what is accepted")
        if found.type == tarfile.GNUTYPE_SPARSE:
            raise BadArchive(_SPARSE)
        return found

    def _proc_gnusparse_10(self, *_: object) -> None:  # called by tarfile for a map of any length; the other forms are in the headers
        raise BadArchive(_SPARSE)


@contextmanager
def telling_damage() -> Iterator[None]:
    """A full disk is an OSError; all else that libgit2 cannot do is a store that is damaged."""
    try:
        yield
    except pygit2.GitError as error:
        raise SnapshotGone(str(error)) from error


def import_tarball(store: Path, uid: str, archive: Path, revision: str) -> Imported:
    """Put the files of a tar.gz into the store, all or nothing visible. Raises BadArchive, OSError, SnapshotGone (the store is damaged)."""
    with archive.open("rb") as packed:
        return import_files(store, uid, unpacked(packed), revision)


def unpacked(packed: IO[bytes]) -> Iterator[File]:
    """Yield the files of a tar.gz; the content of one can be read until the next. Raises BadArchive, OSError."""
    most = min(MOST_BYTES, max(USUAL_BYTES, packed.seek(0, io.SEEK_END) * MOST_RATIO))
    packed.seek(0)
    try:
        with gzip.open(packed, "rb") as plain, tarfile.open(fileobj=_Limited(plain, most), mode="r|", tarinfo=Header) as tar:
            yield from _members(tar)
    except (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError, UnicodeError, RecursionError) as error:
        raise BadArchive(f"not a tar.gz archive, or a damaged one: {error}") from error


@telling_damage()
def import_files(store: Path, uid: str, files: Iterable[File], revision: str) -> Imported:
    """Put files into the store; a later file of the same path replaces the earlier. Raises as `import_tarball`."""
    repo = repository(store)
    layout = Layout(repo)
    for count, file in enumerate(files):
        if count >= MOST_FILES:
            raise BadArchive(f"more than {MOST_FILES:,} files")
        put(layout, file.path, file)
    return commit(layout, uid, revision)


def put(layout: Layout, path: str, file: File) -> None:
    """Write a file's content into the store and place it."""
    blob = layout.repo.create_blob_fromiobase(file.content)  # type: ignore[arg-type]  # any object with read() will do
    layout.place(path, (blob, FileMode.BLOB_EXECUTABLE if file.executable else FileMode.BLOB))


def commit(layout: Layout, uid: str, revision: str) -> Imported:
    """Write a tree and hold it under the object's private ref."""
    tree = layout.write()
    made = layout.repo.create_commit(None, NOBODY, NOBODY, revision, tree, [])
    layout.repo.references.create(PRIVATE + uid, made, force=True)
    return Imported(commit=str(made), tree=str(tree))


@telling_damage()
def import_objects(store: Path, uid: str, parts: Mapping[str, tuple[str, str, str]], revision: str) -> Imported:
    """Put the content of a bucket into the store. `parts` by key: the ETag, the new content's file or "", the blob that is known else.

    What came from where is kept beside the tree, for `last_objects`. Raises as `import_tarball`.
    """
    repo = repository(store)
    layout = Layout(repo)
    objects: dict[str, tuple[str, str]] = {}
    for key, (etag, file, blob) in parts.items():
        oid = pygit2.Oid(hex=blob) if not file else repo.create_blob_fromdisk(file)
        objects[key] = (etag, str(oid))
        layout.place(key, (oid, FileMode.BLOB))
    made = commit(layout, uid, revision)
    note = store / f"{_OBJECTS}.{uid}"
    draft = note.with_suffix(".draft")
    draft.write_text(json.dumps(objects))
    draft.replace(note)
    return made


def last_objects(store: Path, uid: str) -> dict[str, tuple[str, str]]:
    """Return ETag and blob by key of the last `import_objects`, {} where that is not known: then all is fetched anew."""
    try:
        found = json.loads((store / f"{_OBJECTS}.{uid}").read_text())
        return {key: (etag, blob) for key, (etag, blob) in found.items() if pygit2.Oid(hex=blob) in open_store(store)}
    except (OSError, ValueError, TypeError, AttributeError, SnapshotGone, pygit2.GitError):
        return {}


def last_import(store: Path, uid: str) -> tuple[str, str]:
    """Return the revision and the tree of the object's last import. Raises SnapshotGone."""
    repo = open_store(store)
    try:
        commit = repo.references[PRIVATE + uid].peel(pygit2.Commit)
        return commit.message, str(commit.tree_id)
    except (KeyError, ValueError, pygit2.GitError) as error:
        raise SnapshotGone("what was stored last is not in the store") from error


def _members(tar: tarfile.TarFile) -> Iterator[File]:
    for count, member in enumerate(tar):
        if count >= MOST_MEMBERS:
            raise BadArchive(f"more than {MOST_MEMBERS:,} entries")
        if not member.isreg():
            continue
        if member.issparse():
            raise BadArchive(_SPARSE)
        path = clean_path(member.name)
        content = tar.extractfile(member)
        if path is not None and content is not None:
            yield File(path=path, content=content, executable=bool(member.mode & 0o100))


def clean_path(name: str) -> str | None:
    """Return a path without `.` and empty parts, None where Git cannot hold it. Raises BadArchive where it leads out, or is too deep."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/") or ".." in parts or "\0" in name:
        raise BadArchive(f"the path {name[:200]!r} leads out of the archive")
    if len(parts) > MOST_DEPTH:
        raise BadArchive(f"the path {name[:200]!r} has more than {MOST_DEPTH} folders")
    if not parts or any(part.lower() == ".git" for part in parts):
        return None
    try:
        name.encode()
    except UnicodeEncodeError:
        return None
    return "/".join(parts)


class _Limited(io.RawIOBase):
    """Reads through, and no further than `most` bytes: what unpacks to more is refused. Raises BadArchive."""

    def __init__(self, inner: io.BufferedIOBase, most: int) -> None:
        self._inner = inner
        self._left = most

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        found = self._inner.read(size if size >= 0 else 2**16)
        self._left -= len(found)
        if self._left < 0:
            raise BadArchive("it unpacks to more than what is accepted")
        return found
