"""The recordings beside these tests, and what becomes of one that is sent in pieces."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from receivers import RECEIVERS
from receivers.contract import Credentials, Delivery, Event, Issuer
from receivers.jwt import keys_of

FOLDER = Path(__file__).parent
TOKEN = b"a-shared-secret"
UNSIGNED = {"generic", "dockerhub", "quay", "acr", "cdevents"}  # the path alone proves something, as with Flux
KEYED = {"gcr", "generic-oidc", "sns"}  # what proves it is signed with a key of somebody else, and the token only makes the path
PLAIN = {"harbor", "distribution", "zot", "cloudevents", "eventbridge", "azuredevops"}  # the token comes in a header


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One recorded delivery."""

    type: str
    folder: Path

    @property
    def headers(self) -> dict[str, str]:
        return {name.lower(): value for name, value in json.loads(self.folder.joinpath("headers.json").read_text()).items()}

    @property
    def body(self) -> bytes:
        return self.folder.joinpath("body").read_bytes()

    @property
    def expected(self) -> list[dict[str, object]] | dict[str, str]:
        found: list[dict[str, object]] | dict[str, str] = json.loads(self.folder.joinpath("events.json").read_text())
        return found

    @property
    def token(self) -> bytes:
        own = self.folder / "token"
        return own.read_bytes() if own.exists() else TOKEN

    @property
    def credentials(self) -> Credentials:
        return credentials_of(self.type, self.token)

    @property
    def is_good(self) -> bool:
        """Whether the sender's part is right: only then does the body count."""
        return isinstance(self.expected, list) or self.expected["refused"] != "BadSignature"

    def __str__(self) -> str:
        return f"{self.type}-{self.folder.name}"


def folder_of(type_: str) -> Path:
    return FOLDER / type_.replace("-", "_")


def credentials_of(type_: str, token: bytes) -> Credentials:
    """With the keys and names of the folder, where the type needs them."""
    held = folder_of(type_) / "credentials.json"
    if not held.exists():
        return Credentials(token=token)
    said = json.loads(held.read_text())
    keys = keys_of(json.dumps(said["jwks"]).encode())
    issuers = tuple(Issuer(url=each["url"], audience=each["audience"], keys=keys) for each in said.get("issuers", ()))
    return Credentials(token=token, email=said.get("email", ""), audience=said.get("audience", ""), keys=keys, issuers=issuers)


CASES = [Case(type=type_, folder=path.parent) for type_ in RECEIVERS for path in sorted(folder_of(type_).glob("*/events.json"))]


def received(type_: str, headers: Mapping[str, str], body: bytes, token: bytes = TOKEN, piece: int = 1000) -> tuple[Event, ...]:
    """Verify and read, as the intake does."""
    sender = RECEIVERS[type_]
    check = sender.verifier(headers, credentials_of(type_, token))
    for start in range(0, len(body), piece):
        check.feed(body[start : start + piece])
    check.check()
    return sender.read(Delivery(headers=headers, body=body))
