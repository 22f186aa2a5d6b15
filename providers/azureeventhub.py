"""azureeventhub: the event itself, as JSON, in an Event Hub of Azure.

Credentials: in the Event Hub choose Shared access policies, add one with Send, and put its connection string
(`Endpoint=sb://...;SharedAccessKeyName=...;SharedAccessKey=...;EntityPath=...`) into the Secret's key `address`. Or put a token of
Microsoft Entra ID into `token`, the hub's name into `spec.address` and the namespace into `spec.channel`; such a token ends soon. Or set
`spec.serviceAccountName` to an account with Azure's annotations. Sent is Flux's event JSON as one event. The format:
https://learn.microsoft.com/en-us/rest/api/eventhub/send-event
"""

import hashlib
import hmac
import re
from base64 import b64encode
from datetime import timedelta
from urllib.parse import quote, urlsplit

from providers.answers import address_of, check, needs
from providers.contract import Dialogue, Event, Exchange, Identity, Lent, Misconfigured, Request, Secret, Target
from providers.flux_event import flux_bytes
from providers.identity import azure_token

VALID = timedelta(minutes=10)
SCOPE = "https://eventhubs.azure.net/.default"
TO_DO = {401: "put a valid connection string into the Secret", 404: "check the hub's name and the namespace"}
_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,255}", re.ASCII)


def converse(event: Event, target: Target) -> Dialogue:
    """Send the event. Raises Misconfigured, Rejected, Busy."""
    address = address_of(target)
    if address.startswith("Endpoint="):
        host, hub, authorization = _by_key(address, target)
    else:
        token = needs(target.token, "no credentials: put them into the Secret, or set spec.serviceAccountName")
        namespace = needs(target.channel, "no namespace: set spec.channel to the namespace of the Event Hub")
        host, hub, authorization = f"{namespace}.servicebus.windows.net", address, f"Bearer {token}"
    if not _NAME.fullmatch(hub) or not _NAME.fullmatch(host):
        raise Misconfigured("the hub or its namespace is not a name: copy the connection string again, with EntityPath in it")
    headers = {"Content-Type": "application/json", "Authorization": authorization}
    request = Request(method="POST", url=Secret(f"https://{host}/{hub}/messages"), headers=headers, body=flux_bytes(event))
    check("Event Hubs", (yield request), to_do=TO_DO)


def exchange(identity: Identity, _target: Target) -> Exchange[Lent]:
    """Lead to a token for Event Hubs. Raises Misconfigured, Rejected, Busy."""
    return (yield from azure_token(identity, SCOPE))


def _by_key(text: str, target: Target) -> tuple[str, str, str]:
    """The host, the hub, and a signature that is good for a while, out of a connection string."""
    parts = dict(part.partition("=")[::2] for part in text.split(";") if part)
    host = urlsplit(parts.get("Endpoint", "")).hostname or ""
    hub, name, key = parts.get("EntityPath", ""), parts.get("SharedAccessKeyName", ""), parts.get("SharedAccessKey", "")
    if not host or not hub or not name or not key:
        raise Misconfigured("the connection string lacks one of its four parts: take the one of the hub, with EntityPath, and set it")
    resource = quote(f"https://{host}/{hub}".lower(), safe="")
    expires = int((target.now + VALID).timestamp())
    signature = hmac.new(key.encode(), f"{resource}\n{expires}".encode(), hashlib.sha256).digest()
    signed = quote(b64encode(signature).decode(), safe="")
    return host, hub, f"SharedAccessSignature sr={resource}&sig={signed}&se={expires}&skn={quote(name, safe='')}"
