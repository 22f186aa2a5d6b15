"""A bucket of Google Cloud Storage or Azure, or of Amazon with the identity of the machine: listings and objects by obstore.

obstore (Apache's object_store in Rust) speaks all three with their credentials, in 5 MiB and one extra. It resolves names and follows
redirects by itself, so it is only let to the clouds' own hosts; what speaks S3 elsewhere is for service.sources.s3. Keys of the Secrets:
https://github.com/fluxcd/source-controller/blob/main/docs/spec/v1/buckets.md#provider
"""

import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, BinaryIO
from urllib.parse import urlsplit

from service.kinds.bucket import BucketSpec
from service.sources.bucketclient import MEANING, BucketError, Listed, NotThere

LIST_CHUNK = 1000
READ_CHUNK = 256 * 1024
_STATUS = re.compile(r"non-2xx status code: (\d{3})")
_RETRIES: dict[str, Any] = {"max_retries": 2, "retry_timeout": timedelta(seconds=20)}
_HOSTS = {
    "gcp": r"([a-z0-9-]+\.)*googleapis\.com",
    "azure": r"[a-z0-9.-]+\.(core\.(windows\.net|chinacloudapi\.cn|usgovcloudapi\.net|cloudapi\.de)|storage\.azure\.net)",
    "aws": r"[a-z0-9.-]+\.amazonaws\.com(\.cn)?",
}


class NotInstalled(Exception):
    """The extra `buckets` is not installed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """What a run goes with: a Secret's data (None: none is named), or a token that its cloud gave; PEM of an own CA, the URL of a proxy."""

    secret: Mapping[str, bytes] | None = None
    token: str = field(default="", repr=False)
    ca: bytes = b""
    proxy: str = ""


class CloudBucket:
    """See service.sources.bucketclient.BucketClient."""

    def __init__(self, spec: BucketSpec, access: Access) -> None:
        """Raises BucketError where the endpoint is not the cloud's, or the Secret cannot be used; NotInstalled."""
        check_host(spec)
        try:
            import obstore
            from obstore import exceptions
        except ImportError as error:
            raise NotInstalled("buckets of clouds need the extra: pip install 'sluice-gitops[buckets]'") from error
        self._obstore = obstore
        self._errors = exceptions
        self._name = f"bucket '{spec.bucket_name}' at {spec.endpoint}"
        try:
            self._store = _store(spec, access)
        except (exceptions.BaseError, ValueError) as error:
            raise BucketError(f"the client of {self._name} cannot be made from its spec and Secret: {type(error).__name__}") from error

    async def list(self, prefix: str) -> AsyncIterator[list[Listed]]:
        try:
            async for chunk in self._obstore.list(self._store, prefix=prefix or None, chunk_size=LIST_CHUNK):
                yield [
                    Listed(key=each["path"], etag=(each["e_tag"] or "").strip('"'), size=each["size"])
                    for each in chunk
                    if not each["path"].endswith("/") and each["path"].startswith(prefix)
                ]
        except self._errors.BaseError as error:
            raise self._told(error, "list") from error

    async def read(self, wanted: Listed, target: BinaryIO) -> None:
        size = 0
        try:
            options: Any = {"if_match": f'"{wanted.etag}"'} if wanted.etag else {}
            answer = await self._obstore.get_async(self._store, wanted.key, options=options)
            async for chunk in answer.stream(min_chunk_size=READ_CHUNK):
                size += len(chunk)
                if size > wanted.size:
                    break
                target.write(chunk)
        except (self._errors.PreconditionError, self._errors.NotFoundError) as error:
            raise NotThere(wanted.key) from error
        except self._errors.BaseError as error:
            raise self._told(error, f"get '{wanted.key}' of") from error
        if size != wanted.size:
            raise NotThere(wanted.key)

    def _told(self, error: BaseException, doing: str) -> BucketError:
        """The status of the answer is all that is taken of it: listings come as GenericError, whose text quotes the body."""
        found = _STATUS.search(str(error))
        status = int(found[1]) if found is not None else 0
        if isinstance(error, self._errors.UnauthenticatedError | self._errors.PermissionDeniedError):
            status = status or 403
        words = f"it answered {status}{MEANING.get(status, '')}" if status else "no usable answer"
        return BucketError(f"cannot {doing} {self._name}: {words}", status)


def check_host(spec: BucketSpec) -> None:
    """Raises BucketError for an endpoint that the cloud of the provider does not have."""
    if re.fullmatch(_HOSTS[spec.provider], _host(spec)) and not spec.insecure:
        return
    if spec.provider == "aws":
        raise BucketError("spec.endpoint: this machine's identity is for https and hosts of amazonaws.com alone; name a secretRef")
    raise BucketError(f"spec.endpoint: a bucket of the provider {spec.provider} is at a host of that cloud, over https")


def is_own(spec: BucketSpec, access: Access) -> bool:
    """Whether nothing is given to log in with but what this machine is. Raises BucketError where the Secret cannot be used."""
    if access.token:
        return False
    if spec.provider == "azure" and access.secret:
        return set(_azure(_texts(access.secret))) == {"client_id"}  # which of the machine's identities
    return not access.secret


def _host(spec: BucketSpec) -> str:
    return (urlsplit(spec.endpoint if "://" in spec.endpoint else f"//{spec.endpoint}").hostname or "").lower()


def _store(spec: BucketSpec, access: Access) -> Any:
    from obstore.store import AzureStore, GCSStore, S3Store

    options: dict[str, Any] = {"timeout": spec.timeout, "connect_timeout": timedelta(seconds=10)}
    if access.ca:
        options["root_certificate"] = access.ca
    if access.proxy:
        options["proxy_url"] = access.proxy
    lent: Any = {"credential_provider": lambda: {"token": access.token, "expires_at": None}} if access.token else {}
    kinds: dict[str, Any] = {"gcp": GCSStore, "azure": AzureStore, "aws": S3Store}
    return kinds[spec.provider](
        spec.bucket_name, config=_config(spec, access.secret), client_options=options, retry_config=_RETRIES, **lent
    )


def _config(spec: BucketSpec, given: Mapping[str, bytes] | None) -> dict[str, Any]:
    secret = _texts(given or {})
    match spec.provider:
        case "gcp":
            return {"service_account_key": needed(secret, "serviceaccount")} if given is not None else {}
        case "azure":
            return {"endpoint": spec.endpoint, "account_name": _host(spec).partition(".")[0], **_azure(secret)}
        case _:
            return {"endpoint": f"https://{spec.endpoint}", "region": spec.region or "us-east-1"}


def _texts(given: Mapping[str, bytes]) -> dict[str, str]:
    return {name: value.decode(errors="replace").strip() for name, value in given.items()}


def _azure(secret: Mapping[str, str]) -> dict[str, str]:
    """In the order in which Flux looks; an application's certificate is for service.sources.azurelogin."""
    if not secret:
        return {}
    if secret.get("tenantId") and secret.get("clientId") and secret.get("clientSecret"):
        host = {"authority_host": secret["authorityHost"]} if secret.get("authorityHost") else {}
        return host | {"tenant_id": secret["tenantId"], "client_id": secret["clientId"], "client_secret": secret["clientSecret"]}
    for key, name in (("clientId", "client_id"), ("accountKey", "account_key"), ("sasKey", "sas_key")):
        if secret.get(key):
            return {name: secret[key]}
    fields = "'clientId', 'accountKey' or 'sasKey', or 'tenantId' and 'clientId' with 'clientSecret' or 'clientCertificate'"
    raise BucketError(f"invalid secret data: requires {fields}", 401)


def needed(secret: Mapping[str, str], key: str) -> str:
    """Return the value of a key of a Secret. Raises BucketError where it is missing."""
    if not secret.get(key):
        raise BucketError(f"invalid secret data: required field '{key}' is missing", 401)
    return secret[key]
