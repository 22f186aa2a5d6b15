"""Keys are fetched in the background: at once when needed, again when they are old or one is missed, never at will of strangers."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from service.triggers import keys
from service.triggers.keys import Keys
from tests.receivers.recordings import folder_of
from tests.triggers.scene import until

JWKS = json.dumps(json.loads((folder_of("gcr") / "credentials.json").read_text())["jwks"]).encode()


class Issuer:
    """Serves what `body` and `status` say, and counts."""

    def __init__(self) -> None:
        self.body, self.status, self.asked, self.caching = JWKS, 200, 0, "public, max-age=19000, must-revalidate"
        app = web.Application()
        app.router.add_get("/certs", self._answer)
        self._runner = web.AppRunner(app, access_log=None)
        self.url = ""

    async def _answer(self, _request: web.Request) -> web.Response:
        self.asked += 1
        return web.Response(body=self.body, status=self.status, headers={"Cache-Control": self.caching})

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Keys]:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0][:2]
        held = Keys(f"http://{host}:{port}/certs")
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(held.run(), name="keys")
            yield held
            running.cancel()
        await self._runner.cleanup()


async def test_nothing_is_fetched_until_a_receiver_needs_it() -> None:
    issuer = Issuer()
    async with issuer.serving() as held:
        await asyncio.sleep(0.05)
        assert (issuer.asked, held.current) == (0, ())
        held.need()
        await until(lambda: bool(held.current))
        assert [key.id for key in held.current] == ["throw-away"]
        held.need()
        await asyncio.sleep(0.05)
        assert issuer.asked == 1


async def test_a_missed_key_asks_again_but_not_at_will(monkeypatch: pytest.MonkeyPatch) -> None:
    issuer = Issuer()
    async with issuer.serving() as held:
        held.need()
        await until(lambda: bool(held.current))
        for _ in range(100):
            held.unknown()
        await asyncio.sleep(0.05)
        assert issuer.asked == 1
        monkeypatch.setattr(keys, "AGAIN_WHEN_UNKNOWN", keys.timedelta(0))
        held.unknown()
        await until(lambda: issuer.asked == 2)


@pytest.mark.parametrize("body", [b"", b"[]", b'{"keys": []}', b"{}", b"x" * (keys.MOST_BYTES + 1)])
async def test_old_keys_stay_while_the_issuer_answers_nonsense(monkeypatch: pytest.MonkeyPatch, body: bytes) -> None:
    monkeypatch.setattr(keys, "AGAIN_WHEN_UNKNOWN", keys.timedelta(0))
    monkeypatch.setattr(keys, "FIRST_RETRY", keys.timedelta(milliseconds=5))
    issuer = Issuer()
    async with issuer.serving() as held:
        held.need()
        await until(lambda: bool(held.current))
        issuer.body = body
        held.unknown()
        await until(lambda: issuer.asked >= 3)
        assert held.current
        issuer.body, before = JWKS, issuer.asked
        await until(lambda: issuer.asked > before)


async def test_an_issuer_that_is_away_is_asked_until_it_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "FIRST_RETRY", keys.timedelta(milliseconds=5))
    issuer = Issuer()
    issuer.status = 500
    async with issuer.serving() as held:
        held.need()
        await until(lambda: issuer.asked >= 3)
        assert held.current == ()
        issuer.status = 200
        await until(lambda: bool(held.current))


async def test_keys_are_forgotten_when_nobody_has_confirmed_them_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    issuer = Issuer()
    async with issuer.serving() as held:
        held.need()
        await until(lambda: bool(held.current))
        monkeypatch.setattr(keys, "FORGET", keys.timedelta(0))
        assert held.current == ()
