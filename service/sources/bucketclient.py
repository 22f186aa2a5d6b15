"""What listings and reads of a bucket have in common, whoever holds it: see s3 and cloudbucket."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import BinaryIO, Protocol

from service.sources.fetcherror import HttpRefused

MEANING = {401: " (not allowed)", 403: " (not allowed)", 404: " (not found)", 429: " (too many requests)", 503: " (busy)"}


class BucketError(HttpRefused):
    """The object store refused or is away; the message holds nothing that it said."""


class NotThere(BucketError):
    """An object is not what was listed any more."""

    def __init__(self, key: str) -> None:
        super().__init__(f"the object '{key}' has changed since it was listed; the next run takes what is there then")


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """One object: `etag` is without quotes, "" where the store has none; `size` in bytes."""

    key: str
    etag: str
    size: int


class BucketClient(Protocol):
    """One bucket for one run."""

    def list(self, prefix: str) -> AsyncIterator[list[Listed]]:
        """The objects below a prefix, some at a time; what only looks like a folder is left out. Raises BucketError."""

    async def read(self, wanted: Listed, target: BinaryIO) -> None:
        """Write the object that was listed to a file, whole. Raises NotThere, BucketError, OSError where the disk is full."""
