"""Why a Receiver cannot be served as it is.

In: a Receiver, and the fields of it that are not carried out. Out: what is wrong with it and what to do, "" where nothing is.
https://fluxcd.io/flux/components/notification/receivers/#receiver-status
"""

from receivers import RECEIVERS
from service.cel import BadExpression
from service.kinds.notification import FLUX_RECEIVER_TYPES, Receiver
from service.networks import Networks, networks
from service.triggers.filters import TERMINAL, filter_problem
from service.triggers.oidc import rules_of

ALLOW_ANNOTATION = "notification.sluice.dev/allow-from"  # networks, by commas, that deliveries may come from


def problem_of(receiver: Receiver, refused: tuple[str, ...]) -> str:
    """Return why a Receiver cannot be served by this version, with the field's name, or ""."""
    if refused:
        return f"{', '.join(refused)}: not carried out by this version of sluice; remove it, or let Flux serve this Receiver"
    sender = RECEIVERS.get(receiver.spec.type)
    if sender is None:
        return f"spec.type: {receiver.spec.type} is not carried out by this version of sluice; it knows {', '.join(RECEIVERS)}"
    if receiver.spec.events and sender.name is None and receiver.spec.type not in FLUX_RECEIVER_TYPES:  # Flux's own ignore it
        return f"spec.events: has no effect with the type {receiver.spec.type}, whose deliveries carry no event name; remove it"
    if receiver.spec.secret_ref is None and not sender.issuers:
        return f"spec.secretRef: needed by the type {receiver.spec.type}: name a Secret with the key token"
    try:
        if not allowed_by(receiver) and ALLOW_ANNOTATION in receiver.metadata.annotations:
            return f"{ALLOW_ANNOTATION}: names no network, so that nobody could deliver; remove it"
    except ValueError as error:
        return f"{ALLOW_ANNOTATION}: {error}"
    return ""


def allowed_by(receiver: Receiver) -> Networks:
    """Return the networks that deliveries may come from, () for all. Raises ValueError."""
    return networks(receiver.metadata.annotations.get(ALLOW_ANNOTATION, ""))


def expression_problem(receiver: Receiver) -> str:
    """Return what is wrong with the CEL expressions of a Receiver, in Flux's words, or ""."""
    try:
        rules_of(receiver)
    except BadExpression as error:
        return f"{TERMINAL}: {error}"
    return filter_problem(receiver)
