"""Notes of providers whose messages are changed later: where a message stands, which alarm is open.

In and out: texts under names, for each Provider. A note that nobody has renewed for KEEP_TIME is dropped.
"""

from collections.abc import Mapping
from datetime import timedelta

from service.kinds.meta import ObjectKey
from service.state import keys, moments
from service.state.store import Connection, Store

KEEP_TIME = timedelta(days=60)


class Notes:
    """Rows of `state.db`. Both methods raise as `Database.write` does."""

    def __init__(self, store: Store) -> None:
        self._store, self._sql = store, store.statements("held")

    async def recall(self, provider: ObjectKey, name: str) -> str | None:
        """The note, None where there is none."""
        values = {"provider": keys.to_stored(provider), "name": name}
        row = await self._store.read(lambda connection: connection.execute(self._sql["recall"], values).fetchone())
        return None if row is None else str(row[0])

    async def remember(self, provider: ObjectKey, notes: Mapping[str, str | None]) -> None:
        """Keep all of these, or none; None drops one."""
        now = moments.now()
        ours = {"provider": keys.to_stored(provider)}

        def work(connection: Connection) -> None:
            for name, body in notes.items():
                if body is None:
                    connection.execute(self._sql["drop_note"], ours | {"name": name})
                else:
                    connection.execute(self._sql["remember"], ours | {"name": name, "body": body, "now": moments.to_stored(now)})
            connection.execute(self._sql["forget_notes"], {"before": moments.to_stored(now - KEEP_TIME)})

        await self._store.write(work)
