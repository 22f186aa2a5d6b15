"""Errors as Kubernetes answers them: a typed refusal goes in, a `Status` object comes out.

Format: https://github.com/kubernetes/community/blob/master/contributors/devel/sig-architecture/api-conventions.md#response-status-kind
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """One reason inside `details.causes`: a field path, the machine word (`FieldValueRequired` ...) and the sentence."""

    reason: str
    message: str
    field: str = ""

    def body(self) -> dict[str, str]:
        """Return the cause as it stands in a Status."""
        return {"reason": self.reason, "message": self.message, **({"field": self.field} if self.field else {})}


class Refused(Exception):
    """A request that ends with a Status of failure. `code` is the HTTP status, `reason` Kubernetes' word for it."""

    def __init__(self, code: int, reason: str, message: str, *, details: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.code, self.reason, self.message, self.details = code, reason, message, details or {}

    def body(self) -> dict[str, Any]:
        """Return the Status object."""
        status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": self.message}
        reason = {"reason": self.reason} if self.reason else {}
        return {**status, **reason, **({"details": self.details} if self.details else {}), "code": self.code}


def _details(name: str, group: str, kind: str) -> dict[str, Any]:
    return {key: value for key, value in (("name", name), ("group", group), ("kind", kind)) if value}


def _qualified(plural: str, group: str) -> str:
    return f"{plural}.{group}" if group else plural


def not_found(plural: str, group: str, name: str) -> Refused:
    """404 for an object that is not there."""
    return Refused(404, "NotFound", f'{_qualified(plural, group)} "{name}" not found', details=_details(name, group, plural))


def no_such_path() -> Refused:
    """404 for a path that nothing serves, in the words that clients look for."""
    return Refused(404, "NotFound", "the server could not find the requested resource")


def already_exists(plural: str, group: str, name: str) -> Refused:
    """409 for a create of something that is there."""
    return Refused(409, "AlreadyExists", f'{_qualified(plural, group)} "{name}" already exists', details=_details(name, group, plural))


def conflict(plural: str, group: str, name: str, why: str) -> Refused:
    """409 for a resourceVersion or precondition that is no longer true."""
    message = f'Operation cannot be fulfilled on {_qualified(plural, group)} "{name}": {why}'
    return Refused(409, "Conflict", message, details=_details(name, group, plural))


def invalid(kind: str, group: str, name: str, causes: Sequence[Cause]) -> Refused:
    """422 with one cause a field."""
    lines = [f"{cause.field}: {cause.message}" for cause in causes]
    listed = lines[0] if len(lines) == 1 else f"[{', '.join(lines)}]"
    details = {**_details(name, group, kind), "causes": [cause.body() for cause in causes]}
    return Refused(422, "Invalid", f'{_qualified(kind, group)} "{name}" is invalid: {listed}', details=details)


def bad_request(message: str) -> Refused:
    """400 for a request that cannot be read."""
    return Refused(400, "BadRequest", message)


def forbidden(plural: str, group: str, name: str, why: str) -> Refused:
    """403 for something that the state of the cluster does not allow now."""
    return Refused(403, "Forbidden", f'{_qualified(plural, group)} "{name}" is forbidden: {why}', details=_details(name, group, plural))


def not_served(method: str) -> Refused:
    """405 for a verb that the resource does not have."""
    return Refused(405, "MethodNotAllowed", f"the server does not allow this method ({method}) on the requested resource")


def unsupported_media(given: str, accepted: Sequence[str]) -> Refused:
    """415 for a body type that this server does not read."""
    message = f"the body of the request was in an unknown format ({given}) - accepted media types include: {', '.join(accepted)}"
    if "protobuf" in given:
        message += (
            "; for `kubectl create KIND`, write the object with --dry-run=client -o yaml and pipe it to `kubectl apply --server-side -f -`"
        )
    return Refused(415, "UnsupportedMediaType", message)


def expired(message: str) -> Refused:
    """410 for a resourceVersion or continue token that has left the window."""
    return Refused(410, "Expired", message)


def field_conflicts(conflicts: Sequence[tuple[str, str]]) -> Refused:
    """409 of a server-side apply; `conflicts` are (who, path) pairs in the order of the answer."""
    causes = [{"reason": "FieldManagerConflict", "message": f"conflict with {who}", "field": path} for who, path in conflicts]
    blocks = []
    for owner in dict.fromkeys(who for who, _ in conflicts):
        paths = [path for who, path in conflicts if who == owner]
        block = f": {paths[0]}" if len(paths) == 1 else ":\n" + "\n".join(f"- {path}" for path in paths)
        blocks.append(f"conflict{'s' if len(paths) > 1 else ''} with {owner}{block}")
    many = "1 conflict" if len(conflicts) == 1 else f"{len(conflicts)} conflicts"
    message = f"Apply failed with {many}: " + "\n".join(blocks)
    return Refused(409, "Conflict", message, details={"causes": causes})
