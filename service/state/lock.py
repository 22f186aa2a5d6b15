"""One process for a state folder: an flock on `lock`, which the kernel drops when the process ends, however it ends.

The file's text says who holds it, for the message that a second start prints. https://man7.org/linux/man-pages/man2/flock.2.html
"""

import fcntl
import json
import os
import socket
from pathlib import Path

from service.state import moments
from service.state.errors import StateLocked, StateUnwritable

_TEXT_LIMIT = 4096


class FolderLock:
    """Held from `take` to `release`."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    @classmethod
    def take(cls, folder: Path) -> "FolderLock":
        """Lock the folder. Raises StateLocked with the holder, StateUnwritable where the file cannot be made."""
        path = folder / "lock"
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StateUnwritable(f"{path} cannot be opened: {error.strerror}; make the folder writable for this user") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = _holder(descriptor)
            os.close(descriptor)
            raise StateLocked(f"{folder} is in use by {holder}; stop that one, or start this one with another --state folder") from error
        except OSError as error:
            os.close(descriptor)
            raise StateUnwritable(f"{path} cannot be locked: {error.strerror}; put the state folder on a file system with flock") from error
        _write_holder(descriptor)
        return cls(descriptor)

    def release(self) -> None:
        """Let the next process in."""
        os.close(self._descriptor)


def _write_holder(descriptor: int) -> None:
    text = json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "since": moments.now().isoformat(timespec="seconds")})
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, text.encode(), 0)
    except OSError as error:
        os.close(descriptor)
        raise StateUnwritable(f"the lock file of the state folder cannot be written: {error.strerror}; free some space") from error


def _holder(descriptor: int) -> str:
    try:
        found = json.loads(os.pread(descriptor, _TEXT_LIMIT, 0))
        return f"process {found['pid']} on {found['host']} since {found['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
