"""One new commit of a large repository: sluice's fetch beside that of the git binary, by turns in the same run.

Makes a repository of FILES files and COMMITS commits, serves it by `git http-backend` on loopback, pushes a change of one file, fetches it
in both ways, and again. Prints the medians, their ratio, and how much the memory of this process has grown after the first fetch.
Run: python -m tests.benchmarks.fetch [--files 100000] [--commits 10000] [--trials 15]
"""

import argparse
import asyncio
import multiprocessing
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

from service.gitserver import GitServer
from service.kinds.source import GitRef
from service.sources.credentials import Credentials
from service.sources.gitref import wanted
from service.sources.gitstore import GitStore
from service.sources.smart import Smart

WHO = "Ada <ada@example.com>"
A_FOLDER = 100
CLEAN = {**os.environ, "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_TERMINAL_PROMPT": "0"}
LIMIT = timedelta(minutes=5)


def git(folder: Path, *words: str, data: bytes | None = None) -> str:
    done = subprocess.run(("git", *words), cwd=folder, input=data, capture_output=True, env=CLEAN, check=True)
    return done.stdout.decode().strip()


def name_of(number: int) -> str:
    return f"teams/{number // A_FOLDER // 100}/{number // A_FOLDER}/file{number}.yaml"


def stream(files: int, commits: int) -> Iterator[bytes]:
    """The input of git fast-import: all files at once, then one file a commit."""
    for number in range(commits):
        changed = range(files) if number == 0 else (number * 7919 % files,)
        yield b"commit refs/heads/main\ncommitter %s %d +0000\ndata 6\nchange\n" % (WHO.encode(), 1_700_000_000 + number)
        for each in changed:
            text = f"name: file{each}\nvalue: {number}\n".encode()
            yield b"M 100644 inline %s\ndata %d\n%s\n" % (name_of(each).encode(), len(text), text)


def change(bare: Path, number: int, files: int) -> str:
    """Push one more commit; returns its id."""
    text = f"name: changed\nvalue: again {number} {time.time_ns()}\n".encode()
    head = b"commit refs/heads/main\ncommitter %s %d +0000\ndata 6\nchange\nfrom refs/heads/main^0\n" % (WHO.encode(), int(time.time()))
    body = b"M 100644 inline %s\ndata %d\n%s\n" % (name_of(number * 104_729 % files).encode(), len(text), text)
    git(bare, "fast-import", "--quiet", data=head + body)
    return git(bare, "rev-parse", "main")


def memory_mib() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def serve(root: Path, port: "multiprocessing.Queue[str]") -> None:
    async def forever() -> None:
        async with GitServer(root=root).serving() as url:
            port.put(url)
            await asyncio.Event().wait()

    asyncio.run(forever())


async def measure(root: Path, url: str, options: argparse.Namespace) -> None:
    bare, clone = root / "fleet.git", root / "clone.git"
    git(root, "clone", "-q", "--bare", "--depth", "1", url, str(clone))
    smart = Smart()
    store = GitStore(root / "state", smart=smart)
    ours: list[float] = []
    hinted: list[float] = []
    theirs: list[float] = []

    async def fetch(hint: str = "") -> float:
        begun = time.perf_counter()
        got = await store.fetch(
            uid="u1", url=url, credentials=Credentials(), wanted=wanted(GitRef(branch="main")).hinted([hint]), timeout=LIMIT
        )
        taken = time.perf_counter() - begun
        assert got.commit == await asyncio.to_thread(git, bare, "rev-parse", "main")
        return taken

    first = await fetch()
    await asyncio.to_thread(change, bare, 1, options.files)
    await fetch()
    before = memory_mib()
    for trial in range(2, 2 * options.trials + 2):
        commit = await asyncio.to_thread(change, bare, trial, options.files)
        if trial % 2:
            ours.append(await fetch())
        else:
            hinted.append(await fetch(commit))
        begun = time.perf_counter()
        await asyncio.to_thread(git, clone, "fetch", "-q", url, "main")
        theirs.append(time.perf_counter() - begun)
    await smart.close()
    grown = memory_mib() - before
    mine, named, other = (statistics.median(each) * 1000 for each in (ours, hinted, theirs))
    print(f"first fetch, no history: {first:.2f} s")
    print(f"git fetch: {other:.1f} ms; sluice: {mine:.1f} ms (x {mine / other:.2f})")
    print(f"sluice when a push has named the commit: {named:.1f} ms (x {named / other:.2f})")
    print(f"memory after the first: {before:.0f} MiB, grown by {grown:.1f} MiB over {2 * options.trials} fetches")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--commits", type=int, default=10_000)
    parser.add_argument("--trials", type=int, default=15)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fetch-") as folder:
        root = Path(folder)
        git(root, "init", "-q", "--bare", "-b", "main", "fleet.git")
        with subprocess.Popen(("git", "fast-import", "--quiet"), cwd=root / "fleet.git", stdin=subprocess.PIPE, env=CLEAN) as load:
            assert load.stdin is not None
            load.stdin.writelines(stream(options.files, options.commits))
        spawn = multiprocessing.get_context("spawn")
        port = spawn.Queue()
        server = spawn.Process(target=serve, args=(root, port), daemon=True)
        server.start()
        try:
            asyncio.run(measure(root, port.get(timeout=60) + "/fleet.git", options))
        finally:
            server.kill()
            server.join()


if __name__ == "__main__":
    main()
