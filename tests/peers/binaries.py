"""Where the real peers lie: built by `tests/peers/build`, outside the clone.

In: a name. Out: its path below $SLUICE_PEERS (default ~/.cache/sluice-peers), or `NotBuilt`, whose message is the command that builds it.
"""

import os
from collections.abc import Iterable
from pathlib import Path


class NotBuilt(Exception):
    """A peer's binary is missing; the message says how to build it."""


def peers_folder() -> Path:
    """The folder that holds `bin/`."""
    return Path(os.environ.get("SLUICE_PEERS") or Path.home() / ".cache" / "sluice-peers")


def binary(name: str) -> Path:
    """The program's path. Raises NotBuilt."""
    path = peers_folder() / "bin" / name
    if not os.access(path, os.X_OK):
        raise NotBuilt(f"{name} is not built: run tests/peers/build {name} (needs Go)")
    return path


def folder_of(name: str) -> Path:
    """A folder of files that a program needs beside it. Raises NotBuilt."""
    path = peers_folder() / "bin" / name
    if not path.is_dir():
        raise NotBuilt(f"{name} is not there: run tests/peers/build {name.partition('.')[0]} (needs Go)")
    return path


def missing(names: Iterable[str]) -> str:
    """Why these programs cannot run, or "" if all are built."""
    for name in names:
        try:
            binary(name)
        except NotBuilt as error:
            return str(error)
    return ""
