"""Short-lived keys of a bucket from a token service: a user and password of LDAP in, an access key out.

https://github.com/minio/minio/blob/master/docs/sts/ldap.md and https://fluxcd.io/flux/components/source/buckets/#sts
"""

import re
from collections.abc import Mapping
from urllib.parse import urlsplit

import aiohttp

from service.outbound import OutboundRefused, refusal_in
from service.sources.bucketclient import MEANING, BucketError
from service.sources.remote import Way
from service.sources.s3 import AccessKey

MOST_BYTES = 2**16
_NAMES = ("AccessKeyId", "SecretAccessKey", "SessionToken")


async def ldap_key(way: Way, endpoint: str, login: Mapping[str, bytes]) -> AccessKey:
    """Ask for a key that holds for an hour. Raises BucketError."""
    host = urlsplit(endpoint).netloc.rpartition("@")[2]
    form = {
        "Action": "AssumeRoleWithLDAPIdentity",
        "Version": "2011-06-15",
        "LDAPUsername": login.get("username", b"").decode(errors="replace").strip(),
        "LDAPPassword": login.get("password", b"").decode(errors="replace").strip("\r\n"),
    }
    try:
        async with way.session.post(endpoint, data=form, allow_redirects=False) as answer:
            if answer.status != 200:
                status = 401 if answer.status == 400 else answer.status  # so MinIO says that the password is wrong
                raise BucketError(f"the token service at {host} answered {answer.status}{MEANING.get(status, '')}", status)
            body = b""
            while len(body) < MOST_BYTES and (more := await answer.content.read(MOST_BYTES)):
                body += more
    except (aiohttp.ClientError, ConnectionError, OutboundRefused) as error:
        raise BucketError(f"the token service at {host}: {refusal_in(error) or f'no answer ({type(error).__name__})'}") from error
    text = body.decode(errors="replace")
    found = [re.search(rf"<{name}>\s*([A-Za-z0-9+/=_.-]{{1,8192}})\s*</{name}>", text) for name in _NAMES]
    identity, secret, session = (each[1] if each else "" for each in found)
    if not identity or not secret:
        raise BucketError(f"the token service at {host} gave no key")
    return AccessKey(identity=identity, secret=secret, session=session)
