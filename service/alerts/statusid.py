"""What a commit's status is called where a Provider says so itself: `spec.commitStatusExpr`.

In: a CEL expression over `event` (Flux's JSON, with the Alert's metadata), `provider` and `alert` (as the API server has them). Out: the
name. https://fluxcd.io/flux/components/notification/providers/#custom-commit-status-messages
"""

import json
from collections.abc import Mapping
from typing import Any

from providers.contract import Busy, Event, Misconfigured
from providers.flux_event import flux_json
from service.cel import Ask, Evaluator, Expression, compile_expression

VARIABLES = frozenset(("event", "provider", "alert"))


def expression_of(source: str) -> Expression:
    """Return the checked expression. Raises BadExpression."""
    return compile_expression(source, VARIABLES, "text")


async def status_id(source: str, event: Event, *, provider: Mapping[str, Any], alert: Mapping[str, Any], evaluator: Evaluator) -> str:
    """Return the name of an event's status. Raises BadExpression, Misconfigured where it gives none, Busy."""
    expression = expression_of(source)
    values = {"event": flux_json(event), "provider": provider, "alert": alert}
    shared = {name: json.dumps(value).encode() for name, value in values.items() if name in expression.names}
    [result] = await evaluator.evaluate(shared, [Ask(expressions=(expression,), variables={})])
    if result.problem.startswith(("stopped", "not evaluated")):
        raise Busy(f"spec.commitStatusExpr: {result.problem}")
    if result.problem or not str(result.value).strip():
        raise Misconfigured(f"spec.commitStatusExpr: {result.problem or 'it gives an empty text'}")
    return str(result.value)
