"""A fetch in a process of its own: the one place where a private CA or an ssh host key is trusted, and gone when the fetch has ended.

libgit2 knows one set of trusted certificates per process and its certificate callback does not show the chain through pygit2, so trust that
is meant for one remote needs a process. Costs about 20 ms a fetch (forkserver) while the program's main module
imports little, since each child imports that again; killing it ends the work at once.
"""

import asyncio
import multiprocessing
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from multiprocessing.connection import Connection

from service.sources.fetcherror import FetchError, RemoteFailed
from service.sources.ssh import is_ssh, trust_hosts
from service.sources.transfer import Fetched, Request, prepare, transfer, trust
from service.workers import PRELOAD


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """`connect`: until a connection stands; `silence`: without any data from the remote. Both end libgit2's own waiting.

    `objects`: what an ordinary push brings at most; more than that is taken for history and not fetched.
    """

    connect: timedelta = timedelta(seconds=10)
    silence: timedelta = timedelta(seconds=30)
    objects: int = 2_000


async def in_process(request: Request, limits: Limits) -> Fetched:
    """Run the fetch in a fresh process that trusts the request's CA or host keys. Cancelling kills it. Raises a FetchError."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["__main__", *PRELOAD, __name__]
    )  # without effect where the workers have started the fork server already
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_fetch, args=(theirs, request, limits), daemon=True, name="git-fetch")
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    try:
        await asyncio.to_thread(process.start)
        theirs.close()
        loop.add_reader(ours.fileno(), readable.set)
        await readable.wait()
        result = ours.recv()
    except EOFError:
        raise RemoteFailed("the process of the fetch died, probably out of memory; the fetch is tried again") from None
    finally:
        loop.remove_reader(ours.fileno())
        ours.close()
        if process.pid is not None:
            process.kill()
            await asyncio.to_thread(process.join, 1)
    if isinstance(result, FetchError):
        raise result
    assert isinstance(result, Fetched)
    return result


def _fetch(answer: Connection, request: Request, limits: Limits) -> None:
    try:
        prepare(limits.connect, limits.silence)
        if is_ssh(request.url):
            trust_hosts(request.store, request.credentials.known_hosts)
        else:
            trust(request.credentials.ca)
        result: Fetched | FetchError = transfer(request, lambda: False)
    except FetchError as error:
        result = error
    except Exception as error:  # noqa: BLE001 - told to the parent, which has nothing else to show
        result = RemoteFailed(f"the fetch broke: {type(error).__name__}")
    with suppress(BrokenPipeError):
        answer.send(result)
