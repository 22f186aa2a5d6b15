"""NATS' client protocol, as far as publishing goes: text in, text out.

In: the server's INFO, and credentials. Out: the CONNECT line, with the server's nonce signed where it asks for that.
https://docs.nats.io/reference/reference-protocols/nats-protocol and https://github.com/nats-io/nkeys (seeds)
"""

import base64
import binascii
import json
import re

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from providers.answers import has_pair
from providers.contract import Busy, Misconfigured, Rejected, Target

_JWT = re.compile(r"-----BEGIN NATS USER JWT-----\s+(\S+)\s+-+END NATS USER JWT-+")
_SEED = re.compile(r"(?:-----BEGIN USER NKEY SEED-----\s+)?(SU[A-Z2-7]{56})\b")
SUBJECT = re.compile(r"[^\s.*>]+(\.[^\s.*>]+)*")
STREAMS = b"$JS.API.STREAM.NAMES"
ANSWER_BYTES = 512 * 1024
TOO_LONG = 10054  # JSStreamMessageExceedsMaximumErr
_USER, _SEED_OF_USER = 20 << 3, 18 << 3


class NotAllowed(Rejected):
    """We may publish, perhaps, but not ask, or not hear the answer."""


def info(line: bytes) -> dict[str, object]:
    """The server's greeting. Raises Busy where it is none."""
    try:
        found = json.loads(line.removeprefix(b"INFO ")) if line.startswith(b"INFO ") else None
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise Busy("what answers there is no NATS server: check spec.address")
    return found


def connect(greeting: dict[str, object], target: Target, *, tls: bool) -> bytes:
    """The CONNECT line: creds before nkey before username and password before a token. Raises Misconfigured."""
    fields: dict[str, object] = {"verbose": False, "pedantic": False, "tls_required": tls, "name": "sluice", "lang": "python"}
    fields |= {"version": "1", "protocol": 1, "echo": False}
    fields |= {"no_responders": has_streams(greeting), "headers": has_streams(greeting)}
    nonce = str(greeting.get("nonce", ""))
    if "creds" in target.keys:
        text = target.keys["creds"].reveal()
        token = _JWT.search(text)
        if token is None:
            raise Misconfigured("the Secret's key creds is not a .creds file: store the file as nsc made it")
        fields |= {"jwt": token[1], "sig": _signature(_key(text, "creds"), nonce)}
    elif "nkey" in target.keys:
        key = _key(target.keys["nkey"].reveal(), "nkey")
        fields |= {"nkey": public_of(key), "sig": _signature(key, nonce)}
    elif has_pair(target):
        fields |= {"user": target.username, "pass": target.password.reveal()}
    elif target.token:
        fields |= {"auth_token": target.token.reveal()}
    return b"CONNECT " + json.dumps(fields).encode() + b"\r\n"


def has_streams(greeting: dict[str, object]) -> bool:
    """Whether the server has JetStream."""
    return greeting.get("jetstream") is True and greeting.get("headers") is True


def size_of(line: bytes) -> int:
    """How long the message is that follows a line MSG or HMSG. Raises Busy."""
    size = line.split()[-1]
    if not size.isdigit() or len(size) > 9 or int(size) > ANSWER_BYTES:
        raise Busy("the NATS server gave an answer that is too long, or none")
    return int(size)


def holds(answer: bytes) -> bool:
    """Whether an answer to a question for streams names one."""
    try:
        body = json.loads(answer)
    except ValueError:
        return False  # a status: nobody there
    return isinstance(body, dict) and bool(body.get("streams"))


def check_stored(answer: bytes) -> None:
    """Return if the answer to a message says that a stream has stored it. Raises Rejected, Busy."""
    try:
        body = json.loads(answer)
    except ValueError:
        body = None
    if isinstance(body, dict) and "error" not in body and isinstance(body.get("seq"), int):
        return
    error = body.get("error") if isinstance(body, dict) else None
    number = error.get("err_code") if isinstance(error, dict) else None
    if number == TOO_LONG:
        raise Rejected("the event is longer than the stream takes: raise its max_msg_size")
    raise Busy(f"the stream did not store it: error {number}" if isinstance(number, int) else "the stream did not store it")


def refusal(line: bytes) -> Exception:
    """What an error line of the server means. Its words are not repeated: they may name accounts."""
    text = line.decode(errors="replace").lower()
    if "permissions violation" in text and ("$js.api." in text or "_inbox." in text):
        return NotAllowed("the user may not ask for streams")
    if "authorization" in text or "authentication" in text or "permissions" in text:
        return Misconfigured("NATS refuses the credentials: put valid ones into the Secret, with the right to publish there")
    if "payload" in text:
        return Rejected("the event is longer than the NATS server takes: raise its max_payload")
    return Busy("the NATS server ended the connection")


def public_of(key: Ed25519PrivateKey) -> str:
    """The public key as NATS writes it: `U...`."""
    raw = bytes([_USER]) + key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return base64.b32encode(raw + binascii.crc_hqx(raw, 0).to_bytes(2, "little")).decode().rstrip("=")


def _key(text: str, name: str) -> Ed25519PrivateKey:
    found = _SEED.search(text)
    raw = base64.b32decode(found[1] + "=" * (-len(found[1]) % 8)) if found else b""
    good = len(raw) == 36 and raw[0] & 0xF8 == _SEED_OF_USER and binascii.crc_hqx(raw[:-2], 0) == int.from_bytes(raw[-2:], "little")
    if not good:
        raise Misconfigured(f"the Secret's key {name} holds no seed of a user: it begins with SU and has 58 characters")
    return Ed25519PrivateKey.from_private_bytes(raw[2:-2])


def _signature(key: Ed25519PrivateKey, nonce: str) -> str:
    return base64.urlsafe_b64encode(key.sign(nonce.encode())).decode().rstrip("=")
