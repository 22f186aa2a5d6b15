"""Events about sources, as Flux's controllers post them: each once while a run is tried again. In shadow mode none."""

from collections.abc import Callable, Mapping
from typing import Protocol

from service.kinds import meta
from service.kinds.event import Event, Severity
from service.kinds.meta import Metadata, ObjectKey
from service.log import trace

_NOTHING: Mapping[str, str] = {}


class Subject(Protocol):
    """What an event is about."""

    @property
    def metadata(self) -> Metadata: ...
    @property
    def api_version(self) -> str: ...
    @property
    def key(self) -> ObjectKey: ...


class News:
    """`controller` is who Flux would have tell it."""

    def __init__(self, on_event: Callable[[Event], None], *, controller: str, shadow: bool) -> None:
        self._on_event = on_event
        self._controller = controller
        self._shadow = shadow
        self._told: dict[ObjectKey, tuple[str, str]] = {}

    def tell(
        self, found: Subject, severity: Severity, reason: str, message: str, *, sign: str = "", metadata: Mapping[str, str] = _NOTHING
    ) -> None:
        """Tell it, unless the same was told last. `sign` is what makes it the same, the message by default."""
        words = (reason, sign or message)
        if self._shadow or self._told.get(found.key) == words:
            return  # the patch after it failed, and this is the next attempt
        self._told[found.key] = words
        own = {name: value for name, value in found.metadata.annotations.items() if name.startswith(meta.EVENT_PREFIX)}
        self._on_event(
            Event(
                involved=found.key,
                involved_api_version=found.api_version,
                involved_uid=found.metadata.uid,
                involved_resource_version=found.metadata.resource_version,
                severity=severity,
                reason=reason,
                message=message,
                metadata={**own, **metadata},
                reporting_controller=self._controller,
                trace=trace.get(),
            )
        )

    def forget(self, key: ObjectKey) -> None:
        """The status says it now, or the object is gone."""
        self._told.pop(key, None)
