"""Where `sluice build` reads from: a folder on disk, a revision of the Git repository that the folder is in, or a remote repository."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from service.kustomize.errors import BuildError
from service.kustomize.remote import NotFetched, Remote, RepoSpec, is_remote, parse
from service.kustomize.tree import FolderTree, Tree


class CannotBuild(Exception):
    """Nothing can be built; the message is for the person who asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildSource:
    """A tree, the folder to build in it, who fetches what is remote, and how a path of the tree is called."""

    tree: Tree
    path: str
    remote: Remote | None
    name: Callable[[str], str]
    is_disk: bool = False

    def shown(self, error: BuildError) -> str:
        """Return an error with its file as a person here would name it."""
        if error.file is None:
            return error.message
        return f"{self.name(error.file)}:{'' if error.line is None else f'{error.line}:'} {error.message}"

    def shown_read(self, key: str) -> str:
        """Return a recorded read as one line."""
        operation, _, path = key.partition(" ")
        return f"{operation} {'/' if self.is_disk and operation != 'remote' else ''}{path}"


@contextmanager
def source_of(path: str, *, revision: str | None, remote: bool) -> Iterator[BuildSource]:
    """Yield what DIR names. Raises CannotBuild."""
    with ExitStack() as stack:
        fetcher = _lazily(stack) if remote else None
        if revision is not None:
            yield _of_revision(path, revision, fetcher)
        elif not os.path.isdir(path) and is_remote(path):
            yield _of_url(path, fetcher)
        else:
            yield _of_folder(path, fetcher)


def _lazily(stack: ExitStack) -> Remote:
    """A Remote that imports Git's library when the first thing is fetched."""
    made: list[Remote] = []

    def fetcher() -> Remote:
        if not made:
            from service.sources.remotebase import remote_bases

            made.append(stack.enter_context(remote_bases()))
        return made[0]

    def clone(spec: RepoSpec) -> tuple[Tree, str]:
        return fetcher().clone(spec)

    return Remote(clone=clone, file=lambda url: fetcher().file(url))


def _of_folder(path: str, remote: Remote | None) -> BuildSource:
    folder = os.path.realpath(path)
    if not os.path.isdir(folder):
        raise CannotBuild(f"{path} is no folder")
    return BuildSource(
        tree=FolderTree(Path("/")), path=folder.lstrip("/"), remote=remote, name=lambda file: os.path.relpath("/" + file), is_disk=True
    )


def _of_url(address: str, remote: Remote | None) -> BuildSource:
    if remote is None:
        raise CannotBuild("DIR is a URL and --no-remote-bases is given")
    try:
        spec = parse(address)
        tree, _commit = remote.clone(spec)
    except (ValueError, NotFetched) as error:
        raise CannotBuild(str(error)) from error
    return BuildSource(tree=tree, path=spec.path, remote=remote, name=str)


def _of_revision(path: str, revision: str, remote: Remote | None) -> BuildSource:
    import pygit2

    from service.sources.ignore import Ignore
    from service.sources.tree import GitTree

    real = os.path.realpath(path)
    start = real
    while not os.path.isdir(start):  # the folder may be in that revision only
        start = os.path.dirname(start)
    found = pygit2.discover_repository(start)
    if found is None:
        raise CannotBuild(f"{path} is in no Git repository; --revision needs one")
    repo = pygit2.Repository(found)
    top = os.path.realpath(repo.workdir or repo.path)
    try:
        commit = repo.revparse_single(revision).peel(pygit2.Commit)
    except (KeyError, ValueError, pygit2.GitError) as error:
        raise CannotBuild(f"--revision {revision}: {top} has no such commit, tag or branch") from error
    relative = os.path.relpath(real, top)
    short = str(commit.id)[:12]
    return BuildSource(
        tree=GitTree(repo, str(commit.tree_id), Ignore([])),
        path="" if relative == "." else relative,
        remote=remote,
        name=lambda file: f"{short}:{file}",
    )
