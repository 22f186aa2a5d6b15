"""How each managed object stood after our last write or look: what the watches compare with. Small: some hundred bytes an object.

In: what an apply or a prune did to each object. Out: what drift is judged by. Stored beside the record, in the file that may be deleted.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from sys import intern
from typing import Literal

from service.cluster.inventory import BadEntry, ObjectId, parse
from service.cluster.managed import Stand
from service.kinds.meta import ObjectKey

Mode = Literal["interval", "watch", "report"]
MODES: tuple[Mode, ...] = ("interval", "watch", "report")


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """`digest` is of the manifest that was applied; `left` are the words about drift that is left alone, "" without any."""

    api_version: str
    stand: Stand
    digest: str
    left: str = ""


class Standings:
    """By Kustomization and object id."""

    def __init__(self) -> None:
        self._of: dict[ObjectKey, dict[str, Standing]] = {}

    def get(self, key: ObjectKey, id: str) -> Standing | None:
        """None where nothing is known."""
        return self._of.get(key, {}).get(id)

    def all(self, key: ObjectKey) -> Iterator[tuple[str, Standing]]:
        """All of one Kustomization."""
        yield from self._of.get(key, {}).items()

    def put(self, key: ObjectKey, id: str, standing: Standing) -> None:
        self._of.setdefault(key, {})[id] = standing

    def drop(self, key: ObjectKey, id: str) -> None:
        self._of.get(key, {}).pop(id, None)

    def knows(self, key: ObjectKey, ids: Iterable[str]) -> bool:
        """Whether there is one for each."""
        known = self._of.get(key, {})
        return all(id in known for id in ids)

    def forget(self, key: ObjectKey) -> Collection[str]:
        """The Kustomization is gone; returns the ids."""
        return self._of.pop(key, {}).keys()

    def forget_all(self) -> None:
        self._of.clear()

    def to_json(self, key: ObjectKey) -> dict[str, list[object]]:
        return {
            id: [each.api_version, each.stand.version, each.stand.owned, each.stand.around, each.stand.mode, each.digest, each.left]
            for id, each in self.all(key)
        }

    def load(self, key: ObjectKey, stored: Mapping[str, list[object]]) -> None:
        """Take over what `to_json` made, unless something newer is known. Raises ValueError, TypeError for another form."""
        if key in self._of:
            return
        read: dict[str, Standing] = {}
        for id, (api_version, version, owned, around, mode, digest, left) in stored.items():
            stand = Stand(version=int(str(version)), owned=str(owned), around=str(around), mode=intern(str(mode)))
            read[id] = Standing(api_version=intern(str(api_version)), stand=stand, digest=str(digest), left=str(left))
        self._of[key] = read


def object_of(id: str, api_version: str) -> ObjectId | None:
    """The object of an inventory id, None where it is none."""
    try:
        return parse(id, api_version.rpartition("/")[2])
    except BadEntry:
        return None
