"""What the last build of each Kustomization read and made. Lost with the file, and then built again."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from service.state.store import Connection, Store


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredBuild:
    """`fingerprint`: the caller's text; `reads`: token by read key; `digests`: digest by object id."""

    fingerprint: str
    reads: Mapping[str, str]
    digests: Mapping[str, str]


class Cache:
    """Builds by the uid of their Kustomization."""

    def __init__(self, store: Store) -> None:
        self._database, self._sql = store.cache, store.cache.statements("cache")

    async def get_build(self, uid: str) -> StoredBuild | None:
        """The stored build, or None."""
        row = await self._database.read(lambda connection: connection.execute(self._sql["get_build"], {"uid": uid}).fetchone())
        return None if row is None else StoredBuild(fingerprint=row[0], reads=json.loads(row[1]), digests=json.loads(row[2]))

    async def put_build(self, uid: str, fingerprint: str, reads: Mapping[str, str], digests: Mapping[str, str]) -> None:
        """Store a build in place of the last one. Raises as `Database.write` does."""
        row = {"uid": uid, "fingerprint": fingerprint, "reads": json.dumps(dict(reads)), "digests": json.dumps(dict(digests))}
        await self._run("put_build", row)

    async def move_build(self, uid: str, fingerprint: str) -> None:
        """Give a stored build another fingerprint; nothing happens where there is none."""
        await self._run("move_build", {"uid": uid, "fingerprint": fingerprint})

    async def drop(self, uid: str) -> None:
        """Forget a build, and how its objects stood."""
        await self._run("drop", {"uid": uid})
        await self._run("drop_managed", {"uid": uid})

    async def get_managed(self, uid: str) -> dict[str, list[object]]:
        """How the objects stood after the last run: the caller's list by object id; {} where that is not known."""
        row = await self._database.read(lambda connection: connection.execute(self._sql["get_managed"], {"uid": uid}).fetchone())
        found: dict[str, list[object]] = {} if row is None else json.loads(row[0])
        return found

    async def put_managed(self, uid: str, objects: Mapping[str, Sequence[object]]) -> None:
        """Store that in place of the last one. Raises as `Database.write` does."""
        await self._run("put_managed", {"uid": uid, "objects": json.dumps(dict(objects), separators=(",", ":"))})

    async def _run(self, name: str, values: Mapping[str, object]) -> None:
        def work(connection: Connection) -> None:
            connection.execute(self._sql[name], values)

        await self._database.write(work)
