"""What the API server refused, in Flux's words. Pure.

https://github.com/fluxcd/pkg/blob/main/ssa/errors/dryrun.go
"""

import re
from collections.abc import Sequence

from service.cluster.changes import ChangeSet
from service.cluster.client import ApiAway, ApiError, ClusterError
from service.cluster.inventory import ObjectId

SHOWN = 10
_IMMUTABLE = re.compile(
    r"immutable|may not be changed|may not change once set|cannot change roleRef|updates to [^;]*\bforbidden"
    r"|fields other than [^;]* are forbidden|is forbidden after creation",
    re.IGNORECASE | re.DOTALL,
)
_VALUES = re.compile(r'(Invalid value: |Unsupported value: |Duplicate value: )("(?:[^"\\]|\\.)*"|.*(?=: )|.*)')
_GOT = re.compile(r"(expected [^,]*, got ).*", re.DOTALL)  # Go's own form of a value, which has no sure end


class ApplyFailed(ClusterError):
    """Not all was applied. `changes` has what was done before; `error` is the first cause; str() is Flux's message.

    `away` is True when the server gave no answer, so trying again is all that is needed.
    """

    def __init__(self, message: str, changes: ChangeSet, error: ClusterError | None) -> None:
        super().__init__(message)
        self.message = message
        self.changes = changes
        self.error = error

    @property
    def away(self) -> bool:
        """True when the server did not answer, or only to say that it is too busy."""
        return isinstance(self.error, ApiAway) or (
            isinstance(self.error, ApiError) and (self.error.status == 429 or self.error.status >= 500)
        )


def dry_run_failed(object: ObjectId, error: ClusterError, *, namespaced: bool = False) -> str:
    """The message of a refused dry run (or of the one patch that stood for it)."""
    words = masked(object, str(error))
    if isinstance(error, ApiError) and error.not_found:
        missing = "namespace not specified" if namespaced and not object.namespace else "not found"
        return f"{object} {missing}: {words}"
    reason = error.reason if isinstance(error, ApiError) else ""
    return f"{object} dry-run failed{f' ({reason})' if reason else ''}: {words}"


def apply_failed(object: ObjectId, error: ClusterError) -> str:
    """The message of an apply that failed after its dry run had passed."""
    return f"{object} apply failed: {masked(object, str(error))}"


def joined(messages: Sequence[str]) -> str:
    """Several refusals in one message, a line each; not more than ten are shown."""
    more = len(messages) - SHOWN
    return "\n".join([*messages[:SHOWN], *([f"... and {more} more"] if more > 0 else [])])


def is_immutable(error: ClusterError) -> bool:
    """True when all that the server has against an update is that fields cannot be changed on a live object.

    One other complaint makes it False: an invalid manifest would not come back after the live object was deleted.
    """
    if not isinstance(error, ApiError) or error.status not in (409, 422):
        return False
    if error.causes:
        return all(_IMMUTABLE.search(cause.message) for cause in error.causes)
    return _IMMUTABLE.search(error.message) is not None


def masked(object: ObjectId, message: str) -> str:
    """The message without the values of a Secret, which the server repeats."""
    if (object.group, object.kind) != ("", "Secret"):
        return message
    return _GOT.sub(r"\1***", _VALUES.sub(r"\1***", message))
