"""Which Alerts an event goes to.

In: an event, the Alerts, the labels of the object it is about. Out: messages to store, and what is wrong with an Alert's lists or metadata.
https://github.com/fluxcd/notification-controller/blob/v1.9.3/internal/server/event_handlers.go
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass

from providers import contract
from service.alerts import metadata
from service.alerts.message import payload_of
from service.alerts.searching import Search
from service.cluster.client import ApiError
from service.kinds.event import Event
from service.kinds.meta import INVALID_CONFIG, METADATA_APPEND_FAILED, NOTIFICATION_FAILED, PROGRESSING, ObjectKey
from service.kinds.notification import Alert, ResourceRef
from service.state.outbox import OutMessage
from service.workers import Workers

ReadLabels = Callable[[ObjectKey, str], Awaitable[Mapping[str, str]]]
ByType = Callable[[ObjectKey], contract.Provider | None]
ANY = "*"
NEWS = contract.Provider()


@dataclass(frozen=True, slots=True, kw_only=True)
class Complaint:
    """Something about an Alert that a person should look at; the event went on without it."""

    alert: ObjectKey
    reason: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Matched:
    """What comes of one event."""

    messages: tuple[OutMessage, ...]
    complaints: tuple[Complaint, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What the operator allows and wants: the namespace `*` in eventSources, the cluster's name in every message ("" for none)."""

    any_namespace: bool = False
    cluster: str = ""


PLAIN = Rules()


class Matcher:
    """`read_labels(object, api_version)` gives the labels of any object; it is asked only where an Alert selects by labels.

    `by_type` gives the table's line of a Provider, None where it is not known: then it is taken for one that gets news.
    """

    def __init__(
        self,
        read_labels: ReadLabels,
        workers: Workers,
        *,
        no_cross_namespace: bool = False,
        by_type: ByType = lambda _: None,
        rules: Rules = PLAIN,
    ) -> None:
        self._read_labels, self._search, self._no_cross_namespace = read_labels, Search(workers), no_cross_namespace
        self._by_type, self._rules = by_type, rules

    async def match(self, event: Event, alerts: Iterable[Alert]) -> Matched:
        """Return the messages of an event.

        Raises ApiAway where labels are needed and the API server does not answer, ChildProcessError where a worker died: ask again later.
        """
        labels: Mapping[str, str] | None = None
        messages: list[OutMessage] = []
        complaints: list[Complaint] = []
        for alert in alerts:
            by_type = self._by_type(alert.provider_key) or NEWS
            low = alert.spec.event_severity == "error" and event.severity != "error"
            if alert.spec.suspend or (low and not (by_type.alarms and contract.recovers(event.severity, event.reason))):
                continue
            named = [source for source in alert.spec.event_sources if self._names(alert, source, event.involved)]
            if named and all(source.match_labels for source in named):
                labels = await self._labels(event) if labels is None else labels
                named = [source for source in named if source.match_labels.items() <= labels.items()]
            begins = by_type.place is not None and event.reason == PROGRESSING  # what is changed later may begin early
            if not named or not (begins or metadata.wanted(event, by_type.wants)):
                continue
            if self._no_cross_namespace and event.involved.namespace != alert.metadata.namespace:
                complaints.append(_blocked(alert, event.involved))
                continue
            if low or await self._lists_pass(alert, event.message, complaints):  # the lists select failures, not what ends them
                messages.append(_message(alert, event, complaints, recovery_only=low, cluster=self._rules.cluster))
        return Matched(messages=tuple(messages), complaints=tuple(complaints))

    def _names(self, alert: Alert, source: ResourceRef, involved: ObjectKey) -> bool:
        """As Flux does, the group is not looked at, and a namespace is taken literally."""
        namespace = source.namespace or alert.metadata.namespace
        if namespace == ANY and self._rules.any_namespace and not self._no_cross_namespace:
            namespace = involved.namespace
        return namespace == involved.namespace and source.kind == involved.kind and source.name in (involved.name, ANY)

    async def _labels(self, event: Event) -> Mapping[str, str]:
        try:
            return await self._read_labels(event.involved, event.involved_api_version)
        except ApiError:
            return {}  # not readable is no match, as in Flux

    async def _lists_pass(self, alert: Alert, message: str, complaints: list[Complaint]) -> bool:
        excluding, including = alert.spec.exclusion_list, alert.spec.inclusion_list
        if not excluding and not including:
            return True
        patterns = (*excluding, *including)
        verdicts = await self._search.find(patterns, message)
        for pattern, verdict in zip(patterns, verdicts, strict=True):
            if isinstance(verdict, str):
                text = f"{alert.key}: the pattern {pattern[:200]!r} {verdict}; it was left out"
                complaints.append(Complaint(alert=alert.key, reason=INVALID_CONFIG, message=text))
        if True in verdicts[: len(excluding)]:
            return False
        return not including or True in verdicts[len(excluding) :]


def _blocked(alert: Alert, involved: ObjectKey) -> Complaint:
    named = f"{alert.metadata.namespace}/{alert.metadata.name}"
    denied = f"alert '{named}' can't process event from '{involved}', cross-namespace references have been blocked"
    text = f"failed to dispatch notification for {involved}: discarding event, access denied to cross-namespace sources: {denied}"
    return Complaint(alert=alert.key, reason=NOTIFICATION_FAILED, message=text)


def _message(alert: Alert, event: Event, complaints: list[Complaint], *, recovery_only: bool, cluster: str) -> OutMessage:
    merged, doubles = metadata.merged(event, alert.spec)
    merged = {"cluster": cluster, **merged} if cluster else merged
    if doubles:
        text = f"{alert.key}: more than one source gives the metadata {', '.join(doubles)}; the controller's counts before the Alert's"
        complaints.append(Complaint(alert=alert.key, reason=METADATA_APPEND_FAILED, message=text))
    payload = payload_of(event, merged, alert, recovery_only=recovery_only)
    return OutMessage(alert=alert.key, provider=alert.provider_key, payload=payload, object=str(event.involved))
