"""A recorded delivery, checked without a service: what the intake would say, and what may be wrong with the recording.

In: a type, headers, a body and a token, as files hold them. Out: Checked, whose reason is the one that the delivery log would have.
"""

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from receivers import RECEIVERS
from receivers.contract import BadPayload, BadSignature, Credentials, Delivery, Issuer, Sender, Unchanged
from receivers.guide import render
from receivers.jwt import issuer_of, keys_of
from receivers.payload import parse, text_or
from receivers.record import dump
from service.triggers.oidc import DEFAULT_AUDIENCE

_LINE = re.compile(r"(?:[<>*] )?(?P<name>:?[!#$%&'*+.^_`|~0-9A-Za-z-]+): ?(?P<value>.*)")
_HINTS = {
    "token": "with the token file's last line break taken away it fits: a Secret made from that file has the line break too",
    "body": "with the body file's last line break taken away it fits: the sender has not sent it",
}


class BadRecording(Exception):
    """The files are no recording; the message says what to change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What becomes of a delivery. `reason` is "" where it is taken; `events_json` is a JSON list. `hint` may say what is wrong."""

    verdict: Literal["stored", "filtered", "refused"]
    reason: str = ""
    hint: str = ""
    event: str = ""
    delivery_id: str = ""
    signed_at: datetime | None = None
    events_json: str = "[]"


def headers_of(recorded: str) -> dict[str, str]:
    """Return headers with names in lower case, of a JSON object or of lines `Name: value` as browsers and curl show them.

    Raises BadRecording.
    """
    if recorded.lstrip().startswith("{"):
        return _from_json(recorded)
    found: dict[str, str] = {}
    for number, line in enumerate(recorded.splitlines(), 1):
        match = _LINE.fullmatch(line.strip())
        if match is not None:
            found[match["name"].lower()] = match["value"].strip()
        elif line.strip(" <>*\t") and not re.search(r"HTTP/[\d.]+", line):
            raise BadRecording(f"line {number} of the headers is no header: write `Name: value`, one a line, or a JSON object")
    return found


def check(type_: str, headers: Mapping[str, str], body: bytes, credentials: Credentials) -> Checked:
    """Return what the intake would do with a delivery, apart from `spec.events` and the time. Raises BadRecording for an unknown type."""
    sender = RECEIVERS.get(type_)
    if sender is None:
        raise BadRecording(f"the type {type_} is not carried out by this version; there are {', '.join(RECEIVERS)}")
    if sender.issuers and not credentials.issuers:
        credentials = _of_any_issuer(headers, credentials)
    refusal = _refusal(sender, headers, body, credentials)
    event, delivery_id = sender.name(headers) if sender.name is not None else "", sender.delivery_id(headers)
    about = Checked(verdict="refused", reason=refusal, event=event, delivery_id=delivery_id)
    if refusal:
        return replace(about, hint=_hint(sender, headers, body, credentials))
    about = replace(about, signed_at=sender.signed_at(headers) if sender.signed_at is not None else None)
    try:
        events = sender.read(Delivery(headers=headers, body=body))
    except BadPayload as error:
        return replace(about, reason=str(error))
    nothing = bool(events) and all(isinstance(each, Unchanged) for each in events)
    return replace(about, verdict="filtered" if nothing else "stored", events_json=dump(events))


def credentials_of(token: bytes, *, email: str = "", audience: str = "", jwks: bytes = b"") -> Credentials:
    """Return what a Secret would hold, with the keys of a JWK set for the types that need them. Raises BadRecording."""
    try:
        return Credentials(token=token, email=email, audience=audience, keys=keys_of(jwks) if jwks else ())
    except BadPayload as error:
        raise BadRecording(f"the keys are no JWK set: {error}") from error


def guide() -> str:
    """Return the guide to all senders, in Markdown."""
    return render()


def _refusal(sender: Sender, headers: Mapping[str, str], body: bytes, credentials: Credentials) -> str:
    try:
        verifier = sender.verifier(headers, credentials)
        verifier.feed(body)
        verifier.check()
        if sender.signed_at is not None:
            sender.signed_at(headers)
    except BadSignature as error:
        return str(error)
    return ""


def _hint(sender: Sender, headers: Mapping[str, str], body: bytes, credentials: Credentials) -> str:
    """Editors end files with a line break, which counts in signatures."""
    short, short_body = replace(credentials, token=credentials.token.rstrip(b"\r\n")), body.removesuffix(b"\n").removesuffix(b"\r")
    if short != credentials and not _refusal(sender, headers, body, short):
        return _HINTS["token"]
    if short_body != body and not _refusal(sender, headers, short_body, credentials):
        return _HINTS["body"]
    if short != credentials and short_body != body and not _refusal(sender, headers, short_body, short):
        return f"{_HINTS['token']}; the body file's too"
    return ""


def _of_any_issuer(headers: Mapping[str, str], credentials: Credentials) -> Credentials:
    """What the Receiver would say of its issuers is not known here: the given keys are those of whoever the token names."""
    with suppress(BadSignature):
        issuer = issuer_of(headers.get("authorization", "").rpartition(" ")[2])
        audience = credentials.audience or DEFAULT_AUDIENCE
        return replace(credentials, issuers=(Issuer(url=issuer, audience=audience, keys=credentials.keys),))
    return credentials


def _from_json(recorded: str) -> dict[str, str]:
    """Go and Node write a list for each header; its first value counts."""
    try:
        whole = parse(recorded.encode())
        return {name.lower(): text_or(whole, name, 0) if isinstance(whole[name], list) else text_or(whole, name) for name in whole}
    except BadPayload as error:
        raise BadRecording(f"the headers are not a JSON object of texts: {error}") from error
