"""How a run of a source ends early, and how it ends well: values between the reconciler of any kind and its status."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from service.kinds import meta
from service.kinds.meta import Condition
from service.kinds.source import Artifact


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a run ended early: `condition` is FetchFailed, StorageOperationFailed, SourceVerified (False then), another of the
    kind's, or "" (the object is wrong).

    `stalls`: only a change of the object helps. `revision`: what was found and could not be stored. `quiet`: the status tells, no event
    does: what is missing is under way.
    """

    condition: str
    reason: str
    message: str
    stalls: bool = False
    revision: str = ""
    quiet: bool = False


class NotYet(Exception):
    """The run must wait for something that is about to come, which runs the object again; the status stays as it is."""


class EndedEarly(Exception):
    """A run ended with a failure that the object's status tells."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure

    @classmethod
    def fetch(cls, reason: str, message: str, *, stalls: bool = False) -> "EndedEarly":
        """The remote, or the way to it."""
        return cls(Failure(condition=meta.FETCH_FAILED, reason=reason, message=message, stalls=stalls))

    @classmethod
    def damaged(cls, error: Exception, revision: str = "") -> "EndedEarly":
        """What is stored here: it is made anew by the next run."""
        why = f"the local store was damaged and is made anew: {error}"
        return cls(Failure(condition=meta.STORAGE_FAILED, reason=meta.ARCHIVE_FAILED, message=why, revision=revision))

    @classmethod
    def unverified(cls, message: str, revision: str) -> "EndedEarly":
        """The content is not signed as asked for."""
        return cls(Failure(condition=meta.SOURCE_VERIFIED, reason=meta.VERIFICATION_ERROR, message=message, revision=revision))

    @classmethod
    def invalid(cls, message: str, *, reason: str = meta.VALIDATION_FAILED) -> "EndedEarly":
        """The object itself: it stalls."""
        return cls(Failure(condition="", reason=reason, message=message, stalls=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A success: `ready` is what Ready says, `news` what the event of a new artifact says.

    `status` holds the kind's own status fields (None deletes), `conditions` its own ones, such as SourceVerified.
    """

    artifact: Artifact
    ready: str
    news: str
    reason: str = meta.SUCCEEDED
    status: Mapping[str, Any] = field(default_factory=dict, hash=False)
    conditions: tuple[Condition, ...] = ()
