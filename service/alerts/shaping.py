"""What annotations of Alerts and Providers make of a message: when it is sent, where to, in which words, alone or with others.

In: the messages that matching has made of an event. Out: the same, changed, held back or left out, and what a person should look at. An
annotation that cannot be used never costs a message: it is sent in the built-in words, with a note.
"""

import hashlib
import json
import logging
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any

from providers import contract
from service.alerts.catalog import Catalog
from service.alerts.credentials import OPTION_PREFIX, options_of
from service.alerts.matching import Complaint, ReadLabels
from service.alerts.mutes import BadMute, mute_of
from service.alerts.templates import Renderer
from service.cel import Ask, BadExpression, Evaluator, compile_expression
from service.cluster.client import ApiAway, ApiError
from service.kinds.duration import parse_duration
from service.kinds.event import Event
from service.kinds.meta import INVALID_CONFIG, ObjectKey
from service.state import moments
from service.state.held import SERIAL, Hold
from service.state.outbox import OutMessage

log = logging.getLogger(__name__)

ReadConfig = Callable[[str, str], Awaitable[Mapping[str, str] | None]]
VARIABLES = frozenset(("event", "object", "metadata", "labels"))
WORDS, HELD = ("title", "text", "fields"), ("digest", "group-window")
SLACK_ALONE = ("channel", "mention", "look", "update", "group-by")
IN_CONFIG = (*WORDS, "on", "once-per")
PASSED_ON = (*SLACK_ALONE, "group")
LONGEST_WINDOW, LONGEST_DIGEST = timedelta(hours=1), timedelta(days=1)
CONFIG_FRESH = timedelta(seconds=30)
SHARED_WITH = f"{OPTION_PREFIX}share-with"
_PLACE = re.compile(r"\{(label|metadata):([\w./-]{1,253})\}")
_CHANNEL = re.compile(r"[#@]?[\w.-]{1,80}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """`read_config(namespace, name)` gives a ConfigMap's data, None where there is none."""

    catalog: Catalog
    read_labels: ReadLabels
    read_config: ReadConfig
    evaluator: Evaluator
    renderer: Renderer


@dataclass(slots=True, kw_only=True)
class _Draft:
    """A message while it is shaped."""

    event: Event
    message: OutMessage
    options: dict[str, str]
    body: dict[str, Any]
    labels: Mapping[str, str]
    notes: list[str]

    def values(self) -> dict[str, Any]:
        """What expressions and templates may use."""
        involved = self.event.involved
        about = {"kind": involved.kind, "namespace": involved.namespace, "name": involved.name}
        event = {name: value for name, value in self.event.to_json().items() if name != "metadata"}
        return {"event": event, "object": about, "metadata": dict(self.body["metadata"]), "labels": dict(self.labels)}


class Shaper:
    """One for the room."""

    def __init__(self, means: Means, *, no_cross_namespace: bool = False) -> None:
        self._means, self._no_cross_namespace = means, no_cross_namespace
        self._configs: dict[tuple[str, str], tuple[datetime, Mapping[str, str] | None]] = {}

    async def shape(self, event: Event, messages: Sequence[OutMessage]) -> tuple[tuple[OutMessage, ...], tuple[Complaint, ...]]:
        """Return the messages to store. Raises ApiAway where something is to be read and the API server does not answer."""
        shaped: list[OutMessage] = []
        complaints: list[Complaint] = []
        for message in messages:
            found, notes = await self._one(event, message)
            shaped += [found] if found is not None else []
            complaints += [Complaint(alert=message.alert, reason=INVALID_CONFIG, message=f"{message.alert}: {note}") for note in notes]
        return tuple(shaped), tuple(complaints)

    def is_mute(self, alert: ObjectKey) -> bool:
        """Whether an Alert is muted now."""
        try:
            return mute_of(_annotations(self._means.catalog.raw(alert)), moments.now()) is not None
        except BadMute:
            return False

    async def _one(self, event: Event, message: OutMessage) -> tuple[OutMessage | None, list[str]]:
        catalog = self._means.catalog
        if refusal := self._refusal(message):
            return None, [refusal]
        above, below = _annotations(catalog.raw(message.provider)), _annotations(catalog.raw(message.alert))
        if not any(name.startswith(OPTION_PREFIX) for name in (*above, *below)):
            return message, []
        notes: list[str] = []
        options: dict[str, str] = {}
        for owner, annotations in ((message.provider, above), (message.alert, below)):
            given = options_of(annotations)
            if owner.namespace != message.provider.namespace:
                given = {name: value for name, value in given.items() if name not in ("channel", "mention")}
            options |= await self._config(owner.namespace, given.get("template", ""), notes) | given
        by_type = self._type(message)
        labels: Mapping[str, str] = {}
        if any("label" in value for value in options.values()):
            labels = await self._labels(event)
        notes += _left_out(options, by_type)
        draft = _Draft(event=event, message=message, options=options, body=json.loads(message.payload), labels=labels, notes=notes)
        if not await self._fires(draft):
            fields = {"object": str(event.involved), "alert": str(message.alert), "on": options["on"][:200]}
            log.info("alert not triggered", extra=fields)
            return None, notes
        await self._word(draft)
        self._route(draft)
        return self._timed(draft, below, await self._once(draft)), notes

    def _refusal(self, message: OutMessage) -> str:
        """A Provider of another namespace has to be shared by its owner, "" where all is well."""
        provider, namespace = message.provider, message.alert.namespace
        if provider.namespace == namespace:
            return ""
        if self._no_cross_namespace:
            return f"{provider} is in another namespace, which is not allowed here; nothing is sent"
        shared = _annotations(self._means.catalog.raw(provider)).get(SHARED_WITH, "")
        if any(fnmatchcase(namespace, each.strip()) for each in shared.split(",")):
            return ""
        return f"{provider} does not exist, or its annotation {SHARED_WITH} does not name the namespace {namespace}; nothing is sent"

    async def _labels(self, event: Event) -> Mapping[str, str]:
        try:
            return await self._means.read_labels(event.involved, event.involved_api_version)
        except ApiError:
            return {}

    async def _config(self, namespace: str, name: str, notes: list[str]) -> dict[str, str]:
        """The texts of a ConfigMap, read anew after a while."""
        if not name:
            return {}
        now = moments.now()
        read_at, held = self._configs.get((namespace, name), (datetime.min.replace(tzinfo=now.tzinfo), None))
        if now - read_at > CONFIG_FRESH:
            try:
                held = await self._means.read_config(namespace, name)
            except ApiAway:
                raise
            except ApiError as error:
                notes.append(f"ConfigMap/{namespace}/{name} cannot be read: {error}; the built-in text is sent")
                return {}
            if len(self._configs) > 200:
                self._configs.clear()
            self._configs[namespace, name] = (now, held)
        if held is None:
            notes.append(f"ConfigMap/{namespace}/{name} does not exist: create it, or remove the annotation template")
        return {key: value for key in IN_CONFIG if (value := (held or {}).get(key))}

    async def _fires(self, draft: _Draft) -> bool:
        """Whether the trigger `on` lets the message pass; one that cannot be evaluated does."""
        value = await self._value(draft, "on")
        return value is not False

    async def _once(self, draft: _Draft) -> str:
        """The key under which the message is told once, "" for always."""
        value = await self._value(draft, "once-per")
        if not isinstance(value, str) or not value:
            return ""
        return hashlib.sha256(json.dumps([str(draft.message.alert), draft.body["alert_uid"], value]).encode()).hexdigest()[:40]

    async def _value(self, draft: _Draft, name: str) -> object:
        source = draft.options.get(name, "")
        if not source:
            return None
        try:
            expression = compile_expression(source, VARIABLES, "truth" if name == "on" else "text")
            [result] = await self._means.evaluator.evaluate({}, [Ask(expressions=(expression,), variables=draft.values())])
            problem = result.problem
        except BadExpression as error:
            problem = str(error)
        if problem:
            draft.notes.append(f"annotation {OPTION_PREFIX}{name}: {problem}; the message is sent")
            return None
        return result.value

    async def _word(self, draft: _Draft) -> None:
        """Put the templates' texts in place of the built-in ones."""
        templates = {name: draft.options[name] for name in WORDS if draft.options.get(name)}
        if not templates or not _is_read(self._type(draft.message)):
            return
        rendered = await self._means.renderer.render(templates, draft.values())
        if rendered.problem:
            draft.notes.append(f"{rendered.problem}; the built-in text is sent")
            draft.body["message"] = (
                f"{draft.body['message']}\n\n(the template of the Alert or Provider was not used: {rendered.problem})".strip()
            )
            return
        texts, metadata = rendered.texts, draft.body["metadata"]
        if fields := _fields(texts.get("fields", "")):
            draft.body["metadata"] = {name: metadata[name] for name in ("revision", "cluster", "commit_url") if name in metadata} | fields
        title = " ".join(texts.get("title", "").split())[:300]
        draft.body["message"] = texts.get("text") or draft.body["message"]
        if title:
            draft.body["title"] = title

    def _type(self, message: OutMessage) -> contract.Provider:
        return self._means.catalog.by_type(message.provider) or contract.Provider()

    def _route(self, draft: _Draft) -> None:
        """The channels, out of labels and metadata where that is asked for, and what else the provider is told."""
        options = {name: draft.options[name] for name in PASSED_ON if draft.options.get(name)}
        for name in ("channel", "group-by"):
            if name in options:
                options[name] = self._filled(draft, options[name])
        if options.get("group-by", "").startswith("label:"):
            label = options.pop("group-by").removeprefix("label:")
            options["group"] = f"{label}={draft.labels[label]}" if label in draft.labels else ""
        if not options.get("channel", "x"):
            options["channel"] = str((self._means.catalog.raw(draft.message.provider).get("spec") or {}).get("channel") or "")
        draft.body["options"] = options

    def _filled(self, draft: _Draft, text: str) -> str:
        """`#team-{label:team}, C024BE91L` with its values; a channel whose value is missing or is no name is left out."""
        found: list[str] = []
        sources = {"label": draft.labels, "metadata": draft.body["metadata"]}
        for each in filter(None, (part.strip() for part in text.split(","))):
            filled = _PLACE.sub(lambda match: sources[match[1]].get(match[2], "\0"), each)
            if "\0" in filled or ("{" in each and not _CHANNEL.fullmatch(filled)):
                log.info("channel left out", extra={"object": str(draft.event.involved), "channel": each})
            else:
                found.append(filled)
        return ",".join(found)

    def _timed(self, draft: _Draft, annotations: Mapping[str, str], once: str) -> OutMessage:
        """Held while the Alert is mute, for its digest, or until a burst is over; at once otherwise."""
        message, now = draft.message, moments.now()
        by_type = self._type(message)
        hold: Hold | None = None
        joins = _is_read(by_type) and (by_type.place is not None or not by_type.alarms)
        try:
            mute = mute_of(annotations, now)
            if mute is not None and _is_read(by_type):
                hold = Hold(until=mute.until, bundle=f"{message.alert}|mute", why=mute.words())
            elif joins and (length := self._length(draft, "digest", LONGEST_DIGEST)):
                hold = Hold(until=now + length, bundle=f"{message.alert}|digest", why=f"for the digest of {draft.options['digest']}")
            elif joins and draft.event.severity == "error" and (length := self._length(draft, "group-window", LONGEST_WINDOW)):
                cause = f"{draft.event.reason}|{draft.body['metadata'].get('revision', '')}"
                hold = Hold(until=now + length, bundle=f"{message.alert}|{cause}", why="with others of the same cause")
        except BadMute as error:
            draft.notes.append(f"{error}; it is not muted")
        serial = hold is not None or draft.options.keys() & {"digest", "group-window", "mute"}
        about = message.object
        if hold is not None:
            log.info("message held", extra={"object": str(draft.event.involved), "alert": str(message.alert), "why": hold.why})
        payload = json.dumps(draft.body)
        object_ = f"{SERIAL}{message.alert}" if serial else message.object
        return replace(message, payload=payload, object=object_, about=about, hold=hold, once=once)

    def _length(self, draft: _Draft, name: str, longest: timedelta) -> timedelta:
        said = draft.options.get(name, "")
        if not said:
            return timedelta(0)
        try:
            return max(timedelta(0), min(parse_duration(said), longest))
        except ValueError as error:
            draft.notes.append(f"annotation {OPTION_PREFIX}{name}: {error}; it is left out")
            return timedelta(0)


def _is_read(by_type: contract.Provider) -> bool:
    """Whether people read it. Programs get every event as it is."""
    return by_type.wants == "news" and not by_type.verbatim


def _left_out(options: Mapping[str, str], by_type: contract.Provider) -> list[str]:
    """What is asked for and has no effect with a type is told."""
    names: tuple[str, ...] = () if by_type.place is not None else SLACK_ALONE
    if not _is_read(by_type):
        names += WORDS + HELD + ("mute",)
    elif by_type.place is None and by_type.alarms:
        names += HELD
    found = [f"{OPTION_PREFIX}{name}" for name in names if options.get(name)]
    return [f"{', '.join(found)}: has no effect with the Provider's type; the message is sent as if it were not there"] if found else []


def _annotations(raw: Mapping[str, Any]) -> Mapping[str, str]:
    metadata = raw.get("metadata")
    found = metadata.get("annotations") if isinstance(metadata, dict) else None
    return found if isinstance(found, dict) else {}


def _fields(text: str) -> dict[str, str]:
    """`name: value` lines, at most twenty."""
    pairs = [line.partition(":") for line in text.splitlines() if ":" in line]
    return {name.strip()[:100]: value.strip()[:1000] for name, _, value in pairs[:20] if name.strip() and value.strip()}
