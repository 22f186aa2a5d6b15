"""One bare repository per URL and identity below STATE/git; objects that share it fetch into their own private refs. Nothing else moves.

In: what an object wants. Out: the commit that its remote names now, with its objects in the store. Fetches run outside the event loop,
bounded in number, and one at a time per store; nothing ever waits for one that hangs: its thread is a daemon, its process is killed.
"""

import asyncio
import hashlib
import logging
import secrets
import shutil
import threading
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

import pygit2

from service.outbound import Policy
from service.socks import socks_of
from service.sources.credentials import Credentials
from service.sources.depth import PART, PRIVATE, VERIFIED
from service.sources.direct import Direct
from service.sources.fetcherror import BadStore, FetchError, RemoteFailed, Stopped
from service.sources.fetchprocess import Limits, in_process
from service.sources.gitref import Wanted
from service.sources.openrepo import repository
from service.sources.packs import drop_drafts
from service.sources.powerloss import drop_cut_objects, this_boot
from service.sources.reach import GIT_POLICY
from service.sources.relay import relayed
from service.sources.shared import Ask, Shared, adopt, held
from service.sources.smart import Smart, Unfit
from service.sources.ssh import is_ssh
from service.sources.transfer import Fetched, Request, prepare, transfer

log = logging.getLogger(__name__)
T = TypeVar("T")

MOST_STUCK = 64
LAG_WAITS = tuple(timedelta(milliseconds=each) for each in (50, 100, 200, 400))
KEPT_STORES = 2
"""Stores per object: the present one, and the one before it that consumers may still read."""


class GitStore:
    """All stores of one state folder. Belongs to one event loop. With `smart`, whose owner closes it, small fetches go the short way."""

    def __init__(
        self,
        folder: Path,
        *,
        fetches: int = 32,
        of_a_host: int = 8,
        limits: Limits = Limits(),  # noqa: B008 - frozen
        smart: Smart | None = None,
        policy: Policy = GIT_POLICY,
    ) -> None:
        self._folder = folder
        self._direct = Direct(smart) if smart is not None else None
        self._limits, self._policy = limits, policy
        self._shared = Shared()
        self._slots = asyncio.Semaphore(fetches)
        self._hosts: dict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(of_a_host))  # one that hangs leaves room
        self._locks: dict[Path, asyncio.Lock] = {}
        self._stops: set[threading.Event] = set()
        folder.mkdir(parents=True, exist_ok=True)
        for draft in folder.glob(".*"):
            shutil.rmtree(draft, ignore_errors=True)  # a process was killed while it made a store
        drop_cut_objects(folder, folder.with_name(f"{folder.name}.boot"), this_boot())
        prepare(limits.connect, limits.silence)
        self._broken_off = set(folder.iterdir())  # stores whose last fetch did not end well, or was killed
        self._stores: dict[str, list[Path]] = {}
        for ref in sorted(folder.glob(f"*/{PRIVATE}*"), key=lambda path: path.stat().st_mtime):
            known = self._stores.setdefault(ref.name.removesuffix(VERIFIED), [])
            if ref.parents[2] not in known:
                known.append(ref.parents[2])

    def path(self, url: str, credentials: Credentials) -> Path:
        """Where a fetch goes."""
        name = "\0".join((url, credentials.identity, "tip"))
        return self._folder / hashlib.sha256(name.encode()).hexdigest()[:32]

    def located(self, uid: str) -> Path | None:
        """The store of the object's last successful fetch, also of an earlier process."""
        known = self._stores.get(uid)
        return known[-1] if known else None

    async def fetch(
        self, *, uid: str, url: str, credentials: Credentials, wanted: Wanted, timeout: timedelta, age: timedelta = timedelta(0)
    ) -> Fetched:
        """Fetch what `wanted` leads to and return it. `url` and `wanted` are checked ones. Raises a FetchError, its text without secrets.

        `age` is how long ago the push was stored that has led here. A damaged store is made anew, once. Cancelling ends the work too.
        A host whose ref lags behind the hint is asked again, briefly.
        """
        store = self.path(url, credentials)
        request = Request(
            store=store,
            url=url,
            uid=uid,
            wanted=wanted,
            credentials=credentials,
            seconds=timeout.total_seconds(),
            most_objects=self._limits.objects,
            policy=self._policy,
        )
        try:
            async with asyncio.timeout(request.seconds):
                fetched = first = await self._in_turn(request, age.total_seconds())
                for wait in LAG_WAITS:
                    if not fetched.is_behind:
                        break
                    await asyncio.sleep(wait.total_seconds())
                    fetched = replace(await self._in_turn(request), before=first.before)
        except TimeoutError:
            raise Stopped(f"not finished within {request.seconds:g} s; is the remote slow, or spec.timeout too short?") from None
        await self._remember(uid, store)
        return fetched

    async def _in_turn(self, request: Request, age: float = 0) -> Fetched:
        clock = asyncio.get_running_loop().time
        ask = Ask(came=clock(), stored=clock() - max(0.0, age))
        async with self._locks.setdefault(request.store, asyncio.Lock()):
            found = self._shared.find(request, ask)
            if found is not None:
                adopted = await self._blocking(lambda _: adopt(request, found))
                if adopted is not None:
                    return adopted
            async with self._hosts[_host(request.url)], self._slots:
                began = clock()
                fetched = await self._healing(request)
            self._shared.note(request, began, fetched)
            return fetched

    async def prepared(self, uid: str) -> Path:
        """The object's own store, for content that does not come from a Git remote; it goes with the object. Raises FetchError."""
        store = self._folder / hashlib.sha256(f"own\0{uid}".encode()).hexdigest()[:32]
        await self._blocking(lambda _: _make(store, anew=not _opens(store)))
        await self._remember(uid, store)
        return store

    async def _healing(self, request: Request) -> Fetched:
        await self._blocking(lambda _: self._ready(request.store))
        self._broken_off.add(request.store)
        fetched = await self._fetched(request)
        self._broken_off.discard(request.store)
        return fetched

    def _ready(self, store: Path) -> None:
        _make(store)
        if store in self._broken_off:
            drop_drafts(store)

    async def _fetched(self, request: Request) -> Fetched:
        here = await self._blocking(lambda _: held(request)) if request.wanted.commit else None
        if here is not None:
            return here
        try:
            return await self._run(request)
        except BadStore as error:
            log.warning("git store made anew", extra={"store": str(request.store), "error": str(error)})
            await self._blocking(lambda _: _make(request.store, anew=True))
            return await self._run(request)

    async def _run(self, request: Request) -> Fetched:
        if is_ssh(request.url):
            return await in_process(request, self._limits)
        if self._direct is not None:
            with suppress(Unfit):
                return await self._direct.fetch(request, self._blocking)
        if request.credentials.certificate or socks_of(request.credentials.proxy) is not None:
            async with relayed(request, self._limits) as here:
                return await self._blocking(lambda stopped: transfer(here, stopped))
        if request.credentials.ca and request.url.startswith("https:"):
            return await in_process(request, self._limits)
        return await self._blocking(lambda stopped: transfer(request, stopped))

    async def _blocking(self, work: Callable[[Callable[[], bool]], T]) -> T:
        """Run `work` in a daemon thread of its own; who waits may leave at any time, the thread is told and ends when libgit2 lets it."""
        if len(self._stops) >= MOST_STUCK:
            raise RemoteFailed(f"{MOST_STUCK} fetches hang in unresponsive remotes; waiting for them to end")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        stop = threading.Event()

        def settle(result: T | None, error: BaseException | None) -> None:
            self._stops.discard(stop)
            if future.done():
                return
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(result)  # type: ignore[arg-type]  # None only where T is

        def run() -> None:
            result, failure = None, None
            try:
                result = work(stop.is_set)
            except BaseException as error:  # noqa: BLE001 - handed to the waiting task
                failure = error
            with suppress(RuntimeError):  # the loop is closed: nobody waits
                loop.call_soon_threadsafe(settle, result, failure)

        self._stops.add(stop)
        threading.Thread(target=run, name="git-fetch", daemon=True).start()
        try:
            return await future
        finally:
            stop.set()

    async def _remember(self, uid: str, store: Path) -> None:
        known = [path for path in self._stores.get(uid, []) if path != store] + [store]
        self._stores[uid] = known[-KEPT_STORES:]
        for path in known[:-KEPT_STORES]:
            await self.alone(path, lambda store: _drop(store, uid))

    async def mark_verified(self, uid: str, store: Path, commit: str) -> None:
        """Keep a commit as the object's last one whose signature was good; "" says that there is none. Raises OSError."""
        await self._blocking(lambda _: _mark(store, PRIVATE + uid + VERIFIED, commit))

    async def hold(self, part: str, store: Path) -> None:
        """Keep a store of others for as long as `part` is not forgotten or released. Raises FetchError."""
        if not (store / (PRIVATE + part)).exists():
            await self.alone(store, lambda path: _hold(path, part))
            await self._remember(part, store)

    async def release(self, uid: str, parts: set[str]) -> None:
        """Forget all parts of an object but these."""
        for name in [name for name in self._stores if name.startswith(uid + PART) and name not in parts]:
            await self._forget(name)

    async def forget(self, uid: str) -> None:
        """Remove the private refs of the object and of its parts, and the stores that nobody else uses."""
        await self.release(uid, set())
        await self._forget(uid)

    async def _forget(self, name: str) -> None:
        for path in self._stores.pop(name, []):
            await self.alone(path, lambda store: _drop(store, name))

    async def discard(self, store: Path) -> None:
        """Remove a store whose objects are not all there; its objects' next fetches make it anew."""
        await self.alone(store, lambda path: shutil.rmtree(path, ignore_errors=True))

    async def alone(self, store: Path, work: Callable[[Path], None]) -> None:
        """Run `work` on a store, off the event loop, while nobody fetches into it."""
        async with self._locks.setdefault(store, asyncio.Lock()):
            await self._blocking(lambda _: work(store))

    async def keep_only(self, uids: set[str]) -> None:
        """Forget what belongs to none of `uids`: objects that were deleted while nothing ran."""
        for uid in {name.partition(PART)[0] for name in self._stores} - uids:
            await self.forget(uid)

    def close(self) -> None:
        """Tell all running fetches to end; waits for none."""
        for stop in self._stops:
            stop.set()


def _host(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.hostname}:{parts.port}"


def _opens(store: Path) -> bool:
    try:
        repository(store)
    except pygit2.GitError:
        return False
    return True


def _make(store: Path, anew: bool = False) -> None:
    if anew:
        shutil.rmtree(store, ignore_errors=True)
    if store.exists():
        return
    draft = store.with_name(f".{store.name}.{secrets.token_hex(4)}")
    pygit2.init_repository(str(draft), bare=True)
    shutil.rmtree(draft / "hooks", ignore_errors=True)
    try:
        draft.rename(store)  # never half a repository under the real name
    except OSError as error:
        shutil.rmtree(draft, ignore_errors=True)
        if not store.exists():
            raise FetchError(f"the state folder cannot be written: {error.strerror}") from error


def _mark(store: Path, name: str, commit: str) -> None:
    try:
        repo = repository(store)
        if commit:
            repo.references.create(name, commit, force=True)
        elif name in repo.references:
            repo.references.delete(name)
    except (pygit2.GitError, ValueError) as error:
        raise OSError(f"the store {store.name} cannot be written: {error}") from error


def _hold(store: Path, name: str) -> None:
    try:
        repo = repository(store)
        tip = next(repo.references[each].target for each in repo.references if each.startswith(PRIVATE))
        repo.references.create(PRIVATE + name, tip, force=True)
    except (pygit2.GitError, StopIteration) as error:
        raise FetchError(f"the store {store.name} is being made anew") from error


def _drop(store: Path, uid: str) -> None:
    try:
        repo = repository(store)
        for name in (PRIVATE + uid, PRIVATE + uid + VERIFIED):
            if name in repo.references:
                repo.references.delete(name)
        if any(name.startswith(PRIVATE) for name in repo.references):
            return
    except pygit2.GitError as error:
        log.warning("git store removed", extra={"store": str(store), "error": str(error)})
    shutil.rmtree(store, ignore_errors=True)
