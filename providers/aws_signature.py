"""AWS' signature of a request, version 4.

In: a request and an access key. Out: the Authorization header.
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, quote, urlsplit


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """An access key, and what it is used for."""

    identity: str
    secret: str = field(repr=False)
    region: str
    service: str

    def scope(self, moment: str) -> str:
        """What a signature of that time is good for."""
        return f"{moment[:8]}/{self.region}/{self.service}/aws4_request"


def authorization(keys: Keys, method: str, url: str, *, headers: Mapping[str, str], body: bytes) -> str:
    """The Authorization header; `headers` are those that are signed, with Host and X-Amz-Date among them."""
    parts = urlsplit(url)
    lower = {name.lower(): " ".join(value.split()) for name, value in sorted(headers.items(), key=lambda pair: pair[0].lower())}
    query = "&".join(sorted(f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}" for name, value in parse_qsl(parts.query, True)))
    names = ";".join(lower)
    lines = [method, quote(parts.path or "/", safe="/-_.~%"), query, *(f"{name}:{value}" for name, value in lower.items()), "", names]
    moment = lower["x-amz-date"]
    found = signature(keys, "\n".join([*lines, hashlib.sha256(body).hexdigest()]), moment=moment)
    return f"AWS4-HMAC-SHA256 Credential={keys.identity}/{keys.scope(moment)}, SignedHeaders={names}, Signature={found}"


def signature(keys: Keys, request: str, *, moment: str) -> str:
    """The signature of a canonical request, in hex; `moment` as it is signed, `20260101T000000Z`."""
    scope = keys.scope(moment)
    text = "\n".join(["AWS4-HMAC-SHA256", moment, scope, hashlib.sha256(request.encode()).hexdigest()])
    key = f"AWS4{keys.secret}".encode()
    for part in scope.split("/"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
