"""Hook path -> Receiver and its token, kept in memory, so that a delivery costs no request to the API server.

In: the watch of Receivers, Secrets read one by one. Out: `find(path)`. A Secret is read when its Receiver appears or changes, when a Secret
that is labelled to be watched changes, when the interval is over, and once more when a signature does not fit. The path is Flux's:
https://fluxcd.io/flux/components/notification/receivers/#webhook-path
"""

import asyncio
import base64
import binascii
import hashlib
import logging
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any
from urllib.parse import quote

from receivers import RECEIVERS
from receivers.contract import Credentials, Sender
from service.cluster.client import ApiAway, ApiError, Cluster
from service.cluster.watch import Change
from service.kinds.codec import Invalid, decode, refused_fields
from service.kinds.meta import NOTIFICATION_GROUP, ObjectKey
from service.kinds.notification import FLUX_RECEIVER_TYPES, TYPE_ANNOTATION, Receiver
from service.triggers.keys import Keys

log = logging.getLogger(__name__)

READ_TIMEOUT = timedelta(seconds=10)
AGAIN_AFTER_MISMATCH = timedelta(seconds=10)  # a caller without the token must not make us ask the API server at will
RETRY = timedelta(seconds=1)
LONGEST_RETRY = timedelta(seconds=60)
AT_ONCE = 8
PREFIX = "/hook/"


class NoToken(Exception):
    """The Secret is missing, or has no usable `token`. The message says which and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A Receiver that has a path. `problem` says why it takes no deliveries all the same, "" where it does."""

    receiver: Receiver
    sender: Sender | None
    path: str = field(repr=False)
    credentials: Credentials
    read_at: float
    problem: str = ""

    @property
    def key(self) -> ObjectKey:
        """The Receiver's name."""
        return self.receiver.key


def webhook_path(token: bytes, name: str, namespace: str) -> str:
    """Return Flux's path: the SHA-256 of token, name and namespace, one after the other."""
    return PREFIX + hashlib.sha256(token + name.encode() + namespace.encode()).hexdigest()


def problem_of(receiver: Receiver, refused: tuple[str, ...]) -> str:
    """Return why a Receiver cannot be served by this version, with the field's name, or ""."""
    if refused:
        return f"{', '.join(refused)}: not carried out by this version of sluice; remove it, or let Flux serve this Receiver"
    sender = RECEIVERS.get(receiver.spec.type)
    if sender is None:
        return f"spec.type: {receiver.spec.type} is not carried out by this version of sluice; it knows {', '.join(RECEIVERS)}"
    if receiver.spec.events and sender.name is None and receiver.spec.type not in FLUX_RECEIVER_TYPES:  # Flux's own ignore it
        return f"spec.events: has no effect with the type {receiver.spec.type}, whose deliveries carry no event name; remove it"
    if receiver.spec.secret_ref is None:
        return f"spec.secretRef: needed by the type {receiver.spec.type}: name a Secret with the key token"
    return ""


class ReceiverIndex:
    """Fed by `seen` and `secret_seen`; a room: `run` reads what must be read. `objects` is the watch's cache of Receivers."""

    name = "triggers.index"

    def __init__(self, cluster: Cluster, objects: Mapping[tuple[str, str], Mapping[str, Any]], *, keys: Keys | None = None) -> None:
        self.keys = keys or Keys()
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
            problem = problem_of(receiver, refused_fields(object_))
            self._remember_secret(key, receiver)
            credentials = await self._credentials(receiver)
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
            path=webhook_path(credentials.token, key.name, key.namespace),
            credentials=credentials,
            read_at=_now(),
            problem=problem,
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
        return newer if newer is not None and newer.credentials != entry.credentials else None

    def credentials(self, entry: Entry) -> Credentials:
        """Return what a delivery to an entry is checked with, with the keys as they are now."""
        needs_keys = entry.sender is not None and entry.sender.needs_keys
        return replace(entry.credentials, keys=self.keys.current) if needs_keys else entry.credentials

    async def run(self) -> None:
        """Read what is marked until stopped, and keep the keys of senders fresh."""
        async with asyncio.TaskGroup() as tasks:
            refreshing = tasks.create_task(self.keys.run(), name="keys")
            while not self._stopping:
                await self._wake.wait()
                self._wake.clear()
                await self._read_all()
            refreshing.cancel()

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

    async def _credentials(self, receiver: Receiver) -> Credentials:
        namespace, name = receiver.metadata.namespace, receiver.spec.secret_ref
        if name is None:
            raise NoToken(f"spec.secretRef: needed by the type {receiver.spec.type}: name a Secret with the key token")
        try:
            path = f"/api/v1/namespaces/{quote(namespace, safe='')}/secrets/{quote(name, safe='')}"
            answer = await self._cluster.request("GET", path, timeout=READ_TIMEOUT)
        except ApiError as error:
            if not error.not_found:
                raise
            raise NoToken(f"Secret {namespace}/{name} is missing: create it with the key token") from error
        data = answer.body.get("data") or {}
        token = _decoded(data, "token", f"Secret {namespace}/{name}")
        if not token:
            raise NoToken(f"Secret {namespace}/{name} has no key token, or it is empty: put the hook's secret there")
        sender = RECEIVERS.get(receiver.spec.type)
        if sender is None or not sender.needs_keys:
            return Credentials(token=token)
        email, audience = (
            _decoded(data, key, f"Secret {namespace}/{name}").decode("utf-8", "replace").strip() for key in ("email", "audience")
        )
        if not email or not audience:
            raise NoToken(
                f"Secret {namespace}/{name} needs the keys email and audience: the push subscription's service account and audience"
            )
        self.keys.need()
        return Credentials(token=token, email=email, audience=audience)

    def _put(self, entry: Entry) -> None:
        self._drop(entry.key)
        self._entries[entry.key] = entry
        self._by_path[entry.path][entry.key] = entry

    def _drop(self, key: ObjectKey) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._by_path[entry.path].pop(key, None)
            if not self._by_path[entry.path]:
                del self._by_path[entry.path]

    def _forget(self, key: ObjectKey) -> None:
        self._drop(key)
        self._unread.discard(key)
        self._looked_at.discard(key)
        self._mismatches.pop(key, None)
        self._failures.pop(key, None)
        self._by_secret[self._secret_of.pop(key, ("", ""))].discard(key)

    def _remember_secret(self, key: ObjectKey, receiver: Receiver) -> None:
        self._by_secret[self._secret_of.pop(key, ("", ""))].discard(key)
        self._secret_of[key] = (receiver.metadata.namespace, receiver.spec.secret_ref or "")
        self._by_secret[self._secret_of[key]].add(key)

    def _mark(self, key: ObjectKey) -> None:
        self._dirty[key] = None
        self._wake.set()


def _decoded(data: Mapping[str, Any], key: str, named: str) -> bytes:
    """One value of a Secret, empty where it is not there. Raises NoToken."""
    try:
        return base64.b64decode(data.get(key) or b"", validate=True)
    except (binascii.Error, ValueError, TypeError) as error:
        raise NoToken(f"{named}: the key {key} is not base64") from error


def _key(object_: Mapping[str, Any]) -> ObjectKey:
    metadata = object_.get("metadata") or {}
    return ObjectKey(group=NOTIFICATION_GROUP, kind="Receiver", namespace=metadata.get("namespace", ""), name=metadata.get("name", ""))


def _same(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Whether nothing that the index reads is different."""
    return _read_parts(old) == _read_parts(new)


def _read_parts(object_: Mapping[str, Any]) -> tuple[Any, ...]:
    metadata = object_.get("metadata") or {}
    return object_.get("spec"), metadata.get("deletionTimestamp"), (metadata.get("annotations") or {}).get(TYPE_ANNOTATION)


def _now() -> float:
    return asyncio.get_running_loop().time()
