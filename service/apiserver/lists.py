"""Lists: stored rows in, one JSON document out, page by page. Rows are joined as stored, not parsed, unless a client wants another form."""

import base64
import json
from typing import Any

from service.apiserver.objects import body_in
from service.apiserver.refusal import bad_request, expired
from service.apiserver.requests import Form, ListAsked
from service.apiserver.resources import Resource
from service.apiserver.selectors import field_selector, label_selector
from service.apiserver.store import Store, Stored
from service.apiserver.tables import table
from service.apiserver.watches import Matches

Object = dict[str, Any]


def selectable(resource: Resource) -> frozenset[str]:
    """Return the fields of custom resources that their CRD lets one select on. None are emulated."""
    return frozenset()


def matcher(resource: Resource, asked: ListAsked) -> Matches | None:
    """Return the predicate of a request's selectors, None when it has none. Raises Refused 400."""
    labels = label_selector(asked.labels) if asked.labels else None
    fields = field_selector(asked.fields, resource.key, selectable(resource)) if asked.fields else None
    if labels is None and fields is None:
        return None
    return lambda row: (labels is None or labels(row.labels)) and (fields is None or fields(row))


def _token(version: int, row: Stored) -> str:
    text = json.dumps({"v": "1", "rv": version, "ns": row.namespace, "name": row.name})
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _read_token(token: str) -> tuple[int, tuple[str, str]]:
    try:
        body = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        return int(body["rv"]), (str(body["ns"]), str(body["name"]))
    except (ValueError, KeyError, TypeError) as error:
        raise bad_request("continue key is not valid: it is the text of an earlier list's metadata.continue") from error


class Page:
    """One page of a list: its rows and the list's metadata.

    Later pages show newer objects than the first, under the first page's resourceVersion: a watch from there repeats what changed between.
    """

    def __init__(self, store: Store, resource: Resource, namespace: str | None, asked: ListAsked) -> None:
        version, after = store.version, None
        if asked.token:
            version, after = _read_token(asked.token)
            if version < store.floor:
                raise expired(
                    "The provided continue parameter is too old to display a consistent list result. Start a new list without it."
                )
        matches = matcher(resource, asked)
        self.rows: list[Stored] = []
        self.meta: Object = {"resourceVersion": str(version)}
        rows = iter(store.select(resource.key, namespace, after=after))
        for row in rows:
            if matches is None or matches(row):
                self.rows.append(row)
                if asked.limit and len(self.rows) == asked.limit:
                    break
        if asked.limit and len(self.rows) == asked.limit:
            left = sum(1 for row in rows if matches is None)
            more = left if matches is None else any(matches(row) for row in store.select(resource.key, namespace, after=self._last()))
            if more:
                self.meta["continue"] = _token(version, self.rows[-1])
                if matches is None:
                    self.meta["remainingItemCount"] = left

    def _last(self) -> tuple[str, str]:
        return self.rows[-1].namespace, self.rows[-1].name

    def body(self, resource: Resource, form: Form, include: str) -> bytes:
        """Return the list as JSON in the asked form."""
        if form == "object":
            head = {"kind": resource.list_kind, "apiVersion": resource.api_version, "metadata": self.meta}
            items = b",".join([body_in(row.body, resource) for row in self.rows])
            return json.dumps(head, separators=(",", ":")).encode()[:-1] + b',"items":[' + items + b"]}"
        objects = [row.load() for row in self.rows]
        if form == "table":
            return json.dumps(table(resource, objects, self.meta, include=include), separators=(",", ":")).encode()
        items_ = [partial(obj) for obj in objects]
        return json.dumps(
            {"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": self.meta, "items": items_}
        ).encode()


def partial(obj: Object) -> Object:
    """Return only an object's metadata, as the PartialObjectMetadata form."""
    return {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": obj["metadata"]}


def one(body: bytes, resource: Resource, form: Form, include: str) -> bytes:
    """Return a single object in the asked form."""
    if form == "object":
        return body
    obj = json.loads(body)
    if form == "metadata":
        return json.dumps(partial(obj), separators=(",", ":")).encode()
    meta = {"resourceVersion": obj["metadata"].get("resourceVersion", "")}
    return json.dumps(table(resource, [obj], meta, include=include), separators=(",", ":")).encode()
