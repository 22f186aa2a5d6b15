"""What a Receiver's CEL expressions say about the objects of a delivery.

In: `spec.resourceFilter`, `spec.resources[].filter`, the body as `req`, verified claims as `claims`, and of each object its metadata as
`res`. Out: which objects pass. An expression that cannot be evaluated, as where a key is missing, counts as false, and says so.
https://fluxcd.io/flux/components/notification/receivers/#filtering-reconciled-objects-with-cel
"""

import base64
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from receivers.contract import BadPayload, Event, Request
from receivers.payload import parse
from service.cel import Ask, BadExpression, Evaluator, Expression, compile_expression
from service.kinds.notification import Receiver
from service.triggers.graph import Node

ERRORS_ANNOTATION = "notification.sluice.dev/filter-errors"  # with the value `fail` the caller is told, as by Flux
LONGEST_BODY = 3 * 1024 * 1024  # Flux reads no longer ones
TERMINAL = "Reconciliation failed terminally due to configuration error"
AT_ONCE = 500
_OIDC = "generic-oidc"
_JSON = "application/json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """The compiled expressions: `whole` of the Receiver, `each` of its resources, in their order."""

    whole: Expression | None = None
    each: tuple[Expression | None, ...] = ()

    def of(self, number: int) -> tuple[Expression, ...]:
        """What must hold for the objects of an entry."""
        return tuple(found for found in (self.whole, self.each[number]) if found is not None)

    @property
    def need_request(self) -> bool:
        """Whether some expression reads the body or the claims."""
        return any({"req", "claims"} & found.names for found in (self.whole, *self.each) if found is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """Whether one object passes; `problem` where an expression could not be evaluated."""

    passes: bool
    problem: str = ""


def filters_of(receiver: Receiver) -> Filters:
    """Return the expressions of a Receiver, compiled once for all that use the same. Raises BadExpression."""
    known = frozenset({"res", "req", "claims"} if receiver.spec.type == _OIDC else {"res", "req"})
    spec = receiver.spec
    return Filters(
        whole=compile_expression(spec.resource_filter, known) if spec.resource_filter else None,
        each=tuple(compile_expression(entry.filter, known) if entry.filter else None for entry in spec.resources),
    )


def filter_problem(receiver: Receiver) -> str:
    """Return what is wrong with the expressions, in Flux's words, or ""."""
    try:
        filters_of(receiver)
    except BadExpression as error:
        return f"{TERMINAL}: {error}"
    return ""


def tells_errors(receiver: Receiver) -> bool:
    """Whether the caller gets a 500 where an expression cannot be evaluated."""
    return receiver.metadata.annotations.get(ERRORS_ANNOTATION, "") == "fail"


def packed(headers: Mapping[str, str], body: bytes, claims: Mapping[str, object]) -> Request:
    """Return what expressions read of a delivery, small enough for the inbox; takes milliseconds for megabytes. Raises BadPayload.

    As with Flux, `req` is {} unless the content type says that the body is JSON.
    """
    if headers.get("content-type", "").partition(";")[0].strip().lower() != _JSON:
        body = b"{}"
    parse(body)
    return Request(packed=base64.b64encode(zlib.compress(body, 1)).decode(), claims=json.dumps(claims) if claims else "{}")


async def judged(
    evaluator: Evaluator, expressions: Sequence[Expression], nodes: Sequence[Node], events: Sequence[Event]
) -> tuple[Judged, ...]:
    """Return for each object whether all expressions hold for it."""
    request = next((event for event in events if isinstance(event, Request)), Request())
    body = zlib.decompress(base64.b64decode(request.packed)) if request.packed else b"{}"
    shared = {"req": body, "claims": request.claims.encode() or b"{}"}
    found: list[Judged] = []
    for start in range(0, len(nodes), AT_ONCE):
        asks = [Ask(expressions=tuple(expressions), variables={"res": _resource(node)}) for node in nodes[start : start + AT_ONCE]]
        results = await evaluator.evaluate(shared, asks)
        found += [Judged(passes=result.holds, problem=result.problem) for result in results]
    return tuple(found)


def _resource(node: Node) -> dict[str, object]:
    return {"apiVersion": node.api_version, "kind": node.key.kind, "metadata": {**node.metadata}}


__all__ = ["BadPayload", "Filters", "Judged", "filter_problem", "filters_of", "judged", "packed", "tells_errors"]
