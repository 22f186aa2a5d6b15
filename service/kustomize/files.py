"""What a kustomization reads: files and folders, seen from its own folder, within its bounds.

Files must lie in or below the kustomization's folder (load restriction `root_only`) or anywhere in the tree (`tree`). Folders may lie
anywhere but at or above a folder on the way here: that is a cycle. Nothing leaves the tree, nothing is fetched.
Behaviour: kustomize api v0.21.0 internal/loader.
"""

import marshal
import pickle
import posixpath
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from service.kustomize.cache import ParseCache
from service.kustomize.errors import BuildError
from service.kustomize.remote import NotFetched, Remote, RepoSpec, is_http, is_remote, parse, refused, shown
from service.kustomize.tree import Recording, content_id, resolve
from service.kustomize.yamlread import read_objects, read_value

if TYPE_CHECKING:
    from service.kustomize.trace import Trace


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What all folders of a build share."""

    tree: Recording
    cache: ParseCache | None
    restricted: bool
    trace: "Trace | None" = None
    remote: Remote | None = None
    warnings: list[str] = field(default_factory=list)
    """What to tell people of the kustomization files that were read, in order."""

    def documents(self, path: str) -> list[Any]:
        """Return the documents of a file of resources, fresh. Raises BuildError, FileNotFoundError."""
        found: list[Any] = self._parsed(path, "1.2")
        return found

    def value(self, path: str) -> Any:
        """Return a file read as YAML 1.1, fresh. Raises BuildError, FileNotFoundError."""
        return self._parsed(path, "1.1")

    def _parsed(self, path: str, dialect: Literal["1.1", "1.2"]) -> Any:
        if self.cache is None:
            return _parse(self.tree.read(path), dialect, path)
        known = self.tree.blob_id(path)
        data = None
        if known is None:
            data = self.tree.read(path)
            known = self.tree.reads.get(f"file {path}") or content_id(data)
        key = (dialect, known)
        kept = self.cache.get(key)
        if kept is not None:
            return _thawed(kept)
        value = _parse(self.tree.read(path) if data is None else data, dialect, path)
        frozen = _frozen(value)
        self.cache.put(key, frozen, len(frozen))
        return value


def _parse(data: bytes, dialect: Literal["1.1", "1.2"], path: str) -> Any:
    return read_objects(data, path) if dialect == "1.2" else read_value(data, path)


def _frozen(value: Any) -> bytes:
    """A value as bytes: immutable, and the quickest way to a fresh copy."""
    try:
        return b"m" + marshal.dumps(value)
    except ValueError:  # numbers and dates that keep their text
        return b"p" + pickle.dumps(value)


def _thawed(frozen: bytes) -> Any:
    return marshal.loads(frozen[1:]) if frozen[:1] == b"m" else pickle.loads(frozen[1:])  # noqa: S301, S302  # written above, in this process


class Folder:
    """One folder on the way from the built one."""

    def __init__(self, source: Source, root: str, parent: "Folder | None" = None, *, repository: tuple[str, str] | None = None) -> None:
        self.source = source
        self.repository: tuple[str, str] | None = repository or (parent.repository if parent is not None else None)
        """(URL, ref) of the clone that it is in, None for the build's own tree."""
        self.root = root
        self._parent = parent
        self.depth: int = 0 if parent is None else parent.depth + 1

    @classmethod
    def top(cls, source: Source, path: str) -> "Folder":
        """Return the folder to build; a leading slash means the tree's root, as in a Flux Kustomization. Raises BuildError."""
        root = resolve(source.tree, _normal("", path.lstrip("/")))
        if source.tree.kind(root) != "dir":
            raise BuildError(f"unable to find a folder at '{path}'; check the path")
        return cls(source, root)

    def at(self, path: str) -> str:
        """Return the path of an entry in the tree. Raises BuildError if it leaves the tree."""
        return _normal(self.root, path)

    def file(self, path: str) -> str:
        """Return the path of a file that may be read. Raises BuildError."""
        if is_remote(path):
            return self._downloaded(path)
        full = self.at(path)
        tree = self.source.tree
        kind = tree.kind(full)
        if not path or kind == "dir":
            raise BuildError(f"'{full}' must resolve to a file")
        if kind is None:
            raise BuildError(f"evalsymlink failure on '{full}': no such file or directory")
        if self.source.restricted and not _is_below(resolve(tree, full), self.root):
            raise BuildError(f"security; file '{full}' is not in or below '{self.root or '.'}'; move it, or lift the load restriction")
        return full

    def read(self, path: str) -> bytes:
        """Return a file's content. Raises BuildError."""
        return self.source.tree.read(self.file(path))

    def enter(self, path: str) -> "Folder":
        """Return another kustomization's folder. Raises BuildError."""
        if not path:
            raise BuildError("new root cannot be empty")
        if is_remote(path):
            return self._cloned(path)
        tree = self.source.tree
        full = self.at(path)
        if tree.kind(full) != "dir":
            why = "file is not directory" if tree.kind(full) else "no such file or directory"
            raise BuildError(f"must build at directory: '{full}': {why}")
        root = resolve(tree, full)
        visited: Folder | None = self
        while visited is not None and visited.repository == self.repository:
            if _is_below(visited.root, root):
                raise BuildError(f"cycle detected: candidate root '{root or '.'}' contains visited root '{visited.root or '.'}'")
            visited = visited._parent
        return Folder(self.source, root, self)

    def _downloaded(self, url: str) -> str:
        """Fetch a file; its name in this build's tree is its URL."""
        remote = self.source.remote
        if remote is None:
            raise refused(url)
        if not is_http(url):
            raise BuildError(f"'{shown(url)}' must resolve to a file")
        try:
            self.source.tree.add(url, remote.file(url), shown(url))
        except NotFetched as error:
            raise BuildError(str(error)) from error
        return url

    def _cloned(self, address: str) -> "Folder":
        """Fetch a repository and enter a folder of it: a tree of its own, which nothing in it can leave."""
        remote = self.source.remote
        if remote is None:
            raise refused(address)
        try:
            spec = parse(address)
            self._check_cycle(spec)
            tree, commit = remote.clone(spec)
        except (ValueError, NotFetched) as error:
            raise BuildError(f"'{shown(address)}': {error}") from error
        self.source.tree.note_remote(shown(address), commit)
        if tree.kind(spec.path) != "dir":
            raise BuildError(f"'{shown(address)}': there is no folder '{spec.path}' at {commit[:12]}")
        return Folder(replace(self.source, tree=Recording(tree)), spec.path, self, repository=(spec.url, spec.ref))

    def _check_cycle(self, spec: RepoSpec) -> None:
        visited: Folder | None = self
        while visited is not None:
            if visited.repository == (spec.url, spec.ref) and _is_below(visited.root, spec.path):
                raise BuildError(f"cycle detected: '{shown(spec.url)}' contains '{visited.root or '.'}', which leads to it")
            visited = visited._parent


def _is_below(path: str, folder: str) -> bool:
    return not folder or path == folder or path.startswith(folder + "/")


def _normal(root: str, path: str) -> str:
    if path.startswith("/"):
        raise BuildError(f"'{path}' cannot be absolute; write it relative to the kustomization")
    if "\0" in path:
        raise BuildError("a path holds a zero byte")
    full = posixpath.normpath(posixpath.join(root, path))
    if full == ".." or full.startswith("../"):
        raise BuildError(f"'{path}' leads out of the tree")
    return "" if full == "." else full
