"""Bodies of accepted deliveries, where they are kept: to look at them, and to read them again when a delivery is replayed.

In: a body up to a size, with the few headers that say what it is, none of which is a secret. Out: the same, until newer ones take its
place. They are in cache.db: losing them loses no delivery.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from service.state.store import Connection, Store

TOTAL_BYTES = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptBody:
    """What was kept of one delivery."""

    headers: Mapping[str, str]
    body: bytes = field(repr=False)


class Bodies:
    """At most `total_bytes` of them, the newest. All methods raise as `Database.write` does."""

    def __init__(self, store: Store, *, total_bytes: int = TOTAL_BYTES) -> None:
        self._store, self._sql, self._oldest = store, store.cache.statements("log"), store.statements("inbox")["oldest"]
        self._total = total_bytes

    async def keep(self, row: int, trace: str, kept: KeptBody) -> None:
        """Keep the body of a delivery that is on disk."""
        values = {"row": row, "trace": trace, "headers": json.dumps(dict(kept.headers)), "body": kept.body}

        def work(connection: Connection) -> None:
            connection.execute(self._sql["keep_body"], values)
            connection.execute(self._sql["forget_bodies"], {"total": self._total})

        await self._store.cache.write(work)

    async def of(self, row: int, trace: str) -> KeptBody | None:
        """The body of a delivery, None where it was not kept. The trace tells it from that of a state folder that was here before."""
        values = {"row": row, "trace": trace}
        found = await self._store.cache.read(lambda connection: connection.execute(self._sql["body"], values).fetchone())
        return KeptBody(headers=json.loads(found[0]), body=found[1]) if found is not None else None

    async def tidy(self) -> None:
        """Forget the bodies of deliveries that are forgotten."""
        oldest = await self._store.read(lambda connection: connection.execute(self._oldest).fetchone()[0])

        def work(connection: Connection) -> None:
            connection.execute(self._sql["forget_orphans"], {"oldest": oldest})

        await self._store.cache.write(work)
