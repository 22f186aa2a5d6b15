"""Hook path -> Receiver and its token, kept in memory, so that a delivery costs no request to the API server.

In: the watch of Receivers, Secrets read one by one. Out: `find(path)`. A Secret is read when its Receiver appears or changes, when a Secret
that is labelled to be watched changes, when the interval is over, and once more when a signature does not fit. The path is Flux's:
https://fluxcd.io/flux/components/notification/receivers/#webhook-path
"""

import asyncio
import hashlib
import logging
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from receivers import RECEIVERS
from receivers.contract import Credentials, Sender
from service.cluster.client import ApiAway, ApiError, Cluster
from service.cluster.watch import Change
from service.kinds.codec import Invalid, decode, refused_fields
from service.kinds.meta import NOTIFICATION_GROUP, ObjectKey
from service.kinds.notification import TYPE_ANNOTATION, Receiver
from service.networks import Networks
from service.outbound import Outbound
from service.triggers.certificates import Certificates
from service.triggers.credentials import Held, NoToken, held_for
from service.triggers.filters import ERRORS_ANNOTATION, Filters, filters_of
from service.triggers.issuers import Issuers
from service.triggers.keys import Keys
from service.triggers.oidc import Rules, rules_of
from service.triggers.problems import ALLOW_ANNOTATION, allowed_by, expression_problem, problem_of
from service.triggers.refusals import Unavailable

log = logging.getLogger(__name__)

AGAIN_AFTER_MISMATCH = timedelta(seconds=10)  # a caller without the token must not make us ask the API server at will
RETRY = timedelta(seconds=1)
LONGEST_RETRY = timedelta(seconds=60)
AT_ONCE = 8
PREFIX = "/hook/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A Receiver that has a path. `problem` says why it takes no deliveries all the same, "" where it does."""

    receiver: Receiver
    sender: Sender | None
    read_at: float
    problem: str = ""
    filters: Filters = field(default_factory=Filters)
    rules: Mapping[str, Rules] = field(default_factory=dict)
    held: Held
    allowed: Networks = ()

    @property
    def key(self) -> ObjectKey:
        """The Receiver's name."""
        return self.receiver.key

    @property
    def path(self) -> str:
        """Where the sender delivers to."""
        return webhook_path(self.held.current.token, self.key.name, self.key.namespace)

    @property
    def previous_path(self) -> str:
        """Where it may still deliver to, made from the former token; "" without one."""
        return webhook_path(self.held.previous.token, self.key.name, self.key.namespace) if self.held.previous is not None else ""

    @property
    def takes_previous(self) -> bool:
        """Whether the former token still counts."""
        return self.held.until is not None and datetime.now(UTC) < self.held.until

    def check(self) -> None:
        """Raises Unavailable where it takes no deliveries as it is."""
        if self.receiver.spec.suspend:
            raise Unavailable("the Receiver is suspended: set spec.suspend to false")
        if self.problem or self.sender is None:
            raise Unavailable(self.problem)


def webhook_path(token: bytes, name: str, namespace: str) -> str:
    """Return Flux's path: the SHA-256 of token, name and namespace, one after the other."""
    return PREFIX + hashlib.sha256(token + name.encode() + namespace.encode()).hexdigest()


class ReceiverIndex:
    """Fed by `seen` and `secret_seen`; a room: `run` reads what must be read. `objects` is the watch's cache of Receivers."""

    name = "triggers.index"

    def __init__(
        self,
        cluster: Cluster,
        objects: Mapping[tuple[str, str], Mapping[str, Any]],
        *,
        keys: Keys | None = None,
        outbound: Outbound | None = None,
    ) -> None:
        self.keys = keys or Keys()
        self.issuers = Issuers(outbound or Outbound())
        self.certificates = Certificates(outbound or Outbound())
        self._cluster = cluster
        self._objects = objects
        self._by_path: dict[str, dict[ObjectKey, Entry]] = defaultdict(dict)
        self._entries: dict[ObjectKey, Entry] = {}
        self._by_secret: dict[tuple[str, str], set[ObjectKey]] = defaultdict(set)
        self._secret_of: dict[ObjectKey, tuple[str, str]] = {}
        self._dirty: dict[ObjectKey, None] = {}
        self._unread: set[ObjectKey] = set()
        self._looked_at: set[ObjectKey] = set()
        self._mismatches: dict[ObjectKey, float] = {}
        self._failures: dict[ObjectKey, int] = {}
        self._wake = asyncio.Event()
        self._stopping = False

    @property
    def is_complete(self) -> bool:
        """Whether every Receiver that was seen has been looked at once: without that, an unknown path proves nothing."""
        return not self._unread

    def find(self, path: str) -> Entry | None:
        """Return the Receiver at a path. Where its Secret was read longer ago than its interval, that is done again in the background."""
        held = self._by_path.get(path)
        if not held:
            return None
        entry = held[min(held)]
        if path == entry.previous_path and not entry.takes_previous:
            return None
        if _now() - entry.read_at > max(entry.receiver.spec.interval.total_seconds(), 1):
            self._mark(entry.key)
        return entry

    def seen(self, change: Change) -> None:
        """A Receiver appeared, changed or is gone. Its own status writes cost nothing."""
        key = _key(change.object)
        if change.type == "DELETED":
            self._forget(key)
            return
        if change.old is not None and key in self._looked_at and _same(change.old, change.object):
            return
        if key not in self._entries:
            self._unread.add(key)
        self._mark(key)

    def secret_seen(self, change: Change) -> tuple[ObjectKey, ...]:
        """A watched Secret changed: return the Receivers that it belongs to, whose tokens are read again."""
        metadata = change.object.get("metadata") or {}
        keys = tuple(sorted(self._by_secret.get((metadata.get("namespace", ""), metadata.get("name", "")), ())))
        for key in keys:
            self._mark(key)
        return keys

    async def load(self, key: ObjectKey) -> Entry | None:
        """Read the Secret of a Receiver now and return its entry, None where the Receiver is not there (or is being deleted).

        Raises Invalid, NoToken (the path is gone then), ApiAway, ApiError (the old path stays).
        """
        object_ = self._objects.get((key.namespace, key.name))
        if object_ is None or (object_.get("metadata") or {}).get("deletionTimestamp"):
            self._forget(key)
            return None
        try:
            receiver = decode(Receiver, object_)
            problem = problem_of(receiver, refused_fields(object_)) or expression_problem(receiver)
            self._remember(key, receiver)
            held = await held_for(self._cluster, receiver)
        except (Invalid, NoToken):
            self._drop(key)
            self._unread.discard(key)
            self._looked_at.add(key)
            raise
        except ApiError:
            self._unread.discard(key)
            raise
        entry = Entry(
            receiver=receiver,
            sender=RECEIVERS.get(receiver.spec.type),
            held=held,
            read_at=_now(),
            problem=problem,
            filters=Filters() if problem else filters_of(receiver),
            rules={} if problem else rules_of(receiver),
            allowed=() if problem else allowed_by(receiver),
        )
        if (key.namespace, key.name) in self._objects:  # it may have gone while the Secret was read
            self._put(entry)
        self._unread.discard(key)
        self._looked_at.add(key)
        self._failures.pop(key, None)
        return entry

    async def refreshed(self, entry: Entry) -> Entry | None:
        """The signature did not fit: return the entry with another token if the Secret holds one by now. Asks at most every ten seconds."""
        now = _now()
        if now - self._mismatches.get(entry.key, -1e9) < AGAIN_AFTER_MISMATCH.total_seconds():
            return None
        self._mismatches[entry.key] = now
        try:
            newer = await self.load(entry.key)
        except (Invalid, NoToken, ApiAway, ApiError):
            return None
        return newer if newer is not None and newer.held != entry.held else None

    def entry(self, key: ObjectKey) -> Entry | None:
        """The Receiver by its name, None where it has no path."""
        return self._entries.get(key)

    def entries(self) -> tuple[Entry, ...]:
        """All Receivers that have a path."""
        return tuple(self._entries.values())

    def credentials(self, entry: Entry) -> tuple[Credentials, ...]:
        """Return what a delivery to an entry is checked with, with the keys as they are now; more than one while its token is exchanged."""
        previous = (entry.held.previous,) if entry.held.previous is not None and entry.takes_previous else ()
        return tuple(self._with_keys(entry, each) for each in (entry.held.current, *previous))

    def _with_keys(self, entry: Entry, credentials: Credentials) -> Credentials:
        if entry.sender is not None and entry.sender.needs_keys:
            return replace(credentials, keys=self.keys.current)
        if entry.sender is not None and entry.sender.needs_topic:
            return replace(credentials, keys=self.certificates.current)
        if entry.rules:
            audiences = {url: rules.audience for url, rules in entry.rules.items()}
            return replace(credentials, issuers=self.issuers.issuers(audiences))
        return credentials

    def unknown_key(self, entry: Entry, key: str = "") -> None:
        """A token to an entry is signed with a key that is not known: ask for the keys again, at most once a minute."""
        if key:
            self.certificates.need(key)
        elif entry.rules:
            self.issuers.unknown(entry.rules)
        else:
            self.keys.unknown()

    async def run(self) -> None:
        """Read what is marked until stopped, and keep the keys of senders fresh."""
        async with asyncio.TaskGroup() as tasks:
            refreshing = [tasks.create_task(room.run(), name="keys") for room in (self.keys, self.issuers, self.certificates)]
            while not self._stopping:
                await self._wake.wait()
                self._wake.clear()
                await self._read_all()
            for each in refreshing:
                each.cancel()

    async def _read_all(self) -> None:
        keys, self._dirty = list(self._dirty), {}
        limit = asyncio.Semaphore(AT_ONCE)
        async with asyncio.TaskGroup() as tasks:
            for key in keys:
                tasks.create_task(self._read(key, limit), name=f"index {key}")

    def stop(self) -> None:
        """End `run` when what it reads is read."""
        self._stopping = True
        self._wake.set()

    async def _read(self, key: ObjectKey, limit: asyncio.Semaphore) -> None:
        async with limit:
            try:
                await self.load(key)
            except (Invalid, NoToken) as error:
                log.warning("the receiver takes no deliveries", extra={"object": str(key), "reason": str(error)})
            except (ApiAway, ApiError) as error:
                log.warning("the receiver's Secret cannot be read", extra={"object": str(key), "reason": str(error)})
                failures = self._failures[key] = self._failures.get(key, 0) + 1
                wait = min(LONGEST_RETRY, RETRY * 2 ** min(failures - 1, 10))
                asyncio.get_running_loop().call_later(wait.total_seconds(), self._mark, key)

    def _put(self, entry: Entry) -> None:
        self._drop(entry.key)
        self._entries[entry.key] = entry
        for path in filter(None, (entry.path, entry.previous_path)):
            self._by_path[path][entry.key] = entry

    def _drop(self, key: ObjectKey) -> None:
        entry = self._entries.pop(key, None)
        for path in filter(None, (entry.path, entry.previous_path)) if entry is not None else ():
            self._by_path[path].pop(key, None)
            if not self._by_path[path]:
                del self._by_path[path]

    def _forget(self, key: ObjectKey) -> None:
        self._drop(key)
        self._unread.discard(key)
        self._looked_at.discard(key)
        self._mismatches.pop(key, None)
        self._failures.pop(key, None)
        self._by_secret[self._secret_of.pop(key, ("", ""))].discard(key)
        self.issuers.name(key, ())

    def _remember(self, key: ObjectKey, receiver: Receiver) -> None:
        """Note whose keys and which Secret it needs."""
        sender = RECEIVERS.get(receiver.spec.type)
        if sender is not None and sender.needs_keys:
            self.keys.need()
        self.issuers.name(key, (provider.issuer_url for provider in receiver.spec.oidc_providers))
        self._by_secret[self._secret_of.pop(key, ("", ""))].discard(key)
        self._secret_of[key] = (receiver.metadata.namespace, receiver.spec.secret_ref or "")
        self._by_secret[self._secret_of[key]].add(key)

    def _mark(self, key: ObjectKey) -> None:
        self._dirty[key] = None
        self._wake.set()


def _key(object_: Mapping[str, Any]) -> ObjectKey:
    metadata = object_.get("metadata") or {}
    return ObjectKey(group=NOTIFICATION_GROUP, kind="Receiver", namespace=metadata.get("namespace", ""), name=metadata.get("name", ""))


def _same(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Whether nothing that the index reads is different."""
    return _read_parts(old) == _read_parts(new)


def _read_parts(object_: Mapping[str, Any]) -> tuple[Any, ...]:
    metadata = object_.get("metadata") or {}
    annotations = metadata.get("annotations") or {}
    told = (annotations.get(name) for name in (TYPE_ANNOTATION, ERRORS_ANNOTATION, ALLOW_ANNOTATION))
    return object_.get("spec"), metadata.get("deletionTimestamp"), *told


def _now() -> float:
    return asyncio.get_running_loop().time()
