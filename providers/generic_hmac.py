"""generic-hmac: the event as JSON to any address, signed.

Credentials: choose a secret text, put it into the Secret's key `token`, and give it to whoever receives the request. Sent is what `generic`
sends, with the header `X-Signature: sha256=<hex>`, the HMAC-SHA256 of the body.
The format: https://fluxcd.io/flux/components/notification/providers/#generic-webhook-with-hmac
"""

import hashlib
import hmac

from providers.answers import address_of, needs, settle_as
from providers.contract import Event, Request, Secret, Target
from providers.flux_event import flux_bytes
from providers.generic import headers_of

settle = settle_as("the webhook")


def render(event: Event, target: Target) -> Request:
    """Return the signed request. Raises Misconfigured where the address or the token is missing."""
    key = needs(target.token, "no token: put the shared secret into the Secret's key token")
    body = flux_bytes(event)
    signature = hmac.new(key.encode(), body, hashlib.sha256).hexdigest()
    headers = headers_of(event, target) | {"X-Signature": f"sha256={signature}"}
    return Request(method="POST", url=Secret(address_of(target)), headers=headers, body=body)
