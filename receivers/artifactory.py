"""JFrog Artifactory.

Set up: Administration > General > Webhooks > New webhook; the events "Docker: Tag was pushed" and so on; the Receiver's token as the secret
token, with "use secret for payload signing" or without.
Proof: `X-JFrog-Event-Auth`: a hex HMAC-SHA256 of the body with the token where payload signing is on, else the token itself.
Tells: image, tag and digest. Deployed files of other repositories are not told apart: all that the Receiver names runs.
https://docs.jfrog.com/administration/docs/event-types
"""

import hmac
from collections.abc import Mapping

from receivers.contract import BadSignature, Credentials, Delivery, Event, ImagePush, Sender, Verifier
from receivers.images import host_of, named
from receivers.payload import Json, parse, text, text_or
from receivers.signature import TokenVerifier

_EVENTS = ("pushed", "deleted", "promoted")


class _EitherVerifier:
    """The header is the token, or the body's HMAC with it."""

    def __init__(self, claim: bytes, credentials: Credentials) -> None:
        self._claim = claim
        self._plain = TokenVerifier((claim,), credentials)
        self._mac = hmac.new(credentials.token, digestmod="sha256")

    def feed(self, chunk: bytes) -> None:
        """Take the next piece of the body."""
        self._mac.update(chunk)

    def check(self) -> None:
        """The body is complete. Raises BadSignature."""
        if not hmac.compare_digest(self._mac.hexdigest().encode(), self._claim.lower()):
            self._plain.check()


def verifier(headers: Mapping[str, str], credentials: Credentials) -> Verifier:
    """Return the check of `X-JFrog-Event-Auth`. Raises BadSignature."""
    if "x-jfrog-event-auth" not in headers:
        raise BadSignature("X-JFrog-Event-Auth is missing: set the Receiver's token as the webhook's secret token")
    return _EitherVerifier(headers["x-jfrog-event-auth"].strip().encode("utf-8", "surrogateescape"), credentials)


def read(delivery: Delivery) -> tuple[Event, ...]:
    """Return an ImagePush for the events of the domain `docker`, () for others. Raises BadPayload."""
    payload = parse(delivery.body)
    event = text_or(payload, "event_type")
    if text_or(payload, "domain") != "docker" or event not in _EVENTS:
        return ()
    digest = text_or(payload, "data", "sha256")
    return (
        ImagePush(
            names=_names(payload, text(payload, "data", "repo_key")),
            tag=text_or(payload, "data", "tag"),
            digest=f"sha256:{digest}" if digest else "",
            deleted=event == "deleted",
        ),
    )


def _names(payload: Json, repository: str) -> tuple[str, ...]:
    """All ways to pull it: the repository in the path, as a subdomain, as a part of the first label."""
    image = text_or(payload, "data", "path").rpartition("/")[0].rpartition("/")[0] or text(payload, "data", "image_name")
    host = host_of(text_or(payload, "jpd_origin"))
    if not host:
        return (named("", f"{repository}/{image}"),)
    first, dot, rest = host.partition(".")
    joined = f"{first}-{repository}{dot}{rest}"
    return (named(host, f"{repository}/{image}"), named(f"{repository}.{host}", image), named(joined, image))


ARTIFACTORY = Sender(type="artifactory", verifier=verifier, read=read)
