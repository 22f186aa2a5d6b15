"""The Git server of the demo and the tests: a request that is cut off leaves nothing behind."""

import asyncio
import gc
import os
import warnings
from pathlib import Path

import aiohttp
import pytest

from service.gitserver import GitServer

SLOW = "#!/bin/sh\nsleep 1.5\nprintf 'Status: 200 OK\\r\\n\\r\\nlate'\n"  # longer than the server waits for its requests at its end


def test_a_fetch_that_the_end_cuts_off_leaves_no_process_and_no_open_pipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop ends in the middle of it, as that of a test does. Some 1.6 s, of git's."""
    git = tmp_path / "git"
    git.write_text(SLOW)
    git.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    async def cut_off() -> None:
        async with GitServer(root=tmp_path).serving() as url, aiohttp.ClientSession() as session:
            request = asyncio.create_task(session.get(f"{url}/a.git/info/refs"))
            await asyncio.sleep(0.1)
            request.cancel()
            await asyncio.gather(request, return_exceptions=True)

    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        asyncio.run(cut_off())
        gc.collect()
    assert [str(each.message) for each in said if "subprocess" in str(each.message)] == []
    listed = " ".join(file.read_text() for file in Path("/proc/self/task").glob("*/children")).split()
    running = [Path(f"/proc/{pid}/comm") for pid in listed]
    assert not {"git", "sleep"} & {each.read_text().strip() for each in running if each.exists()}
