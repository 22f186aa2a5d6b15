"""An HTTP request, understood: path, query and headers in, what is asked for out. No I/O.

https://kubernetes.io/docs/reference/using-api/api-concepts/
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from service.apiserver.intake import Options
from service.apiserver.refusal import Refused, bad_request

PATCHES = (
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
)
Form = Literal["object", "table", "metadata"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What a path under /api or /apis names; empty strings where it names nothing."""

    group: str
    version: str
    plural: str
    namespace: str
    name: str
    subresource: str


def place(path: str) -> Place | None:
    """Read an object path; None when it is no such path (discovery, or nothing at all)."""
    parts = path.strip("/").split("/")
    if parts[0] == "api" and len(parts) >= 3:
        group, version, rest = "", parts[1], parts[2:]
    elif parts[0] == "apis" and len(parts) >= 4:
        group, version, rest = parts[1], parts[2], parts[3:]
    else:
        return None
    namespace = ""
    if rest[0] == "namespaces" and len(rest) >= 3 and not (len(rest) == 3 and rest[2] in ("status", "finalize") and not group):
        namespace, rest = rest[1], rest[2:]
    if len(rest) > 3 or not all(rest):
        return None
    plural, name, subresource = (*rest, "", "")[:3]
    return Place(group=group, version=version, plural=plural, namespace=namespace, name=name, subresource=subresource)


def form(accept: str) -> Form:
    """Return which form of the answer the client likes best. Raises Refused 406 when it takes no JSON at all."""
    if not accept or accept in ("*/*", "application/json"):
        return "object"
    for part in accept.split(","):
        media, *parameters = [piece.strip() for piece in part.split(";")]
        if media not in ("application/json", "*/*", "application/*", "application/yaml"):
            continue
        wanted = dict(piece.split("=", 1) for piece in parameters if "=" in piece)
        kind = wanted.get("as", "")
        if kind == "Table" and wanted.get("v") == "v1":
            return "table"
        if kind.startswith("PartialObjectMetadata") and wanted.get("v") == "v1":
            return "metadata"
        if not kind:
            return "object"
    message = "only the following media types are accepted: application/json (no protobuf, no CBOR)"
    raise Refused(406, "NotAcceptable", message)


def _flag(query: Mapping[str, str], name: str) -> bool:
    return query.get(name, "").lower() in ("true", "1")


def options(query: Mapping[str, str], user_agent: str, subresource: str) -> Options:
    """Read a write's options. Raises Refused 400 for values that are none."""
    dry_run = query.get("dryRun", "")
    if dry_run not in ("", "All"):
        raise bad_request(f'invalid dryRun "{dry_run}": supported values: "All"')
    validation = query.get("fieldValidation", "Warn")
    if validation not in ("Ignore", "Warn", "Strict"):
        raise bad_request(f'invalid fieldValidation "{validation}": supported values: "Ignore", "Strict", "Warn"')
    manager = query.get("fieldManager") or user_agent.split("/", 1)[0] or "unknown"
    if len(manager) > 128:
        raise bad_request("fieldManager may not be more than 128 bytes")
    return Options(
        manager=manager,
        dry_run=bool(dry_run),
        force=_flag(query, "force"),
        strict=validation == "Strict",
        ignore_unknown=validation == "Ignore",
        subresource=subresource,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ListAsked:
    """What a list or watch asks for. `timeout_seconds` 0 = the server's choice."""

    labels: str
    fields: str
    limit: int
    token: str
    watch: bool
    version: str
    bookmarks: bool
    timeout_seconds: int


def list_asked(query: Mapping[str, str]) -> ListAsked:
    """Read a list's or watch's query. Raises Refused 400 and 422."""
    if _flag(query, "sendInitialEvents"):
        why = "sendInitialEvents is not emulated: list first, then watch from the list's resourceVersion"
        causes: list[dict[str, Any]] = [{"reason": "FieldValueForbidden", "message": why, "field": "sendInitialEvents"}]
        raise Refused(
            422, "Invalid", f'ListOptions.meta.k8s.io "" is invalid: sendInitialEvents: Forbidden: {why}', details={"causes": causes}
        )
    try:
        return ListAsked(
            labels=query.get("labelSelector", ""),
            fields=query.get("fieldSelector", ""),
            limit=int(query.get("limit") or 0),
            token=query.get("continue", ""),
            watch=_flag(query, "watch"),
            version=query.get("resourceVersion", ""),
            bookmarks=_flag(query, "allowWatchBookmarks"),
            timeout_seconds=int(query.get("timeoutSeconds") or 0),
        )
    except ValueError as error:
        raise bad_request(f"limit and timeoutSeconds are whole numbers: {error}") from error
