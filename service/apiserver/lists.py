"""Lists: stored rows in, one JSON document out, page by page. Rows are joined as stored, not parsed, unless a client wants another form."""

import asyncio
import base64
import json
from typing import Any

from service.apiserver.objects import body_in
from service.apiserver.refusal import bad_request, expired
from service.apiserver.requests import Form, ListAsked
from service.apiserver.resources import Resource
from service.apiserver.selectors import field_selector, label_selector
from service.apiserver.store import Store, Stored
from service.apiserver.tables import TableForm
from service.apiserver.watches import Matches

Object = dict[str, Any]
ROWS_AT_ONCE = 50


def matcher(resource: Resource, asked: ListAsked) -> Matches | None:
    """Return the predicate of a request's selectors, None when it has none. Raises Refused 400."""
    labels = label_selector(asked.labels) if asked.labels else None
    fields = field_selector(asked.fields, resource.key, resource.selectable) if asked.fields else None
    if labels is None and fields is None:
        return None
    return lambda stored: (labels is None or labels(stored.labels)) and (fields is None or fields(stored))


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
        for found in rows:
            if matches is None or matches(found):
                self.rows.append(found)
                if asked.limit and len(self.rows) == asked.limit:
                    break
        if asked.limit and len(self.rows) == asked.limit:
            left = sum(1 for _ in rows) if matches is None else any(map(matches, rows))
            if left:
                self.meta["continue"] = _token(version, self.rows[-1])
                if matches is None:  # as the real server, which does not count through a selector
                    self.meta["remainingItemCount"] = left

    async def body(self, resource: Resource, form: Form, include: str) -> bytes:
        """Return the list as JSON in the asked form; forms that need parsing let the loop run after every few rows."""
        if form == "object":
            head = {"kind": resource.list_kind, "apiVersion": resource.api_version, "metadata": self.meta}
            same = resource.stored_api_version == resource.api_version
            return _closed(head, "items", [row.body if same else body_in(row.body, resource) for row in self.rows])
        table = TableForm(resource, include) if form == "table" else None
        head = (
            table.head(self.meta) if table else {"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": self.meta}
        )
        parts = []
        for at in range(0, len(self.rows), ROWS_AT_ONCE):
            for stored in self.rows[at : at + ROWS_AT_ONCE]:
                obj = json.loads(body_in(stored.body, resource))
                part = table.row(obj) if table else partial(obj)
                parts.append(json.dumps(part, separators=(",", ":")).encode())
            await asyncio.sleep(0)
        return _closed(head, "rows" if table else "items", parts)


def _closed(head: Object, name: str, parts: list[bytes]) -> bytes:
    """Return `head` as JSON with one more field: the list of `parts`."""
    return json.dumps(head, separators=(",", ":")).encode()[:-1] + b',"' + name.encode() + b'":[' + b",".join(parts) + b"]}"


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
    table = TableForm(resource, include)
    return _closed(table.head(meta), "rows", [json.dumps(table.row(obj), separators=(",", ":")).encode()])
