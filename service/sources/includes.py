"""spec.include of a GitRepository: the names in, the snapshots that are included out, or why one cannot be.

What is included is what the other object has published last, so that its push is here at once; its status follows a moment later.
https://github.com/fluxcd/source-controller/blob/main/docs/spec/v1/gitrepositories.md#include
"""

from dataclasses import dataclass, replace

from service.kinds import meta
from service.kinds.codec import Invalid, decode
from service.kinds.meta import SOURCE_GROUP, ObjectKey
from service.kinds.source import GitInclude, GitRepository
from service.sources.failure import EndedEarly, Failure, NotYet
from service.sources.objects import Objects
from service.sources.reconciler import Needs
from service.sources.snapshot import Snapshot

INCLUDE = "include"
"""The reason of a trigger: something that the object includes has moved."""
MOST_FOLLOWED = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Included:
    """One of spec.include, with the object that it names and what of that is built from now."""

    spec: GitInclude
    found: GitRepository
    snapshot: Snapshot


class Includes:
    """Looks up what objects include."""

    def __init__(self, needs: Needs) -> None:
        self._objects = Objects(needs.cluster, needs.discovery, needs.read)
        self._published = needs.published

    async def of(self, found: GitRepository) -> tuple[Included, ...]:
        """Return what is included, in the order of spec.include. Raises EndedEarly, NotYet, ApiError, ApiAway."""
        if found.spec.include:
            await self._check_loop(found)
        return tuple([await self._one(found, each) for each in found.spec.include])

    async def _one(self, found: GitRepository, spec: GitInclude) -> Included:
        key = replace(found.key, name=spec.repository)
        other = await self._read(key)
        if other is None:
            why = f"could not get resource for include '{key.name}': gitrepositories.{SOURCE_GROUP} \"{key.name}\" not found"
            raise EndedEarly(Failure(condition=meta.INCLUDE_UNAVAILABLE, reason=meta.NOT_FOUND, message=why))
        snapshot = self._published.get(key)
        if snapshot is None and other.status.artifact is not None:
            raise NotYet(f"{key} has not been fetched since the start")
        if snapshot is None:
            why = f"no artifact available for include '{key.name}'"
            raise EndedEarly(Failure(condition=meta.INCLUDE_UNAVAILABLE, reason=meta.NO_ARTIFACT, message=why, quiet=True))
        return Included(spec=spec, found=other, snapshot=snapshot)

    async def _check_loop(self, found: GitRepository) -> None:
        """Two that include each other would make each other new for ever. Raises EndedEarly."""
        way: dict[str, str] = {each.repository: found.metadata.name for each in found.spec.include}
        to_follow = list(way)
        while to_follow and len(way) <= MOST_FOLLOWED:
            name = to_follow.pop(0)
            if name == found.metadata.name:
                raise EndedEarly(
                    Failure(
                        condition=meta.INCLUDE_UNAVAILABLE,
                        reason=meta.INCLUDE_LOOP,
                        message=f"spec.include leads back to this object: {_loop(way, name)}; remove one of them",
                        stalls=True,
                    )
                )
            other = await self._read(replace(found.key, name=name))
            for each in other.spec.include if other is not None else ():
                if each.repository not in way:
                    way[each.repository] = name
                    to_follow.append(each.repository)

    async def _read(self, key: ObjectKey) -> GitRepository | None:
        raw = await self._objects.get(key)
        try:
            return decode(GitRepository, raw) if raw is not None else None
        except Invalid as error:
            why = f"could not get resource for include '{key.name}': {error}"
            raise EndedEarly(Failure(condition=meta.INCLUDE_UNAVAILABLE, reason=meta.NOT_FOUND, message=why)) from error


def _loop(way: dict[str, str], name: str) -> str:
    """`a -> b -> a`, from who is included by whom."""
    found, at = [name], way[name]
    while at != name:
        found.append(at)
        at = way[at]
    return " -> ".join([name, *reversed(found[1:]), name])
