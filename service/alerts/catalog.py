"""The Alerts and Providers as they are now, typed.

In: the caches of two watches. Out: typed objects that this version carries out whole; one that it does not is reported once for each of its
versions, sends nothing, and loses nothing where a later version can still be sent.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Generic, TypeVar

from providers import contract
from service.alerts.table import Table
from service.kinds.codec import Invalid, decode, refused_fields
from service.kinds.meta import ObjectKey
from service.kinds.notification import TYPE_ANNOTATION, Alert, Provider

ADVICE = "not carried out by this version of sluice, so nothing is sent; change it, or leave this object to Flux"

Raw = Mapping[str, Any]
Objects = Mapping[tuple[str, str], Raw]
T = TypeVar("T")


class Unusable(Exception):
    """An object that cannot be carried out as it stands; the message names the field."""


class _Decoded(Generic[T]):
    """Each object is decoded once: the watch replaces the dict when the object changes."""

    def __init__(self, read: Callable[[Raw], T], objects: Objects, on_unusable: Callable[[Raw, str], None]) -> None:
        self._read, self._objects, self._on_unusable = read, objects, on_unusable
        self._seen: dict[tuple[str, str], tuple[Raw, T | str]] = {}

    def get(self, name: tuple[str, str]) -> T | str | None:
        raw = self._objects.get(name)
        if raw is None:
            self._seen.pop(name, None)
            return None
        seen = self._seen.get(name)
        if seen is None or seen[0] is not raw:
            seen = self._seen[name] = (raw, self._decode(raw))
            if isinstance(seen[1], str):
                self._on_unusable(raw, seen[1])
        return seen[1]

    def _decode(self, raw: Raw) -> T | str:
        try:
            refused = refused_fields(raw)
            if refused:
                return f"{', '.join(refused)}: {ADVICE}"
            return self._read(raw)
        except (Invalid, Unusable) as error:
            return f"{error}; nothing is sent"


class Catalog:
    """Reads two mappings (namespace, name) -> object that somebody else keeps up to date."""

    def __init__(self, alerts: Objects, providers: Objects, on_unusable: Callable[[Raw, str], None], table: Table) -> None:
        self._table, self.types = table, table.types
        self._raw_alerts, self._raw_providers = alerts, providers
        self._alerts = _Decoded(lambda raw: decode(Alert, raw), alerts, on_unusable)
        self._providers = _Decoded(self._provider, providers, on_unusable)

    def alerts(self) -> Iterator[Alert]:
        """Every usable Alert, sorted by namespace and name."""
        for name in sorted(self._raw_alerts):
            found = self._alerts.get(name)
            if isinstance(found, Alert):
                yield found

    def provider(self, key: ObjectKey) -> Provider | None:
        """A Provider, None where there is none. Raises Unusable."""
        found = self._providers.get((key.namespace, key.name))
        if isinstance(found, str):
            raise Unusable(found)
        return found

    def _provider(self, raw: Raw) -> Provider:
        found = decode(Provider, raw)
        if problem := self._table.problem(found):
            raise Unusable(problem)
        return found

    def by_type(self, key: ObjectKey) -> contract.Provider | None:
        """The table's line of a Provider, usable or not, None where there is no such Provider or type."""
        raw = self._raw_providers.get((key.namespace, key.name), {})
        spec, metadata = raw.get("spec"), raw.get("metadata")
        annotations = (metadata.get("annotations") if isinstance(metadata, dict) else None) or {}
        return self.types.get(str(annotations.get(TYPE_ANNOTATION) or (spec.get("type", "") if isinstance(spec, dict) else "")))

    def version(self, key: ObjectKey) -> object:
        """Something that is not equal any more once somebody has changed the Provider; its status, which we write, does not count."""
        raw = self._raw_providers.get((key.namespace, key.name), {})
        metadata = raw.get("metadata") or {}
        return metadata.get("uid"), metadata.get("annotations"), raw.get("spec")

    def raw(self, key: ObjectKey) -> Raw:
        """An Alert or Provider as the API server gave it, {} where it is gone."""
        objects = {"Provider": self._raw_providers, "Alert": self._raw_alerts}.get(key.kind, {})
        return objects.get((key.namespace, key.name), {})
