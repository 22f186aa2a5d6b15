"""Anything that can sign what it sends: a CI job, a script.

Set up: give the sender the Receiver's address, `status.webhookPath`, and the token, and let it sign:
`printf %s "$BODY" | openssl dgst -sha256 -hmac "$TOKEN" -r | awk '{print "X-Signature: sha256=" $1}'`.
Proof: `X-Signature`: `sha256=`, `sha512=` or `sha1=` and the hex HMAC of the body with the token. It holds no time: what was heard once can
be sent again, which does no more than ask for a reconcile again.
Tells: nothing; any body is taken. https://fluxcd.io/flux/components/notification/receivers/#generic-hmac-receiver
"""

from collections.abc import Mapping

from receivers.contract import BadSignature, Credentials, Delivery, Event, Sender, Verifier
from receivers.signature import hmac_of


def verifier(headers: Mapping[str, str], credentials: Credentials) -> Verifier:
    """Return the check of `X-Signature`. Raises BadSignature."""
    if "x-signature" not in headers:
        raise BadSignature("X-Signature is missing: sign the body with the Receiver's token")
    return hmac_of(headers["x-signature"], credentials, algorithms=("sha256", "sha512", "sha1"))


def read(_delivery: Delivery) -> tuple[Event, ...]:
    """Return (): the body is the sender's own affair."""
    return ()


GENERIC_HMAC = Sender(type="generic-hmac", verifier=verifier, read=read)
