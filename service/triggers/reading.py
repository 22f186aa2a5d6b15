"""Verified bodies -> events: here what is small, in a worker process what is not, so that no body holds up the others.

In: the pieces of a body that is signed. Out: its events, with what the Receiver's expressions read of it where they read something. What an
event is: `receivers/`.
"""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path

from receivers import RECEIVERS
from receivers.contract import Delivery, Event, Sender
from service.triggers.filters import LONGEST_BODY, packed
from service.triggers.refusals import NotStored, TooLarge
from service.triggers.spool import Spool
from service.workers import Workers

INLINE_BYTES = 64 * 1024  # what is made to be slow takes some milliseconds at this size: more is parsed in a worker process
INLINE_FORM_BYTES = 32 * 1024  # undoing the percent signs takes ten times as long
PARSE_TIMEOUT = timedelta(seconds=8)  # GitHub waits for ten


class Reading:
    """Where bodies are read."""

    def __init__(self, workers: Workers, spool: Spool) -> None:
        self._workers = workers
        self._spool = spool

    async def events(
        self, sender: Sender, headers: Mapping[str, str], pieces: Sequence[bytes], claims: Mapping[str, object] | None
    ) -> tuple[Event, ...]:
        """Return the events of a body; with `claims`, also what filters read. Raises BadPayload, TooLarge, NotStored."""
        size = sum(map(len, pieces))
        if claims is not None and size > LONGEST_BODY:
            raise TooLarge(f"the body has {size} bytes: filters read up to {LONGEST_BODY}")
        is_form = headers.get("content-type", "").lower().startswith("application/x-www-form-urlencoded")
        if size <= (INLINE_FORM_BYTES if is_form else INLINE_BYTES):
            return _read(sender, Delivery(headers=headers, body=b"".join(pieces)), claims)
        try:
            async with asyncio.timeout(PARSE_TIMEOUT.total_seconds()), self._spool.file(pieces) as path:
                work = (sender.type, dict(headers), path, None if claims is None else dict(claims))
                return await self._workers.run(read_file, *work, timeout=PARSE_TIMEOUT)
        except TimeoutError as error:
            raise NotStored(f"no worker process has read the body within {PARSE_TIMEOUT.total_seconds():g} s") from error
        except OSError as error:  # the disk is full, or the worker process died
            raise NotStored(str(error)) from error


def read_file(sender_type: str, headers: Mapping[str, str], path: Path, claims: Mapping[str, object] | None) -> tuple[Event, ...]:
    """Return the events of a verified body in a file; runs in a worker process. Raises BadPayload."""
    return _read(RECEIVERS[sender_type], Delivery(headers=headers, body=path.read_bytes()), claims)


def _read(sender: Sender, delivery: Delivery, claims: Mapping[str, object] | None) -> tuple[Event, ...]:
    events = sender.read(delivery)
    return events if claims is None else (*events, packed(delivery.headers, delivery.body, claims))
