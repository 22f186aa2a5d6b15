"""Snapshot in, tarball for consumers outside of this process out: what Flux's source-controller would have stored, always the same bytes.

Entries in the order of a sorted walk, no times, no owners, modes 0600, 0700 (executable) and 0750 (directory); symbolic links and what is
left out by .sourceignore and spec.ignore are not in it. Files lie at `<kind>/<namespace>/<name>/<commit>.tar.gz` below the folder, as in
https://github.com/fluxcd/pkg/tree/main/artifact/storage
"""

import asyncio
import gzip
import hashlib
import io
import logging
import os
import secrets
import shutil
import tarfile
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO

from service.kinds.meta import Digest, ObjectKey, Revision
from service.kinds.source import Artifact
from service.sources.snapshot import Snapshot
from service.sources.tree import GitTree, walk
from service.workers import Workers

log = logging.getLogger(__name__)

FILE_MODE, PROGRAM_MODE, FOLDER_MODE = 0o600, 0o700, 0o750
LEVEL = 6
KEPT_FOR = timedelta(seconds=60)
MOST_KEPT = 2
LATEST = "latest.tar.gz"
DRAFTS, PRIVATE = ".drafts", ".private"
LONGEST_ARCHIVING = timedelta(minutes=5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Archived:
    """A written tarball: `digest` as sha256:hex, `size` in bytes, `skipped` names that are not UTF-8."""

    digest: Digest
    size: int
    skipped: int


class _Hashing(io.RawIOBase):
    """Counts and hashes what is written through it."""

    def __init__(self, out: IO[bytes]) -> None:
        self._out = out
        self.hash = hashlib.sha256()
        self.size = 0

    def writable(self) -> bool:
        return True

    def write(self, data: "bytes | memoryview") -> int:  # type: ignore[override]  # the stubs' buffer type is not public
        self.hash.update(data)
        self.size += len(data)
        return self._out.write(data)


def archive(snapshot: Snapshot, target: Path) -> Archived:
    """Write the tarball of a snapshot, replacing `target` at once or not at all. For a worker process. Raises SnapshotGone, OSError."""
    tree = GitTree.open(snapshot)
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        with draft.open("wb") as file:
            out = _Hashing(file)
            with (
                gzip.GzipFile(fileobj=out, mode="wb", compresslevel=LEVEL, mtime=0, filename="") as packed,
                tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar,
            ):
                _fill(tar, tree)
        draft.rename(target)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    return Archived(digest=Digest(f"sha256:{out.hash.hexdigest()}"), size=out.size, skipped=tree.skipped)


def _fill(tar: tarfile.TarFile, tree: GitTree) -> None:
    tar.addfile(_folder("."))
    for path, is_folder in walk(tree):
        if is_folder:
            tar.addfile(_folder(path))
            continue
        entry = tarfile.TarInfo(path)
        entry.size, content = tree.stream(path)
        entry.mode = PROGRAM_MODE if tree.executable(path) else FILE_MODE
        with content:
            tar.addfile(entry, content)


def _folder(path: str) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(path)
    entry.type = tarfile.DIRTYPE
    entry.mode = FOLDER_MODE
    return entry


class ArtifactStore:
    """The tarballs below one folder. `base_url` is where the folder is served, without a trailing slash."""

    def __init__(self, folder: Path, base_url: str, workers: Workers) -> None:
        self._folder = folder
        self._base_url = base_url.rstrip("/")
        self._workers = workers
        self._checked: dict[Path, tuple[object, ...]] = {}
        shutil.rmtree(folder / DRAFTS, ignore_errors=True)  # of a process that was killed

    async def store(self, snapshot: Snapshot) -> Artifact:
        """Write the tarball of a snapshot in a worker and return what status.artifact says of it.

        Raises SnapshotGone, OSError (disk full, folder not writable), TimeoutError after five minutes, ChildProcessError.
        """
        path = f"{folder_of(snapshot.key)}/{snapshot.commit}.tar.gz"
        done = await self._workers.run(archive, snapshot, self._folder / path, timeout=LONGEST_ARCHIVING)
        if done.skipped:
            log.warning(
                "names that are not UTF-8 left out",
                extra={"object": str(snapshot.key), "revision": snapshot.revision, "entries": done.skipped},
            )
        return Artifact(
            path=path,
            url=self.url(path),
            revision=snapshot.revision,
            digest=done.digest,
            last_update_time=datetime.now(UTC).replace(microsecond=0),
            size=done.size,
        )

    async def keep(self, key: ObjectKey, name: str, file: Path) -> None:
        """Move a finished file among the object's artifacts. Raises OSError."""
        await asyncio.to_thread(_moved, file, self._folder / folder_of(key) / name)

    async def kept(self, snapshot: Snapshot) -> Artifact:
        """What status.artifact says of a file that `keep` has put there for the snapshot. Raises OSError."""
        path = f"{folder_of(snapshot.key)}/{snapshot.commit}.tar.gz"
        file = self._folder / path
        return Artifact(
            path=path,
            url=self.url(path),
            revision=snapshot.revision,
            digest=Digest(await asyncio.to_thread(_digest, file)),
            last_update_time=datetime.now(UTC).replace(microsecond=0),
            size=file.stat().st_size,
        )

    async def place(self, key: ObjectKey, name: str, file: Path, *, revision: Revision, link: str) -> Artifact:
        """Move a finished file among the object's artifacts, as the newest, which `link` leads to. Raises OSError."""
        path = f"{folder_of(key)}/{name}"
        digest = Digest(await asyncio.to_thread(_digest, file))
        await asyncio.to_thread(_moved, file, self._folder / path)
        await asyncio.to_thread(_linked, self._folder / path, link)
        return Artifact(
            path=path,
            url=self.url(path),
            revision=revision,
            digest=digest,
            last_update_time=datetime.now(UTC).replace(microsecond=0),
            size=(self._folder / path).stat().st_size,
        )

    def lead(self, path: str) -> str:
        """Let `latest.tar.gz` beside a stored file lead to it, if it can; returns its address."""
        file = self._folder / path
        with suppress(OSError):
            if not file.with_name(LATEST).is_symlink() or file.with_name(LATEST).readlink().name != file.name:
                _linked(file, LATEST)
        return self.url(f"{path.rpartition('/')[0]}/{LATEST}")

    @contextmanager
    def drafts(self) -> Iterator[Path]:
        """A folder for files that are not finished, gone afterwards. Raises OSError."""
        (self._folder / DRAFTS).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self._folder / DRAFTS, ignore_cleanup_errors=True) as folder:
            yield Path(folder)

    def private(self, key: ObjectKey, name: str) -> Path:
        """Where a file lies that belongs to an object's artifacts and is served to nobody. Raises OSError."""
        folder = self._folder / PRIVATE / folder_of(key)
        folder.mkdir(parents=True, exist_ok=True)
        return folder / name

    def url(self, path: str) -> str:
        """The address of a stored file."""
        return f"{self._base_url}/{path}"

    def file(self, path: str) -> Path | None:
        """The stored file at a path of status.artifact or of a request; None where there is none. Never leaves the folder."""
        found = (self._folder / path).resolve()
        return found if found.is_relative_to(self._folder.resolve()) and found.is_file() else None

    async def intact(self, artifact: Artifact) -> bool:
        """Whether the stored file is there with its digest; one that is not what it should be is removed.

        Hashes outside the loop, and not again while nothing has touched the file.
        """
        found = self.file(artifact.path)
        if found is None:
            return False
        stat = found.stat()
        seen = (artifact.digest, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
        if self._checked.get(found) == seen:
            return True
        actual = await asyncio.to_thread(_digest, found)
        if actual == artifact.digest:
            for older in [path for path in self._checked if path.parent == found.parent]:
                del self._checked[older]
            self._checked[found] = seen
            return True
        log.warning("artifact damaged, removed", extra={"path": artifact.path, "expected": artifact.digest, "found": actual})
        found.unlink(missing_ok=True)
        return False

    async def collect(self, key: ObjectKey, current: str) -> int:
        """Remove files of an object that are older than a minute or beyond the newest two, never `current` (a path). Returns how many."""
        return await asyncio.to_thread(_collect, self._folder / folder_of(key), self._folder / current)

    async def remove(self, key: ObjectKey) -> None:
        """Remove all files of an object."""
        folder = self._folder / folder_of(key)
        for each in (folder, self._folder / PRIVATE / folder_of(key)):
            await asyncio.to_thread(shutil.rmtree, each, ignore_errors=True)
        for path in [path for path in self._checked if path.is_relative_to(folder.resolve())]:
            del self._checked[path]


def folder_of(key: ObjectKey) -> str:
    """The folder of an object's files: `gitrepository/flux-system/fleet`."""
    return f"{key.kind.lower()}/{key.namespace}/{key.name}"


def _moved(file: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(file, target)


def _linked(file: Path, link: str) -> None:
    draft = file.with_name(f".{link}.{secrets.token_hex(4)}")
    draft.symlink_to(file.name)
    draft.replace(file.with_name(link))


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


def _collect(folder: Path, current: Path) -> int:
    if not folder.is_dir():
        return 0
    now, removed, kept = time.time(), 0, 1
    others = [
        (entry.stat().st_mtime, Path(entry.path)) for entry in os.scandir(folder) if Path(entry.path) != current and not entry.is_symlink()
    ]
    for modified, path in sorted(others, reverse=True):
        if now - modified > KEPT_FOR.total_seconds() or kept >= MOST_KEPT:
            path.unlink(missing_ok=True)
            removed += 1
        else:
            kept += 1
    return removed
