"""A Bucket and the Secrets of its namespace in, an open client of it out, under the one outbound policy."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace

from service.identities.remotes import to_bucket_keys, to_bucket_token
from service.kinds import meta
from service.kinds.bucket import Bucket, BucketSpec, BucketSTS
from service.sources.azurelogin import certificate_token, wants
from service.sources.bucketclient import BucketClient, BucketError
from service.sources.cloudbucket import Access, CloudBucket, NotInstalled, check_host, is_own, needed
from service.sources.cloudlogin import CLOUDS, Holder, granted, refused
from service.sources.failure import EndedEarly
from service.sources.reconciler import Needs
from service.sources.remote import Remote, held
from service.sources.s3 import AccessKey, S3Bucket
from service.sources.sts import ldap_key
from service.transport import BadTransport, proxy_of

Data = Mapping[str, bytes]


def check_sts(spec: BucketSpec) -> None:
    """Raises EndedEarly where the token service does not go with the object store, in Flux's words."""
    if spec.sts is None:
        return
    sts, provider = spec.sts, spec.provider
    if provider not in ("generic", "aws"):
        why = f"STS configuration is not supported for '{provider}' bucket provider"
    elif (provider, sts.provider) not in (("generic", "ldap"), ("aws", "aws")):
        why = f"STS provider '{sts.provider}' is not supported for '{provider}' bucket provider"
    else:
        return
    raise EndedEarly.fetch(meta.INVALID_STS, why, stalls=True)


def _check_account(spec: BucketSpec) -> None:
    """Raises EndedEarly where a ServiceAccount does not go with the rest, as Flux's CRD says."""
    if spec.service_account_name and (spec.provider == "generic" or spec.secret_ref or spec.sts):
        why = "goes with spec.provider aws, azure or gcp, and neither with spec.secretRef nor with spec.sts"
        raise EndedEarly.invalid(f"spec.serviceAccountName {why}: remove one of them")


@asynccontextmanager
async def opened(found: Bucket, needs: Needs) -> AsyncIterator[BucketClient]:
    """Raises EndedEarly where a Secret or the spec cannot be used, BucketError, OutboundRefused, ApiError, ApiAway."""
    spec = found.spec
    check_sts(spec)
    _check_account(spec)
    holder = Holder(namespace=found.metadata.namespace, provider=spec.provider, account=spec.service_account_name)
    secret = await held(needs.read_secret, holder.namespace, spec.secret_ref) if spec.secret_ref else None
    is_s3 = spec.provider == "generic" or (spec.provider == "aws" and (secret is not None or bool(holder.account)))
    try:
        async with (_s3 if is_s3 else _cloud)(found, holder, secret, needs) as client:
            yield client
    except BucketError as error:
        if error.status in (401, 403):
            refused(holder, needs)
        raise


@asynccontextmanager
async def _s3(found: Bucket, holder: Holder, secret: Data | None, needs: Needs) -> AsyncIterator[BucketClient]:
    spec = found.spec
    remote = Remote(namespace=holder.namespace, certificates=spec.cert_secret_ref, proxy=spec.proxy_secret_ref)
    async with remote.open(needs.outbound, needs.read_secret) as way:
        yield S3Bucket(spec, way, await _key(found, replace(holder, proxy=way.proxy), secret, needs))


@asynccontextmanager
async def _cloud(found: Bucket, holder: Holder, secret: Data | None, needs: Needs) -> AsyncIterator[BucketClient]:
    spec, ca, proxy = found.spec, await _ca(found, needs), await _proxy(found, needs)
    check_host(spec)
    await needs.outbound.check(spec.endpoint if "://" in spec.endpoint else f"https://{spec.endpoint}")
    token = ""
    if holder.account:
        token = await granted(replace(holder, proxy=proxy), lambda: to_bucket_token(CLOUDS[holder.provider]), needs)
    elif secret is not None and spec.provider == "azure" and wants(secret):
        remote = Remote(namespace=holder.namespace, certificates=spec.cert_secret_ref, proxy=spec.proxy_secret_ref)
        async with remote.open(needs.outbound, needs.read_secret) as way:
            token, secret = await certificate_token(way, secret), None
    access = Access(secret=secret, token=token, ca=ca, proxy=proxy)
    if is_own(spec, access) and not needs.machine_identity:
        why = "needs a Secret or spec.serviceAccountName: sluice lends its own identity, and the machine's, with --machine-identity only"
        raise EndedEarly.fetch(meta.INVALID_PROVIDER, f"spec.provider {spec.provider} {why}", stalls=True)
    try:
        yield CloudBucket(spec, access)
    except NotInstalled as error:
        raise EndedEarly.invalid(str(error)) from error


async def _key(found: Bucket, holder: Holder, secret: Data | None, needs: Needs) -> AccessKey | None:
    if secret is not None:
        given = {name: value.decode(errors="replace").strip() for name, value in secret.items()}
        return AccessKey(identity=needed(given, "accesskey"), secret=needed(given, "secretkey"))
    if holder.account:
        keys = await granted(holder, lambda: to_bucket_keys(found.spec.endpoint, found.spec.region or "us-east-1"), needs)
        given = {name: value.reveal() for name, value in keys.items()}
        return AccessKey(identity=given["accessKeyID"], secret=given["secretAccessKey"], session=given["sessionToken"])
    if found.spec.sts is not None:
        return await _lent(found, found.spec.sts, needs)
    return None


async def _lent(found: Bucket, sts: BucketSTS, needs: Needs) -> AccessKey:
    namespace, login = found.metadata.namespace, dict[str, bytes]()
    if sts.secret_ref:
        login = dict(await held(needs.read_secret, namespace, sts.secret_ref))
        if not login.get("username") or not login.get("password"):
            raise BucketError(f"invalid '{sts.secret_ref}' secret data for 'ldap' STS provider: required fields username, password", 401)
    remote = Remote(namespace=namespace, certificates=sts.cert_secret_ref, proxy=found.spec.proxy_secret_ref)
    async with remote.open(needs.outbound, needs.read_secret) as way:
        return await ldap_key(way, sts.endpoint, login)


async def _ca(found: Bucket, needs: Needs) -> bytes:
    namespace, name = found.metadata.namespace, found.spec.cert_secret_ref
    if not name:
        return b""
    data = await held(needs.read_secret, namespace, name)
    ca = data.get("ca.crt") or data.get("caFile") or b""
    if not ca or data.get("tls.crt"):
        why = f"secret '{namespace}/{name}': of certificates only ca.crt is carried out for the provider {found.spec.provider}"
        raise EndedEarly.fetch(meta.AUTHENTICATION_FAILED, why)
    return ca


async def _proxy(found: Bucket, needs: Needs) -> str:
    namespace, name = found.metadata.namespace, found.spec.proxy_secret_ref
    if not name:
        return ""
    try:
        return proxy_of(await held(needs.read_secret, namespace, name), f"secret '{namespace}/{name}'", socks=False)
    except BadTransport as error:
        raise EndedEarly.fetch(meta.AUTHENTICATION_FAILED, str(error)) from error
