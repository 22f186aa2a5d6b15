"""Who may call a Receiver of the type generic-oidc: what its issuers' tokens must say.

In: `spec.oidcProviders`, and the claims of a token whose signature, audience and times are good. Out: () or the messages of what does not
hold. https://fluxcd.io/flux/components/notification/receivers/#generic-oidc-receiver
"""

from collections.abc import Mapping
from dataclasses import dataclass

from service.cel import Ask, BadExpression, Evaluator, Expression, compile_expression, is_identifier
from service.kinds.notification import OidcProvider, Receiver

DEFAULT_AUDIENCE = "notification-controller"
_NAMES = frozenset({"claims", "vars"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What one issuer's tokens are checked with: named steps, then expressions that must all hold, each with its message."""

    audience: str
    steps: tuple[tuple[str, Expression], ...]
    validations: tuple[Expression, ...]
    messages: tuple[str, ...]


def rules_of(receiver: Receiver) -> Mapping[str, Rules]:
    """Return the rules of each issuer. Raises BadExpression, also for names that are none, and ones that are there twice."""
    return {provider.issuer_url: _rules(provider) for provider in receiver.spec.oidc_providers}


def _rules(provider: OidcProvider) -> Rules:
    names = [variable.name for variable in provider.variables]
    for name in names:
        if not is_identifier(name) or names.count(name) > 1:
            raise BadExpression(f"the variable {name!r} of {provider.issuer_url} needs a name of letters, digits and _, used once")
    return Rules(
        audience=provider.audience or DEFAULT_AUDIENCE,
        steps=tuple((each.name, compile_expression(each.expression, _NAMES, "any")) for each in provider.variables),
        validations=tuple(compile_expression(each.expression, _NAMES) for each in provider.validations),
        messages=tuple(each.message for each in provider.validations),
    )


async def objections(evaluator: Evaluator, rules: Rules, claims: Mapping[str, object]) -> tuple[str, ...]:
    """Return why a token is not good enough: the message of each validation that does not hold, () where all do."""
    asks = [Ask(expressions=(each,), variables={"claims": dict(claims)}, steps=rules.steps) for each in rules.validations]
    results = await evaluator.evaluate({}, asks)
    return tuple(
        f"{message} ({result.problem})" if result.problem else message
        for message, result in zip(rules.messages, results, strict=True)
        if not result.holds
    )
