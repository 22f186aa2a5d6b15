"""What an event's metadata is for one Alert: merged from four sources, without the groups in front of the names.

In: an event as its controller made it, and an Alert. Out: plain names, as Flux's providers get them.
https://github.com/fluxcd/notification-controller/blob/v1.9.3/internal/server/event_handlers.go (combineEventMetadata)
"""

from collections.abc import Mapping
from typing import assert_never

from providers.contract import Wants
from service.kinds.event import Event
from service.kinds.meta import EVENT_PREFIX
from service.kinds.notification import AlertSpec

COMMIT_STATUS, UPDATE, RECONCILED = "commit_status", "update", "ReconciliationSucceeded"
_DROPPED = frozenset(("checksum", "digest", "token"))


def merged(event: Event, spec: AlertSpec) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return the metadata, and the names that more than one source gives.

    Low to high: annotations of the object (`event.toolkit.fluxcd.io/*`), `eventMetadata`, `summary`, what the controller says
    (`<group of the object>/*`). Names of other groups, and the controller's checksum, digest and token, are left out.
    """
    found: dict[str, str] = {}
    doubles: list[str] = []
    own = _without_prefix(event.metadata, f"{event.involved.group}/") if event.involved.group else {}
    sources: tuple[Mapping[str, str], ...] = (
        _without_prefix(event.metadata, EVENT_PREFIX),
        spec.event_metadata,
        {"summary": spec.summary} if spec.summary else {},
        {name: value for name, value in own.items() if name not in _DROPPED},
    )
    for source in sources:
        doubles += [name for name, value in source.items() if found.get(name, value) != value]
        found |= source
    return found, tuple(sorted(set(doubles)))


def wanted(event: Event, wants: Wants) -> bool:
    """Whether providers of this kind get the event, by Flux's rules: what only refreshes a commit's status is no news for a chat."""
    refresh = bool(event.involved.group) and event.metadata.get(f"{event.involved.group}/{COMMIT_STATUS}") == UPDATE
    match wants:
        case "news":
            return not refresh
        case "all":
            return True
        case "commit_status":
            final = event.severity == "error" or event.reason == RECONCILED  # Flux marks each success; ours come with what they changed
            return refresh or final or bool(event.metadata.get(f"{EVENT_PREFIX}commit"))
        case "change_request":
            return not refresh and bool(event.metadata.get(f"{EVENT_PREFIX}change_request"))
        case other:
            assert_never(other)


def _without_prefix(metadata: Mapping[str, str], prefix: str) -> dict[str, str]:
    return {name.removeprefix(prefix): value for name, value in metadata.items() if name.startswith(prefix) and name != prefix}
