"""How replicas that share a database tell each other that there is something to do, so that nobody has to look again and again.

In: short texts from any replica. Out: `on_ring` with each text of another replica, and with "" after every connection that was made anew
and every POLL, for what nobody could be told of. A text that is lost costs time, nothing else: what it tells of is stored.
https://www.postgresql.org/docs/current/sql-notify.html
"""

import asyncio
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import timedelta

from service.state.errors import StateError
from service.state.postgres import Client, PostgresLink

POLL = timedelta(seconds=10)
AGAIN = timedelta(seconds=1)


class Bell:
    """A room's work with a connection of its own; it also finds out that the server is away, or back, where nobody asks it anything."""

    def __init__(self, link: PostgresLink, sql: Mapping[str, str]) -> None:
        self._link, self._sql = link, sql
        self._out: dict[str, None] = {}
        self._woken, self._looked_at = asyncio.Event(), 0.0
        self.on_ring: Callable[[str], None] = _nobody

    def ring(self, text: str) -> None:
        """Tell the others, soon. Equal texts that wait are one."""
        self._out[text] = None
        self._woken.set()

    async def run(self) -> None:
        """Until cancelled."""
        try:
            while True:
                try:
                    await self._listen()
                except StateError:  # whose link has said so
                    await asyncio.sleep(AGAIN.total_seconds())
        finally:
            self._link.close()

    async def _listen(self) -> None:
        client = await asyncio.to_thread(self._listening)
        loop = asyncio.get_running_loop()
        socket = os.dup(
            client.fileno()
        )  # the client closes its own whenever the server goes, and the loop must not mistake the next for it
        loop.add_reader(socket, self._woken.set)
        try:
            self.on_ring("")
            self._looked_at = loop.time()
            while True:
                for text in await self._next(client):
                    self.on_ring(text)
        finally:
            loop.remove_reader(socket)
            os.close(socket)

    def _listening(self) -> Client:
        client = self._link.opened()
        client.listens()
        self._ask(client, "hear")
        return client

    async def _next(self, client: Client) -> list[str]:
        """Say what is to be said and return what has come; after POLL see whether the server is there, and return "", too."""
        now, again = asyncio.get_running_loop().time, self._looked_at + POLL.total_seconds()
        with suppress(TimeoutError):
            async with asyncio.timeout_at(again):
                await self._woken.wait()
        if now() >= again:
            await asyncio.to_thread(self._ask, client, "alive")
            self._looked_at = now()
            return ["", *self._heard(client)]
        self._woken.clear()
        while self._out:
            text = next(iter(self._out))
            await asyncio.to_thread(self._ask, client, "ring", text=text)
            self._out.pop(text, None)
        return self._heard(client)

    def _heard(self, client: Client) -> list[str]:
        """What has come from others. Raises StateAway."""
        try:
            return client.heard()
        except Exception as error:
            raise self._link.translated(error) from error

    def _ask(self, client: Client, name: str, **values: str) -> None:
        try:
            client.execute(self._sql[name], values or None)
        except Exception as error:
            raise self._link.translated(error) from error


def _nobody(_text: str) -> None:
    """Nobody listens yet."""
