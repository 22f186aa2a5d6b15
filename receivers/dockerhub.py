"""Docker Hub.

Set up: the repository's Webhooks; the address with the Receiver's `status.webhookPath`. Docker Hub knows no secret.
Proof: none but the path, which is made from the token.
Tells: image and tag, no digest. https://docs.docker.com/docker-hub/repos/manage/webhooks/
"""

from receivers.contract import Delivery, Event, ImagePush, Sender
from receivers.generic import verifier
from receivers.images import named
from receivers.payload import parse, text_or

HOST = "docker.io"


def read(delivery: Delivery) -> tuple[Event, ...]:
    """Return an ImagePush, () where the repository is not named. Raises BadPayload."""
    payload = parse(delivery.body)
    found = text_or(payload, "repository", "repo_name")
    return (ImagePush(names=(named(HOST, found),), tag=text_or(payload, "push_data", "tag")),) if found else ()


DOCKERHUB = Sender(type="dockerhub", verifier=verifier, read=read)
