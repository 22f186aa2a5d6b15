"""Anything that can send a POST to an address: a CI job, a script, `curl -X POST`.

Set up: give the sender the Receiver's address, `status.webhookPath`, and let nobody else know it.
Proof: none but the path, which is made from the token: whoever knows it can ask for a reconcile, of what the Receiver names and no more.
Tells: nothing; any body is taken. https://fluxcd.io/flux/components/notification/receivers/#generic-receiver
"""

from collections.abc import Mapping

from receivers.contract import Credentials, Delivery, Event, Sender, Verifier
from receivers.signature import PathVerifier


def verifier(_headers: Mapping[str, str], _credentials: Credentials) -> Verifier:
    """Return the check that the path alone has already done."""
    return PathVerifier()


def read(_delivery: Delivery) -> tuple[Event, ...]:
    """Return (): the body is the sender's own affair."""
    return ()


GENERIC = Sender(type="generic", verifier=verifier, read=read)
