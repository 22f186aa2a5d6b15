"""GitHub, and what speaks its language: Gitea, Forgejo and Gogs; also the packages of GitHub's registry (ghcr.io).

Set up: the repository's Settings > Webhooks > Add webhook; content type application/json, the Receiver's token as the secret, the events
"Pushes" and, for images, "Registry packages" (a package must be linked to its repository).
Proof: `X-Hub-Signature-256`, else `X-Hub-Signature`: an HMAC of the body with the token.
Tells: repository, ref, commits and changed files of a push; name, tag and digest of a published image.
https://docs.github.com/en/webhooks/webhook-events-and-payloads and https://docs.gitea.com/usage/webhooks
"""

from collections.abc import Mapping

from receivers.commits import push_of
from receivers.contract import BadSignature, Credentials, Delivery, Event, ImagePush, Ping, Sender, Verifier
from receivers.images import split
from receivers.payload import Json, form_field, parse, text, text_or
from receivers.signature import hmac_of

_FORM = "application/x-www-form-urlencoded"
_REGISTRY = "ghcr.io"
_CONTAINERS = ("container", "docker")


def verifier(headers: Mapping[str, str], credentials: Credentials) -> Verifier:
    """Return the check of `X-Hub-Signature-256`, else `X-Hub-Signature` (SHA-1), else Gogs' `X-Gogs-Signature`. Raises BadSignature."""
    if "x-hub-signature-256" in headers:
        return hmac_of(headers["x-hub-signature-256"], credentials, algorithms=("sha256",))
    if "x-hub-signature" in headers:
        return hmac_of(headers["x-hub-signature"], credentials, algorithms=("sha1", "sha256", "sha512"))
    if "x-gogs-signature" in headers:
        return hmac_of(headers["x-gogs-signature"], credentials, algorithms=("sha256",), bare="sha256")
    raise BadSignature("X-Hub-Signature-256 is missing: set the Receiver's token as the secret of the hook at the sender")


def name(headers: Mapping[str, str]) -> str:
    """Return the event's name, such as `push`."""
    return headers.get("x-github-event", "")


def delivery_id(headers: Mapping[str, str]) -> str:
    """Return the id under which the sender lists the delivery."""
    return headers.get("x-github-delivery", "")


def read(delivery: Delivery) -> tuple[Event, ...]:
    """Return what a verified delivery says, () for events other than pushes, packages and `ping`. Raises BadPayload."""
    return read_named(delivery, name(delivery.headers))


def read_named(delivery: Delivery, event: str) -> tuple[Event, ...]:
    """Return what a delivery in GitHub's form says, whichever header its event's name came in. Raises BadPayload."""
    body = delivery.body
    if delivery.headers.get("content-type", "").partition(";")[0].strip().lower() == _FORM:
        body = form_field(body, "payload")
    payload = parse(body)
    match event.lower():
        case "push":
            return (push_of(payload),)
        case "ping":
            return (Ping(),)
        case "package" | "registry_package":
            return _package(payload, event.lower())
        case _:
            return ()


def _package(payload: Json, at: str) -> tuple[Event, ...]:
    """A version of a package: an image where its type says so. Parts of a multi-arch image come one by one, without a tag."""
    if text_or(payload, at, "package_type").lower() not in _CONTAINERS:
        return ()
    version = (at, "package_version")
    place = text_or(payload, *version, "package_url")
    found, tag, digest = split(place)
    if "/" not in found:
        owner = text_or(payload, at, "namespace") or text(payload, at, "owner", "login")
        found = f"{_REGISTRY}/{owner}/{text(payload, at, 'name')}"
    told = ("container_metadata", "tag")
    tag = text_or(payload, *version, *told, "name") or tag
    digest = text_or(payload, *version, *told, "digest") or digest or _digest(text_or(payload, *version, "version"))
    return (ImagePush(names=(found.lower(),), tag=tag, digest=digest),)


def _digest(version: str) -> str:
    return version if version.startswith("sha256:") else ""


GITHUB = Sender(type="github", verifier=verifier, name=name, delivery_id=delivery_id, read=read)
