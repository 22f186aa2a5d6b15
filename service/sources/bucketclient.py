"""A bucket of an object store: its spec and Secrets in, listings and streamed objects out.

The client is obstore (Apache's object_store in Rust): S3, Google Cloud Storage and Azure in one asyncio API, 5 MiB, one extra. Without
spec.secretRef a `generic` bucket is read anonymously; the others then use what the machine itself has (instance or workload identity).
The endpoint's addresses are checked against the outbound policy before each run. Keys of the Secrets:
https://github.com/fluxcd/source-controller/blob/main/docs/spec/v1/buckets.md#provider
"""

import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, BinaryIO

from service.kinds.bucket import BucketSpec

LIST_CHUNK = 1000
READ_CHUNK = 256 * 1024
_STATUS = re.compile(r"non-2xx status code: (\d{3})")
_RETRIES: dict[str, Any] = {"max_retries": 2, "retry_timeout": timedelta(seconds=20)}


class BucketError(Exception):
    """The object store refused or is away; the message holds nothing that it said."""

    def __init__(self, message: str, *, credentials: bool = False) -> None:
        super().__init__(message)
        self.credentials = credentials


class NotInstalled(Exception):
    """The extra `buckets` is not installed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """What a run goes with: a Secret's data (None: none is named), PEM of an own CA, the URL of a proxy."""

    secret: Mapping[str, bytes] | None = None
    ca: bytes = b""
    proxy: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """One object: `etag` is without quotes, `size` in bytes."""

    key: str
    etag: str
    size: int


class BucketClient:
    """One bucket for one run."""

    def __init__(self, spec: BucketSpec, access: Access) -> None:
        """Raises BucketError where the Secret cannot be used, NotInstalled."""
        try:
            import obstore
            from obstore import exceptions
        except ImportError as error:
            raise NotInstalled("buckets need the extra: pip install 'sluice-gitops[buckets]'") from error
        self._obstore = obstore
        self._errors = exceptions
        self._name = f"bucket '{spec.bucket_name}' at {spec.endpoint}"
        try:
            self._store = _store(spec, access)
        except (exceptions.BaseError, ValueError) as error:
            raise BucketError(f"the client of {self._name} cannot be made from its spec and Secret: {type(error).__name__}") from error

    async def list(self, prefix: str) -> AsyncIterator[list[Listed]]:
        """The objects below a prefix, some at a time; what only looks like a folder is left out. Raises BucketError."""
        try:
            async for chunk in self._obstore.list(self._store, prefix=prefix or None, chunk_size=LIST_CHUNK):
                yield [
                    Listed(key=each["path"], etag=(each["e_tag"] or "").strip('"'), size=each["size"])
                    for each in chunk
                    if not each["path"].endswith("/") and each["path"].startswith(prefix)
                ]
        except self._errors.BaseError as error:
            raise self._told(error, "list") from error

    async def read(self, key: str, target: BinaryIO, *, most: int) -> None:
        """Write an object's content to a file. Raises BucketError, OSError where the disk is full."""
        try:
            answer = await self._obstore.get_async(self._store, key)
            size = 0
            async for chunk in answer.stream(min_chunk_size=READ_CHUNK):
                size += len(chunk)
                if size > most:
                    raise BucketError(f"the object '{key}' is larger than {most:,} bytes")
                target.write(chunk)
        except self._errors.BaseError as error:
            raise self._told(error, f"get '{key}' of") from error

    def _told(self, error: BaseException, doing: str) -> BucketError:
        """The status of the answer is all that is taken of it: listings come as GenericError, whose text quotes the body."""
        status = _STATUS.search(str(error))
        refused = isinstance(error, self._errors.UnauthenticatedError | self._errors.PermissionDeniedError)
        if refused or (status is not None and status[1] in ("401", "403")):
            return BucketError(f"cannot {doing} {self._name}: not allowed", credentials=True)
        words = f"it answered {status[1]}" if status is not None else "no usable answer"
        return BucketError(f"cannot {doing} {self._name}: {words}")


def _store(spec: BucketSpec, access: Access) -> Any:
    from obstore.store import AzureStore, GCSStore, S3Store

    options: dict[str, Any] = {"allow_http": spec.insecure, "timeout": spec.timeout, "connect_timeout": timedelta(seconds=10)}
    if access.ca:
        options["root_certificate"] = access.ca
    if access.proxy:
        options["proxy_url"] = access.proxy
    kinds: dict[str, Any] = {"gcp": GCSStore, "azure": AzureStore}
    made = kinds.get(spec.provider, S3Store)
    return made(spec.bucket_name, config=_config(spec, access.secret), client_options=options, retry_config=_RETRIES)


def _config(spec: BucketSpec, given: Mapping[str, bytes] | None) -> dict[str, Any]:
    scheme = "http" if spec.insecure else "https"
    secret = {name: value.decode().strip() for name, value in (given or {}).items()}
    match spec.provider:
        case "gcp":
            key = {"service_account_key": _needed(secret, "serviceaccount")} if given is not None else {}
            elsewhere = spec.endpoint not in ("", "storage.googleapis.com")
            return {**key, "base_url": f"{scheme}://{spec.endpoint}", "skip_signature": not key} if elsewhere else key
        case "azure":
            return {"endpoint": spec.endpoint, **_azure(secret)}
        case _:
            found: dict[str, Any] = {"endpoint": f"{scheme}://{spec.endpoint}", "region": spec.region or "us-east-1"}
            if given is not None:
                return {**found, "access_key_id": _needed(secret, "accesskey"), "secret_access_key": _needed(secret, "secretkey")}
            return {**found, "skip_signature": True} if spec.provider == "generic" else found


def _azure(secret: Mapping[str, str]) -> dict[str, str]:
    if not secret:
        return {}
    if "sasKey" in secret:
        return {"sas_key": secret["sasKey"]}
    if "accountKey" in secret:
        return {"account_key": secret["accountKey"]}
    if "clientSecret" in secret:
        names = (("tenant_id", "tenantId"), ("client_id", "clientId"), ("client_secret", "clientSecret"))
        return {name: _needed(secret, key) for name, key in names}
    if "clientCertificate" in secret:
        raise BucketError("the key 'clientCertificate' is not carried out; use clientSecret, accountKey or sasKey", credentials=True)
    return {"client_id": _needed(secret, "clientId")}


def _needed(secret: Mapping[str, str], key: str) -> str:
    if not secret.get(key):
        raise BucketError(f"invalid secret data: required field '{key}' is missing", credentials=True)
    return secret[key]


def endpoint_url(spec: BucketSpec) -> str:
    """The address that the outbound policy looks at."""
    if "://" in spec.endpoint:
        return spec.endpoint
    return f"{'http' if spec.insecure else 'https'}://{spec.endpoint}"


async def read_into(client: BucketClient, key: str, target: Path, *, most: int) -> None:
    """Write an object's content to a new file. Raises BucketError, OSError."""
    with target.open("wb") as file:
        await client.read(key, file, most=most)
