"""The submodules of a commit, and theirs: a fetched commit in, what to put where out; each is fetched by the id that its gitlink pins.

What is there already is not asked for again. Credentials go to the origin of spec.url alone, where Flux sends them to every address that
.gitmodules names; each address is under the outbound policy. A gitlink that .gitmodules does not name is left out, as with Flux.
https://git-scm.com/docs/gitsubmodules
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pygit2
from pygit2.enums import FileMode

from service.sources.credentials import Credentials, masked
from service.sources.fetcherror import AuthRefused, FetchError
from service.sources.gitmodules import MOST_BYTES, BadModules, module_url, read_modules
from service.sources.gitref import Wanted
from service.sources.grafting import entry_at, tree_of
from service.sources.openrepo import SnapshotGone, open_store
from service.sources.reach import origin_of
from service.sources.snapshot import FILES
from service.sources.ssh import is_ssh
from service.sources.transfer import Fetched

FILE = ".gitmodules"
DEEPEST = 10
MOST = 100
_PORTS = {"http": 80, "https": 443, "ssh": 22}

Fetch = Callable[[str, str, Credentials, Wanted], Awaitable[Fetched]]
"""From a name that tells it from others of the object, an address, what to send there and the commit wanted. Raises FetchError."""


class BadSubmodule(FetchError):
    """A submodule cannot be fetched as it is written down."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gitlink:
    """A place in a tree that pins a commit of another repository; `url` as .gitmodules has it."""

    path: str
    url: str
    commit: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Submodule:
    """A submodule that was fetched: `path` from the root of the object's repository, `name` as Fetch was given it."""

    path: str
    name: str
    store: Path
    tree: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Above:
    """A repository whose submodules are looked for: where its tree stands, the address that it came from, how deep it is."""

    store: Path
    tree: str
    url: str
    path: str = ""
    depth: int = 0


def gitlinks(store: Path, tree: str) -> tuple[Gitlink, ...]:
    """Return the gitlinks of a tree that its .gitmodules names. Raises BadModules, SnapshotGone. Blocking."""
    try:
        return gitlinks_in(open_store(store), tree)
    except (KeyError, pygit2.GitError) as error:
        raise SnapshotGone(f"tree {tree} is not in the store") from error


def gitlinks_in(repo: pygit2.Repository, tree: str) -> tuple[Gitlink, ...]:
    """Return the gitlinks of a tree that its .gitmodules names. Raises BadModules, KeyError, pygit2.GitError."""
    root = tree_of(repo, tree)
    if FILE not in root or root[FILE].filemode not in FILES:
        return ()
    blob = root[FILE].peel(pygit2.Blob)
    if blob.size > MOST_BYTES:
        raise BadModules(f"{FILE} has more than {MOST_BYTES:,} bytes")
    found = []
    for module in read_modules(blob.data.decode(errors="replace")):
        entry = entry_at(repo, root, module.path)
        if entry is not None and entry[1] == FileMode.COMMIT:
            found.append(Gitlink(path=module.path, url=module.url, commit=str(entry[0])))
    return tuple(found)


class Submodules:
    """All submodules of one commit: `spec_url` is where its credentials may go, `only` the directories that are checked out, () for all."""

    def __init__(self, spec_url: str, credentials: Credentials, only: Sequence[str], fetch: Fetch) -> None:
        self._spec_url, self._credentials, self._only, self._fetch = spec_url, credentials, only, fetch
        self._found: list[Submodule] = []

    async def below(self, above: Above) -> tuple[Submodule, ...]:
        """Fetch them, those of one repository side by side. Raises FetchError, SnapshotGone."""
        try:
            links = await asyncio.to_thread(gitlinks, above.store, above.tree)
        except BadModules as error:
            raise BadSubmodule(f"{above.path or 'the repository'}: {error}") from error
        wanted = [link for link in links if self._is_checked_out(_joined(above.path, link.path))]
        if wanted and above.depth >= DEEPEST:
            raise BadSubmodule(f"submodules in submodules, more than {DEEPEST} deep, at '{above.path}'")
        try:
            async with asyncio.TaskGroup() as tasks:
                for link in wanted:
                    tasks.create_task(self._one(above, link), name="fetch.submodule")
        except ExceptionGroup as group:
            raise group.exceptions[0] from None
        return tuple(sorted(self._found, key=lambda each: each.path))

    async def _one(self, above: Above, link: Gitlink) -> None:
        path = _joined(above.path, link.path)
        try:
            url = module_url(link.url, above.url)
            credentials = credentials_for(url, self._spec_url, self._credentials)
        except (BadModules, BadSubmodule) as error:
            raise BadSubmodule(f"submodule '{path}': {error}") from error
        name = hashlib.sha256(path.encode()).hexdigest()[:16]
        try:
            fetched = await self._fetch(name, url, credentials, Wanted(source="refs/heads/*", label="", commit=link.commit))
        except FetchError as error:
            raise _told(error, path, url, is_sent=credentials.given or not self._credentials.given) from error
        self._found.append(Submodule(path=path, name=name, store=fetched.store, tree=fetched.tree))
        if len(self._found) > MOST:
            raise BadSubmodule(f"more than {MOST} submodules")
        await self.below(Above(store=fetched.store, tree=fetched.tree, url=url, path=path, depth=above.depth + 1))

    def _is_checked_out(self, path: str) -> bool:
        here = f"{path}/"
        return not self._only or any(here.startswith(f"{folder}/") or f"{folder}/".startswith(here) for folder in self._only)


def credentials_for(url: str, spec_url: str, credentials: Credentials) -> Credentials:
    """Return what may be sent to a submodule's address: everything to the origin of spec.url, nothing elsewhere. Raises BadSubmodule."""
    if credentials.proxy and not url.startswith("https:"):
        raise BadSubmodule(f"'{masked(url)}' is not an https address, and a proxy is used for those only")
    if _origin(url) == _origin(spec_url):
        return credentials
    if is_ssh(url):
        raise BadSubmodule(f"'{masked(url)}' is not on the host of spec.url, so that there is no key for it; write an https address")
    return Credentials(proxy=credentials.proxy)


def _origin(url: str) -> tuple[str, str | None, int | None]:
    scheme, host, port = origin_of(url)
    return scheme, host, port or _PORTS.get(scheme)


def _told(error: FetchError, path: str, url: str, *, is_sent: bool) -> FetchError:
    words = f"submodule '{path}': {error}"
    if isinstance(error, AuthRefused) and not is_sent:
        words = f"submodule '{path}': '{masked(url)}' asks for credentials, and those of spec.secretRef are for the host of spec.url alone"
    return type(error)(words)


def _joined(above: str, path: str) -> str:
    return f"{above}/{path}" if above else path
