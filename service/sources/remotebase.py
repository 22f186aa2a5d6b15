"""Remote bases and files of a build: a URL in, a tree or bytes out, for the kustomize engine, which fetches nothing itself.

Blocking: runs where builds run, in a worker process or a command. Repositories are fetched bare and without history by the transfer of
this room into a folder that is gone with the build; nothing is checked out, no hook and no filter of a repository ever runs.
"""

import re
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pygit2
from pygit2.enums import FileMode

from service.kustomize.remote import NotFetched, Remote, RepoSpec, shown
from service.kustomize.tree import Tree
from service.sources.credentials import Credentials
from service.sources.depth import PART
from service.sources.fetcherror import FetchError, NoRef
from service.sources.gitmodules import BadModules, module_url
from service.sources.gitref import Wanted, is_ref_name
from service.sources.grafting import Entry, NoPlace, grafted, tree_of
from service.sources.ignore import Ignore
from service.sources.submodules import DEEPEST, MOST, Above, BadSubmodule, credentials_for, gitlinks_in
from service.sources.transfer import Fetched, Request, prepare, transfer
from service.sources.tree import GitTree

CONNECT, SILENCE = timedelta(seconds=10), timedelta(seconds=27)
MAX_BYTES = 32 * 2**20
MAX_CLONES = 100
_PIECE = 2**16
_ID = re.compile(r"[0-9a-f]{40}")


@contextmanager
def remote_bases() -> Iterator[Remote]:
    """Yield who fetches for one build; what was fetched is there until the end of the block. The same thing is fetched once."""
    prepare(CONNECT, SILENCE)
    with tempfile.TemporaryDirectory(prefix="sluice-remote-") as folder:
        fetcher = _Fetcher(Path(folder))
        yield Remote(clone=fetcher.clone, file=fetcher.file)


class _Fetcher:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._trees: dict[tuple[str, str, bool], tuple[Tree, str]] = {}
        self._files: dict[str, bytes] = {}

    def clone(self, spec: RepoSpec) -> tuple[Tree, str]:
        """Return the tree and the commit at the ref of a repository. Raises NotFetched."""
        key = (spec.url, spec.ref, spec.submodules)
        if key not in self._trees:
            if len(self._trees) >= MAX_CLONES:
                raise NotFetched(f"more than {MAX_CLONES} repositories in one build")
            store = self._folder / str(len(self._trees))
            repo = pygit2.init_repository(str(store), bare=True)
            clone = _Clone(store=store, repo=repo, spec=spec, deadline=time.monotonic() + spec.timeout.total_seconds())
            fetched = clone.fetched()
            tree = clone.whole(fetched.tree) if spec.submodules else fetched.tree
            self._trees[key] = (GitTree(repo, tree, Ignore([])), fetched.commit)
        return self._trees[key]

    def file(self, url: str) -> bytes:
        """Return the content at an http(s) URL. Raises NotFetched."""
        if url not in self._files:
            self._files[url] = _downloaded(url)
        return self._files[url]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Clone:
    """One repository of a build, in a store of its own."""

    store: Path
    repo: pygit2.Repository
    spec: RepoSpec
    deadline: float

    def fetched(self) -> Fetched:
        """Try what the ref may name in git's order: a full ref, a tag, a branch, a commit. Raises NotFetched."""
        spec, last = self.spec, None
        for wanted in _wanted(spec.ref):
            try:
                return self._transfer("base", spec.url, self._credentials, wanted)
            except NoRef as error:
                last = error
            except FetchError as error:
                raise NotFetched(shown_text(error, spec)) from None
        raise NotFetched(f"unable to clone '{shown(spec.url)}': it has no tag, branch or commit '{spec.ref}'") from last

    def whole(self, tree: str) -> str:
        """Return a tree with its submodules in their places. Raises NotFetched."""
        grafts: dict[str, Entry] = {}
        try:
            self._collect(Above(store=self.store, tree=tree, url=self.spec.url), grafts)
            return str(grafted(self.repo, tree_of(self.repo, tree), grafts)) if grafts else tree
        except (FetchError, BadModules, NoPlace, KeyError, pygit2.GitError) as error:
            raise NotFetched(f"the submodules of '{shown(self.spec.url)}': {error}") from None

    def _collect(self, above: Above, grafts: dict[str, Entry]) -> None:
        for link in gitlinks_in(self.repo, above.tree):
            path = f"{above.path}/{link.path}" if above.path else link.path
            if above.depth >= DEEPEST or len(grafts) >= MOST:
                raise BadSubmodule(f"more than {MOST}, or more than {DEEPEST} deep, at '{path}'")
            url = module_url(link.url, above.url)
            wanted = Wanted(source="refs/heads/*", label="", commit=link.commit)
            found = self._transfer(f"base{PART}{len(grafts)}", url, credentials_for(url, self.spec.url, self._credentials), wanted)
            grafts[path] = pygit2.Oid(hex=found.tree), FileMode.TREE
            self._collect(Above(store=self.store, tree=found.tree, url=url, path=path, depth=above.depth + 1), grafts)

    def _transfer(self, name: str, url: str, credentials: Credentials, wanted: Wanted) -> Fetched:
        seconds = max(0.001, self.deadline - time.monotonic())
        request = Request(store=self.store, url=url, uid=name, wanted=wanted, credentials=credentials, seconds=seconds)
        return transfer(request, lambda: False)

    @property
    def _credentials(self) -> Credentials:
        """Those in the address."""
        parts = urlsplit(self.spec.url) if "://" in self.spec.url else None
        if parts is None or not parts.password:
            return Credentials()
        return Credentials(username=unquote(parts.username or ""), password=unquote(parts.password))


def shown_text(error: FetchError, spec: RepoSpec) -> str:
    """Return a fetch's error with the fields of a GitRepository taken out, which a kustomization does not have."""
    text = str(error).replace(spec.url, shown(spec.url)).replace("or spec.timeout too short", "or ?timeout= too short")
    return re.sub(r"[,;] (?:set|check|or it is private and needs|write)[^;,]*spec\.[^;,:]*", "", text)


def _wanted(ref: str) -> Iterator[Wanted]:
    if not ref:
        yield Wanted(source="HEAD", label="")
        return
    if not is_ref_name(ref) or ref.startswith("-"):
        raise NotFetched(f"'{ref}' is not a name that Git allows")
    if _ID.fullmatch(ref):
        yield Wanted(source="refs/heads/*", label="", commit=ref)
    if ref.startswith("refs/"):
        yield Wanted(source=ref, label="")
    yield Wanted(source=f"refs/tags/{ref}", label=ref)
    yield Wanted(source=f"refs/heads/{ref}", label=ref)


def _downloaded(url: str) -> bytes:
    import urllib.error  # only where a file is remote: 30 ms
    import urllib.request

    deadline = time.monotonic() + SILENCE.total_seconds()
    request = urllib.request.Request(url, headers={"User-Agent": "sluice"})  # noqa: S310 - http(s) only, asked before
    pieces, size = [], 0
    try:
        with urllib.request.urlopen(request, timeout=CONNECT.total_seconds()) as answer:  # noqa: S310
            while piece := answer.read1(_PIECE):
                pieces.append(piece)
                size += len(piece)
                if size > MAX_BYTES:
                    raise NotFetched(f"{shown(url)} has more than {MAX_BYTES} bytes")
                if time.monotonic() > deadline:
                    raise NotFetched(f"{shown(url)} did not come within {SILENCE.total_seconds():g} s")
    except urllib.error.HTTPError as error:
        error.close()
        raise NotFetched(f"{shown(url)}: HTTP Error: status code {error.code} ({error.reason})") from None
    except (OSError, ValueError) as error:
        raise NotFetched(f"{shown(url)}: {getattr(error, 'reason', None) or error}") from None
    return b"".join(pieces)
