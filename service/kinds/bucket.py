"""Bucket, of the group source.toolkit.fluxcd.io.

In: the JSON of v1, v1beta2 or v1beta1, through `codec.decode`. Out: the typed object in v1's form.
The format: https://github.com/fluxcd/source-controller/blob/main/docs/spec/v1/buckets.md
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated

from service.kinds.meta import SOURCE_GROUP, Condition, Metadata, ObjectKey
from service.kinds.schema import GO_DURATION, SHORT_DURATION, Facts
from service.kinds.source import AccessFrom, Artifact


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketSTS:
    """Where short-lived credentials come from."""

    provider: Annotated[str, Facts("Kind of token service.", enum=("ldap", "aws"), honours="ldap")]
    endpoint: Annotated[str, Facts("Address of the token service.", pattern=r"^(http|https)://.*$")]
    secret_ref: Annotated[str | None, Facts("Secret with username and password, for ldap.", inside="name")] = None
    cert_secret_ref: Annotated[str | None, Facts("Secret with ca.crt, or with tls.crt and tls.key.", inside="name")] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketSpec:
    """The wanted state of a Bucket."""

    bucket_name: Annotated[str, Facts("Name of the bucket.")]
    endpoint: Annotated[str, Facts("Host of the object store, with its port.")]
    interval: Annotated[timedelta, Facts("How often the bucket is listed, give or take some jitter.", pattern=GO_DURATION)]
    timeout: Annotated[timedelta, Facts("Time limit of one run.", pattern=SHORT_DURATION, default="60s")] = timedelta(seconds=60)
    provider: Annotated[
        str, Facts("Kind of object store.", enum=("generic", "aws", "gcp", "azure"), default="generic", honours="generic|aws|gcp|azure")
    ] = "generic"
    region: Annotated[str, Facts("Region of the endpoint, us-east-1 by default.")] = ""
    prefix: Annotated[str, Facts("Only objects whose key begins so.")] = ""
    insecure: Annotated[bool, Facts("Talks to the endpoint over plain http.")] = False
    secret_ref: Annotated[
        str | None,
        Facts("Secret with accesskey and secretkey, serviceaccount (gcp) or Azure's keys.", inside="name"),
    ] = None
    cert_secret_ref: Annotated[
        str | None, Facts("Secret with ca.crt of the endpoint; generic ones also with tls.crt and tls.key.", inside="name")
    ] = None
    proxy_secret_ref: Annotated[str | None, Facts("Secret with the address and credentials of a proxy.", inside="name")] = None
    service_account_name: Annotated[str, Facts("ServiceAccount whose workload identity authenticates to the cloud.")] = ""
    sts: Annotated[BucketSTS | None, Facts("Short-lived credentials by a token service.")] = None
    ignore: Annotated[str | None, Facts("Patterns in the form of .gitignore for what is not fetched.")] = None
    suspend: Annotated[bool, Facts("Stops the reconciliation of this object.")] = False
    access_from: Annotated[
        AccessFrom | None, Facts("Old versions' list of namespaces that may refer to this object, without effect.", verdict="ignored")
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketStatus:
    """The observed state of a Bucket."""

    observed_generation: Annotated[int, Facts("Generation that the last finished reconcile has seen.")] = -1
    conditions: Annotated[tuple[Condition, ...], Facts("What is known about the object.")] = ()
    artifact: Annotated[Artifact | None, Facts("What the last successful reconcile has stored.")] = None
    url: Annotated[str, Facts("Address of the newest artifact.")] = ""
    last_handled_reconcile_at: Annotated[str, Facts("The last requestedAt annotation that was handled.")] = ""
    observed_ignore: Annotated[str | None, Facts("spec.ignore of the stored artifact.")] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """A bucket of an object store whose content others build from."""

    metadata: Metadata
    spec: BucketSpec
    status: BucketStatus = BucketStatus()
    api_version: str = f"{SOURCE_GROUP}/v1"

    @property
    def key(self) -> ObjectKey:
        """The name of this object in the cluster."""
        return ObjectKey(group=SOURCE_GROUP, kind="Bucket", namespace=self.metadata.namespace, name=self.metadata.name)
