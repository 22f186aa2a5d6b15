"""googlepubsub: the event itself, as JSON, on a topic of Google Cloud Pub/Sub.

Credentials: make a service account with the role Pub/Sub Publisher, make a JSON key for it (`gcloud iam service-accounts keys create`),
and put the file into the Secret's key `token`; or set `spec.serviceAccountName` to an account with Google's annotations. The address is
the project's id, `spec.channel` the topic; the Secret's `headers` become the message's attributes. Sent is Flux's event JSON. The format:
https://cloud.google.com/pubsub/docs/reference/rest/v1/projects.topics/publish
"""

import json
import re
from base64 import b64encode
from collections.abc import Generator
from datetime import timedelta
from urllib.parse import urlencode, urlsplit

from providers.answers import check, json_of, json_request, needs
from providers.contract import Dialogue, Event, Exchange, Identity, Lent, Misconfigured, Rejected, Request, Response, Secret, Target
from providers.flux_event import flux_bytes
from providers.identity import google_token
from providers.jwt import signed

API, TOKENS, SCOPE = "https://pubsub.googleapis.com/v1", "https://oauth2.googleapis.com/token", "https://www.googleapis.com/auth/pubsub"
TO_DO = {403: "give the service account the role Pub/Sub Publisher", 404: "check spec.address (the project) and spec.channel (the topic)"}
_NAME = re.compile(r"[A-Za-z][\w.~+%:-]{2,254}", re.ASCII)


def converse(event: Event, target: Target) -> Dialogue:
    """Publish the event. Raises Misconfigured, Rejected, Busy."""
    project = needs(target.address, "no project: set spec.address to the project's id")
    topic = needs(target.channel, "no topic: set spec.channel")
    if not _NAME.fullmatch(project) or not _NAME.fullmatch(topic):
        raise Misconfigured("spec.address is not a project's id, or spec.channel is not a topic: set them to their names alone")
    token = target.token.reveal() if target.granted else (yield from _token(target))
    message = {"data": b64encode(flux_bytes(event)).decode(), **({"attributes": dict(target.headers)} if target.headers else {})}
    request = json_request(
        f"{API}/projects/{project}/topics/{topic}:publish", {"messages": [message]}, headers={"Authorization": f"Bearer {token}"}
    )
    check("Pub/Sub", (yield request), to_do=TO_DO)


def exchange(identity: Identity, _target: Target) -> Exchange[Lent]:
    """Lead to a token of Google. Raises Misconfigured, Rejected, Busy."""
    return (yield from google_token(identity))


def _token(target: Target) -> Generator[Request, Response, str]:
    """A token of an hour for the service account's key."""
    account = _account(needs(target.keys.get("token", ""), "no key: put the service account's JSON key into the Secret's key token"))
    url = account["token_uri"] or TOKENS
    if urlsplit(url).scheme != "https":
        raise Misconfigured("the key's token_uri is not an https address: store the file as Google gave it")
    claims = {"iss": account["client_email"], "scope": SCOPE, "aud": url, "iat": int((target.now - timedelta(minutes=1)).timestamp())}
    claims |= {"exp": int((target.now + timedelta(minutes=50)).timestamp())}
    proof = signed(claims, account["private_key"])
    if proof is None:
        raise Misconfigured("the key's private_key is not an RSA key: store the file as Google gave it")
    body = urlencode({"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": proof}).encode()
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = yield Request(method="POST", url=Secret(url), headers=headers, body=body)
    check("Google", answer, to_do={400: "make a new key for the service account", 401: "make a new key for the service account"})
    found = json_of("Google", answer)
    token = found.get("access_token") if isinstance(found, dict) else None
    if not isinstance(token, str) or not token.isascii() or not token.isprintable() or not token:
        raise Rejected("Google gave no token for the service account: check its key")
    return token


def _account(text: str) -> dict[str, str]:
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):
        body = None
    names = ("client_email", "private_key", "token_uri")
    found = {name: body.get(name, "") for name in names} if isinstance(body, dict) else {}
    if not all(isinstance(each, str) for each in found.values()) or not found.get("client_email") or not found.get("private_key"):
        raise Misconfigured("the Secret's key token is not a service account's JSON key: store the file as Google gave it")
    return found
