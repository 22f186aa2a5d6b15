"""Large bodies on their way to a worker process: through a file, since a pipe would copy them under the interpreter's lock.

In: the pieces of a verified body. Out: a path that exists inside a `with`. What a killed process left behind goes with the first use.
"""

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

_AT_ONCE = 64  # pieces of one writev; Linux takes 1024
_SUFFIX = ".body"


class Spool:
    """A folder of its own, readable by the owner alone."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._is_clean = False

    @asynccontextmanager
    async def file(self, pieces: Sequence[bytes]) -> AsyncIterator[Path]:
        """Yield a file that holds the pieces, gone afterwards. Raises OSError where the disk refuses."""
        loop = asyncio.get_running_loop()
        path = await loop.run_in_executor(None, self._write, pieces)
        try:
            yield path
        finally:
            await loop.run_in_executor(None, path.unlink, True)

    def _write(self, pieces: Sequence[bytes]) -> Path:
        if not self._is_clean:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            for left in self._folder.glob(f"*{_SUFFIX}"):
                left.unlink(missing_ok=True)
            self._is_clean = True
        handle, name = tempfile.mkstemp(suffix=_SUFFIX, dir=self._folder)
        path = Path(name)
        try:
            for start in range(0, len(pieces), _AT_ONCE):
                _write_all(handle, list(pieces[start : start + _AT_ONCE]))
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        finally:
            os.close(handle)
        return path


def _write_all(handle: int, pieces: list[bytes]) -> None:
    """os.writev may take less than it is given."""
    while pieces:
        written = os.writev(handle, pieces)
        while pieces and written >= len(pieces[0]):
            written -= len(pieces.pop(0))
        if written:
            pieces[0] = pieces[0][written:]
