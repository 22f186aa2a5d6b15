"""The copies of an ArtifactGenerator: parts of sources in, one tree in a store out, as `cp` would do it. For worker processes.

Behaviour and messages are those of https://github.com/fluxcd/source-watcher/tree/main/internal/builder, its surprises too: `dir/**` takes
what is in a directory with all below, other patterns keep the whole path of what they match, and `**/` is one directory but with Extract.
"""

import io
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pygit2
from pygit2.enums import FileMode

from service.kinds.generator import CopyOperation
from service.sources.globs import BadPattern, clean, doublestar, found_in, is_pattern, literal_root
from service.sources.layout import Layout
from service.sources.plainyaml import BadYaml, merged, read_yaml, write_yaml
from service.sources.transplant import Transplant
from service.sources.tree import walk
from service.sources.treestore import BadArchive, put, unpacked

TARBALLS = (".tar.gz", ".tgz")
_DOCUMENTS = re.compile(rb"^---[ \t\r]*$", re.MULTILINE)


class CopyFailed(Exception):
    """A copy cannot be carried out; the message says which and why."""


def copied(sources: Mapping[str, Transplant], operations: tuple[CopyOperation, ...], repo: pygit2.Repository) -> pygit2.Oid:
    """Carry out the copies in their order and return the tree. Raises CopyFailed, SnapshotGone."""
    layout = Layout(repo)
    for each in operations:
        try:
            _Copy(sources, each, layout).run()
        except (BadArchive, BadPattern, BadYaml, CopyFailed) as error:
            raise CopyFailed(f"failed to apply copy operation from '{each.source}' to '{each.to}': {error}") from error
    return layout.write()


def root_of(operation: CopyOperation) -> tuple[str, str]:
    """The alias, and the path that all that is read lies at or below. Raises BadPattern."""
    alias, _, pattern = operation.source.removeprefix("@").partition("/")
    return alias, literal_root(pattern)


class _Copy:
    """One operation."""

    def __init__(self, sources: Mapping[str, Transplant], operation: CopyOperation, layout: Layout) -> None:
        alias, _, self._pattern = operation.source.removeprefix("@").partition("/")
        if alias not in sources:
            raise CopyFailed(f"source alias '{alias}' not found")
        self._alias, self._operation, self._layout = alias, operation, layout
        self._source, self._tree = sources[alias], sources[alias].tree
        self._to = clean(operation.to.removeprefix("@artifact/"))
        self._excluded = [(doublestar(each), "/" in each) for each in operation.exclude]

    def run(self) -> None:
        if is_pattern(self._pattern):
            self._many()
        else:
            self._one(clean(self._pattern))

    def _one(self, path: str) -> None:
        kind, extract = self._tree.kind(path), self._operation.strategy == "Extract"
        if kind is None:
            if not self._operation.optional:
                raise CopyFailed(f"source '{path}' does not exist")
        elif kind == "dir":
            if extract:
                raise CopyFailed(f"extract strategy is not supported for directories, got '{path}'")
            self._folder(path, _joined(self._to, path.rpartition("/")[2]), path)
        elif self._leaves_out(path, ""):
            return
        elif extract:
            if not path.lower().endswith(TARBALLS):
                raise CopyFailed(f"extract strategy requires tarball file (.tar.gz or .tgz), got '{path}'")
            self._extract(path)
        else:
            inside = self._operation.to.endswith("/") or self._layout.is_folder(self._to)
            self._file(path, _joined(self._to, path.rpartition("/")[2]) if inside else self._to)

    def _many(self) -> None:
        extract, base = self._operation.strategy == "Extract", literal_root(self._pattern)
        matches = sorted(self._anywhere() if extract else found_in(self._tree, self._pattern))
        kept = [path for path in matches if not self._leaves_out(path, base)]
        if not kept:
            if self._operation.optional:
                return
            if matches:
                raise CopyFailed(f"all files matching pattern '{self._pattern}' in source '{self._alias}' were excluded")
            raise CopyFailed(f"no files match pattern '{self._pattern}' in source '{self._alias}'")
        for path in kept:
            kind = self._tree.kind(path)
            if extract:
                if kind == "file" and path.lower().endswith(TARBALLS):
                    self._extract(path)
                continue
            target = _joined(self._to, self._below(path))
            if kind == "dir":
                self._folder(path, target, base)
            else:
                self._file(path, target)

    def _anywhere(self) -> Iterator[str]:
        """What matches with `**` for any number of directories."""
        wanted, base = doublestar(clean(self._pattern)), literal_root(self._pattern)
        if self._tree.kind(base) == "dir":
            yield from (path for path, _ in walk(self._tree, base) if wanted.fullmatch(path))

    def _below(self, path: str) -> str:
        """Where a match lies below the target: without the directories of `dir/**`, else with all of its path."""
        prefix = self._pattern.removesuffix("/**")
        return path.removeprefix(f"{prefix}/") if prefix != self._pattern else path

    def _folder(self, path: str, target: str, base: str) -> None:
        if self._excluded or self._operation.strategy == "Merge":
            for inner, kind in self._tree.list(path):
                child = _joined(path, inner)
                if self._leaves_out(child, base):
                    continue
                if kind == "dir":
                    self._folder(child, _joined(target, inner), base)
                else:
                    self._file(child, _joined(target, inner))
            return
        entry = self._source.folder(path)
        if entry is not None:
            self._check(target, "dir")
            self._layout.place(target, entry)

    def _file(self, path: str, target: str) -> None:
        self._check(target, "file")
        before = self._layout.entry(target)
        if self._operation.strategy == "Merge" and before is not None:
            values = merged(_values(self._layout.repo[before[0]].peel(pygit2.Blob).data), _values(self._tree.read(path)))
            self._layout.place(target, (self._layout.repo.create_blob(write_yaml(values)), FileMode.BLOB))
            return
        self._layout.place(target, self._source.file(path))

    def _extract(self, path: str) -> None:
        for file in unpacked(io.BytesIO(self._tree.read(path))):
            target = _joined(self._to, file.path)
            self._check(target, "file")
            put(self._layout, target, file)

    def _check(self, target: str, kind: str) -> None:
        """Raises CopyFailed where a file would take a directory's place, or the other way round."""
        if kind == "file" and (not target or self._layout.is_folder(target)):
            raise CopyFailed(f"'{target or '.'}' is a directory")
        steps = target.split("/")
        for end in range(1, len(steps) + (kind == "dir")):
            if self._layout.entry(above := "/".join(steps[:end])) is not None:
                raise CopyFailed(f"'{above}' is a file, not a directory")

    def _leaves_out(self, path: str, base: str) -> bool:
        names = [path, path.removeprefix(f"{base}/")] if base else [path]
        name = path.rpartition("/")[2]
        return any(pattern.fullmatch(each) for pattern, whole in self._excluded for each in (names if whole else [*names, name]))


def _joined(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder and name else folder or name


def _values(text: bytes) -> dict[str, Any]:
    """All documents of a file, each over those before. Raises BadYaml."""
    found: dict[str, Any] = {}
    for document in _DOCUMENTS.split(text):
        value = read_yaml(document)
        if value is not None and not isinstance(value, dict):
            raise BadYaml("cannot unmarshal YAML document: it is no mapping")
        found = merged(found, value or {})
    return found
