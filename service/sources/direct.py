"""The short way of a fetch: where the ref points, and the commit that a payload names, asked for side by side on kept connections.

In: a request, with a hint or without. Out: what a fetch brings, or Unfit, and then libgit2 fetches. The payload is a hint: what counts is
the commit that the remote names for the ref; if it is another one, that is fetched. A commit that the object pins is asked for by its
id. The first fetch of a ref into a store and large changes are not for this way. libgit2 takes three round trips, one after the other, and
meets a delayed ACK (59 ms for one commit on loopback); this takes one (15 ms; 20 without a hint).
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol, TypeVar

import pygit2

from service.sources import depth, protocol
from service.sources.credentials import masked
from service.sources.depth import PRIVATE
from service.sources.fetcherror import Stopped
from service.sources.gitref import Wanted
from service.sources.landing import admit, is_whole, land, shallow, stored
from service.sources.newesttag import TAGS, newest_tags
from service.sources.openrepo import repository
from service.sources.packread import BadPack, TooBig, read
from service.sources.pktline import BadPackets
from service.sources.protocol import Offer, Ref
from service.sources.semver import Range
from service.sources.smart import LISTING_BYTES, Smart, Unfit
from service.sources.transfer import Fetched, Request, described

log = logging.getLogger(__name__)
T = TypeVar("T")

OFFER_KEPT = timedelta(days=1)
UNFIT_FOR = timedelta(minutes=10)
MOST_KNOWN = 4096
MOST_SHALLOW = 256
MOST_TIPS = 32


class Blocking(Protocol):
    """Runs blocking work off the event loop; the work is told whether nobody waits any more."""

    def __call__(self, work: Callable[[Callable[[], bool]], T]) -> Awaitable[T]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class _Here:
    """What the store has: `before` is the commit of the object's private ref, `tips` those of all of them."""

    before: str
    tips: tuple[str, ...]
    shallow: tuple[str, ...]
    has_hint: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """Where the wanted ref points; `label` is its name in a revision. `sees_hint`: a ref points to what a payload has named."""

    ref: Ref
    label: str
    sees_hint: bool


class Direct:
    """All short ways of a process, over one set of connections."""

    def __init__(self, smart: Smart) -> None:
        self._smart = smart
        self._offers: dict[str, tuple[Offer | None, float]] = {}

    async def fetch(self, request: Request, blocking: Blocking) -> Fetched:
        """Bring the store up to date. Raises Unfit where the ordinary way must, and Stopped when the remote is silent."""
        if request.wanted.commit and request.wanted.label:
            raise Unfit("a commit of a branch, whose history tells that it is one")
        if request.wanted.with_tag:
            raise Unfit("an annotated tag, and not only where it leads to")
        name = request.store.name
        try:
            here = await blocking(lambda _: _look(request))
            offer = await self._offer(name, request)
            return await self._fetched(request, here, offer, blocking)
        except Stopped as error:
            raise Stopped(f"unable to clone '{masked(request.url)}': {error}") from error
        except Unfit as error:
            self._doubt(name, error.lasting)
            log.debug("fetched in the ordinary way", extra={"store": name, "reason": str(error)})
            raise
        except TooBig as error:
            raise Unfit(str(error)) from error
        except (BadPackets, BadPack, pygit2.GitError, KeyError, ValueError, OSError) as error:
            self._doubt(name, False)
            log.debug("fetched in the ordinary way", extra={"store": name, "reason": str(error)})
            raise Unfit(str(error)) from error

    async def _fetched(self, request: Request, here: _Here, offer: Offer, blocking: Blocking) -> Fetched:
        if request.wanted.commit:
            return await self._pinned(request, here, offer, blocking)
        wanted, hint = request.wanted.source, request.wanted.hint
        brought = None
        try:
            async with asyncio.TaskGroup() as tasks:
                if hint and not here.has_hint:
                    brought = tasks.create_task(self._hinted(request, here, offer, hint), name="fetch.hint")
                asked = tasks.create_task(self._ref(request, blocking), name="fetch.ref")
        except ExceptionGroup as group:
            raise group.exceptions[0] from None
        found = asked.result()
        if found is None:
            raise Unfit(f"there is no {wanted}")
        ref = found.ref
        pack = brought.result() if brought is not None and hint in (ref.id, ref.commit) else None
        if isinstance(pack, TooBig):
            raise pack
        if pack is None and ref.commit != here.before and not await blocking(lambda _: is_whole(_open(request), ref.commit)):
            pack = await self._pack(request, here, offer, ref.id)
        return await blocking(lambda stopped: _settled(request, here, found, pack, stopped))

    async def _pinned(self, request: Request, here: _Here, offer: Offer, blocking: Blocking) -> Fetched:
        """The commit of an id, which is there for ever once it is."""
        commit = request.wanted.commit
        if not offer.leaves_history_out:
            raise Unfit("the server cannot leave history out")
        is_here = await blocking(lambda _: is_whole(_open(request), commit))
        pack = None if is_here else await self._pack(request, here, offer, commit)
        found = _Found(ref=Ref(id=commit, commit=commit), label="", sees_hint=True)
        return await blocking(lambda stopped: _settled(request, here, found, pack, stopped))

    async def _ref(self, request: Request, blocking: Blocking) -> _Found | None:
        """Where the wanted ref points; a range of versions is looked up among all tags."""
        wanted = request.wanted
        if not wanted.semver:
            body = await self._smart.post(request.url, request.credentials, protocol.ls_refs(wanted.source))
            ref = protocol.refs(body).get(wanted.source)
            return _Found(ref=ref, label=wanted.label, sees_hint=wanted.hint in (ref.id, ref.commit)) if ref is not None else None
        body = await self._smart.post(request.url, request.credentials, protocol.ls_refs(TAGS), most=LISTING_BYTES)
        return await blocking(lambda _: _newest(body, wanted))

    async def _hinted(self, request: Request, here: _Here, offer: Offer, hint: str) -> bytes | TooBig | None:
        """The pack of a commit that may not exist; how large it is only matters where the ref points there."""
        try:
            return await self._pack(request, here, offer, hint)
        except TooBig as error:
            return error
        except (Unfit, BadPackets):
            return None

    async def _pack(self, request: Request, here: _Here, offer: Offer, want: str) -> bytes:
        body = protocol.fetch(want, have=here.tips, shallow=here.shallow, newest_only=offer.leaves_history_out)
        return protocol.pack(await self._smart.post(request.url, request.credentials, body))

    async def _offer(self, name: str, request: Request) -> Offer:
        now = asyncio.get_running_loop().time()
        known, until = self._offers.get(name, (None, 0.0))
        if until > now:
            if known is None:
                raise Unfit("known to be unfit")
            return known
        found = protocol.offer(await self._smart.advertised(request.url, request.credentials))
        if found is None or not found.is_usable:
            raise Unfit("the server does not speak protocol v2", lasting=True)
        self._know(name, found, OFFER_KEPT)
        return found

    def _doubt(self, name: str, lasting: bool) -> None:
        """Something went wrong: what the server offers is asked anew at the next fetch, or after a while."""
        if lasting:
            self._know(name, None, UNFIT_FOR)
        elif self._offers.get(name, (None, 0.0))[0] is not None:
            del self._offers[name]

    def _know(self, name: str, offer: Offer | None, kept: timedelta) -> None:
        while len(self._offers) >= MOST_KNOWN:
            self._offers.pop(next(iter(self._offers)))
        self._offers[name] = (offer, asyncio.get_running_loop().time() + kept.total_seconds())


def _open(request: Request) -> pygit2.Repository:
    return repository(request.store)


def _look(request: Request) -> _Here:
    repo = _open(request)
    tips = {name: str(repo.references[name].target) for name in repo.references if name.startswith(PRIVATE)}
    before = tips.get(PRIVATE + request.uid, "")
    if not tips and not request.wanted.commit:
        raise Unfit("the store is empty")
    known = shallow(repo)
    if len(known) > MOST_SHALLOW:
        raise Unfit("the store has many oldest commits")
    hint = request.wanted.hint
    newest = tuple(dict.fromkeys((*((before,) if before else ()), *tips.values())))
    return _Here(before=before, tips=newest[:MOST_TIPS], shallow=known, has_hint=bool(hint) and is_whole(repo, hint))


def _newest(body: bytes, wanted: Wanted) -> _Found | None:
    refs = protocol.refs(body)
    tags = newest_tags(refs, Range.parse(wanted.semver))
    if len(tags) > 1:
        raise Unfit("several tags are of the newest version")  # the times of their commits decide, so all of them are needed
    sees_hint = any(wanted.hint in (ref.id, ref.commit) for ref in refs.values())
    return _Found(ref=refs[TAGS + tags[0]], label=tags[0], sees_hint=sees_hint) if tags else None


def _settled(request: Request, here: _Here, found: _Found, pack: bytes | None, stopped: Callable[[], bool]) -> Fetched:
    """Store what came, move the private ref, say what it leads to. A commit that is not whole is never named by a ref."""
    repo, private, ref = _open(request), PRIVATE + request.uid, found.ref
    if pack is not None:
        land(repo, read(pack, lambda id_, most: stored(repo, id_, most)), ref.commit, beside=here.before or next(iter(here.tips), ""))
    if stopped():
        raise Unfit("nobody waits any more")
    if ref.commit != here.before:
        admit(repo, ref.commit)
        repo.references.create(private, ref.commit, force=True)
        depth.forget_history(repo)
    tree, subject, author = described(repo, ref.commit)
    hint = request.wanted.hint
    return Fetched(
        store=request.store,
        commit=ref.commit,
        before=here.before,
        tree=tree,
        subject=subject,
        author=author,
        is_behind=bool(hint) and not found.sees_hint and hint not in repo,
        label=found.label,
    )
