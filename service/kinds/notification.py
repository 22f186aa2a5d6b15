"""Receiver, Alert and Provider, of the group notification.toolkit.fluxcd.io.

In: the JSON of Receiver v1, v1beta2, v1beta1, and of Alert and Provider v1beta3, v1beta2, v1beta1, through `codec.decode`. Out: the typed
objects in the newest form. The formats: https://github.com/fluxcd/notification-controller/tree/main/docs/spec
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Annotated

from service.kinds.meta import NOTIFICATION_GROUP, Condition, Metadata, ObjectKey
from service.kinds.schema import GO_DURATION, SHORT_DURATION, Facts

TYPE_ANNOTATION = "notification.sluice.dev/type"  # names the type where Flux's own CRD, with its shorter enum, refuses it in the spec
PROVIDER_NAMESPACE = "notification.sluice.dev/provider-namespace"  # of a Provider that its owner shares
FLUX_RECEIVER_TYPES = (
    "generic", "generic-hmac", "generic-oidc", "github", "gitlab", "bitbucket", "harbor", "dockerhub", "quay", "gcr", "nexus", "acr",
    "cdevents",
)  # fmt: skip
OWN_RECEIVER_TYPES = ("artifactory", "azuredevops", "cloudevents", "distribution", "eventbridge", "gitea", "sns", "zot")
RECEIVER_TYPES = FLUX_RECEIVER_TYPES + OWN_RECEIVER_TYPES
FLUX_PROVIDER_TYPES = (
    "slack", "discord", "msteams", "rocket", "generic", "generic-hmac", "github", "gitlab", "gitea", "giteapullrequestcomment",
    "bitbucketserver", "bitbucket", "azuredevops", "googlechat", "googlepubsub", "webex", "sentry", "azureeventhub", "telegram", "lark",
    "matrix", "opsgenie", "alertmanager", "grafana", "githubdispatch", "githubpullrequestcomment", "gitlabmergerequestcomment", "pagerduty",
    "datadog", "nats", "zulip", "otel", "zoom", "incident.io",
)  # fmt: skip
OWN_PROVIDER_TYPES = ("apprise", "awssns", "kafka", "mattermost")
PROVIDER_TYPES = FLUX_PROVIDER_TYPES + OWN_PROVIDER_TYPES
SENT_PROVIDER_TYPES = (  # what is carried out; providers.PROVIDERS holds the same
    "slack", "generic", "generic-hmac", "discord", "msteams", "googlechat", "rocket", "mattermost", "webex", "telegram", "lark", "matrix",
    "zulip", "zoom", "pagerduty", "opsgenie", "alertmanager", "incident.io", "grafana", "sentry", "datadog", "otel", "githubdispatch",
    "github", "gitlab", "gitea", "bitbucket", "bitbucketserver", "azuredevops", "githubpullrequestcomment", "gitlabmergerequestcomment",
    "giteapullrequestcomment", "nats", "kafka", "googlepubsub", "azureeventhub", "awssns", "apprise",
)  # fmt: skip
RESOURCE_KINDS = (
    "Bucket", "GitRepository", "Kustomization", "HelmRelease", "HelmChart", "HelmRepository", "ImageRepository", "ImagePolicy",
    "ImageUpdateAutomation", "OCIRepository", "ArtifactGenerator", "ExternalArtifact",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceRef:
    """Names one object, or with the name `*` all of a kind, narrowed by labels; without a namespace it is that of the referring object."""

    kind: Annotated[str, Facts("Kind of the object.", enum=RESOURCE_KINDS)]
    name: Annotated[str, Facts("Name of the object, or * for all.", min_length=1, max_length=253, segment=True)]
    namespace: Annotated[
        str | None, Facts("Namespace of the object; that of this object by default.", min_length=1, max_length=253, segment=True)
    ] = None
    api_version: Annotated[str | None, Facts("API version of the object.")] = None
    match_labels: Annotated[Mapping[str, str], Facts("Labels that the object must carry, all of them; needs the name *.")] = field(
        default_factory=dict, hash=False
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiverResource(ResourceRef):
    """The same, with a filter."""

    filter: Annotated[str, Facts("CEL expression that must hold for the object.")] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class OidcVariable:
    """A named CEL expression."""

    name: Annotated[str, Facts("Name of the variable.")]
    expression: Annotated[str, Facts("CEL expression of its value.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class OidcValidation:
    """A CEL expression that must hold."""

    expression: Annotated[str, Facts("CEL expression that must be true.")]
    message: Annotated[str, Facts("What the caller is told otherwise.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class OidcProvider:
    """An issuer of tokens that callers may use."""

    issuer_url: Annotated[str, Facts("Address of the issuer.", name="issuerURL", pattern="^https?://")]
    validations: Annotated[tuple[OidcValidation, ...], Facts("What must hold for the token's claims.", min_items=1)]
    audience: Annotated[str, Facts("Audience of the token; notification-controller by default.")] = ""
    variables: Annotated[tuple[OidcVariable, ...], Facts("Named expressions for the validations.")] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiverSpec:
    """The wanted state of a Receiver."""

    type: Annotated[str, Facts("Which sender's hooks are understood.", enum=RECEIVER_TYPES, honours="|".join(RECEIVER_TYPES))]
    resources: Annotated[tuple[ReceiverResource, ...], Facts("Objects that a hook reconciles.")]
    interval: Annotated[timedelta, Facts("How often the Secret is read again.", pattern=GO_DURATION, default="10m")] = timedelta(minutes=10)
    events: Annotated[tuple[str, ...], Facts("Events of the sender that count; all by default.")] = ()
    secret_ref: Annotated[str | None, Facts("Secret whose key token checks the sender.", inside="name")] = None
    suspend: Annotated[bool, Facts("Refuses hooks for now.")] = False
    resource_filter: Annotated[str, Facts("CEL expression that must hold for each object.")] = ""
    oidc_providers: Annotated[tuple[OidcProvider, ...], Facts("Issuers of tokens for the type generic-oidc.", name="oidcProviders")] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiverStatus:
    """The observed state of a Receiver."""

    observed_generation: Annotated[int, Facts("Generation that the last finished reconcile has seen.")] = -1
    conditions: Annotated[tuple[Condition, ...], Facts("What is known about the object.")] = ()
    webhook_path: Annotated[str, Facts("Path that hooks must be sent to.")] = ""
    last_handled_reconcile_at: Annotated[str, Facts("The last requestedAt annotation that was handled.")] = ""
    url: Annotated[str, Facts("Old versions' name of webhookPath.")] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Receiver:
    """An address for webhooks, and what they reconcile."""

    metadata: Metadata
    spec: ReceiverSpec
    status: ReceiverStatus = ReceiverStatus()
    api_version: str = f"{NOTIFICATION_GROUP}/v1"

    @property
    def key(self) -> ObjectKey:
        """The name of this object in the cluster."""
        return ObjectKey(group=NOTIFICATION_GROUP, kind="Receiver", namespace=self.metadata.namespace, name=self.metadata.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class StaticStatus:
    """Status of Alerts and Providers: versions before v1beta3 had one. It says which fields are refused, and what became of messages."""

    observed_generation: Annotated[int, Facts("Generation that was seen last.")] = 0
    conditions: Annotated[tuple[Condition, ...], Facts("What is known about the object.")] = ()
    last_handled_reconcile_at: Annotated[str, Facts("The last requestedAt annotation that was handled.")] = ""
    last_sent_at: Annotated[datetime | None, Facts("When a message was sent last, to the minute or so.")] = None
    last_error: Annotated[str, Facts("Why the last attempt failed that failed.")] = ""
    queue_length: Annotated[int, Facts("Messages that wait, as of the last look.", minimum=0)] = 0
    dead_letters: Annotated[int, Facts("Messages that were given up so far.", minimum=0)] = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertSpec:
    """Which events go to which Provider."""

    provider_ref: Annotated[str, Facts("Provider of the same namespace that events are sent to.", inside="name")]
    event_sources: Annotated[tuple[ResourceRef, ...], Facts("Objects whose events are sent.")]
    event_severity: Annotated[str, Facts("info lets every event pass, error only failures.", enum=("info", "error"), default="info")] = (
        "info"
    )
    inclusion_list: Annotated[tuple[str, ...], Facts("Regular expressions; only messages that one of them finds are sent.")] = ()
    exclusion_list: Annotated[tuple[str, ...], Facts("Regular expressions; messages that one of them finds are not sent.")] = ()
    event_metadata: Annotated[Mapping[str, str], Facts("Metadata that is added to every event.")] = field(default_factory=dict, hash=False)
    summary: Annotated[str, Facts("Short description of cluster and impact.", max_length=255)] = ""
    suspend: Annotated[bool, Facts("Sends nothing for now.")] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """A rule for which events are sent."""

    metadata: Metadata
    spec: AlertSpec
    status: StaticStatus = StaticStatus()
    api_version: str = f"{NOTIFICATION_GROUP}/v1beta3"

    @property
    def key(self) -> ObjectKey:
        """The name of this object in the cluster."""
        return ObjectKey(group=NOTIFICATION_GROUP, kind="Alert", namespace=self.metadata.namespace, name=self.metadata.name)

    @property
    def provider_key(self) -> ObjectKey:
        """The name of the Provider in the cluster: of the same namespace, or of the one that an annotation names."""
        namespace = self.metadata.annotations.get(PROVIDER_NAMESPACE) or self.metadata.namespace
        return ObjectKey(group=NOTIFICATION_GROUP, kind="Provider", namespace=namespace, name=self.spec.provider_ref)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderSpec:
    """Where and how events are sent."""

    type: Annotated[
        str, Facts("Which service events are sent to.", enum=PROVIDER_TYPES, honours="|".join(map(re.escape, SENT_PROVIDER_TYPES)))
    ]
    address: Annotated[str, Facts("Where to send; the Secret's key address wins.", max_length=2048)] = ""
    channel: Annotated[str, Facts("Channel of the service to post to.", max_length=2048)] = ""
    username: Annotated[str, Facts("Name to post under.", max_length=2048)] = ""
    timeout: Annotated[timedelta, Facts("Time limit of sending; 15s by default.", pattern=SHORT_DURATION)] = timedelta(seconds=15)
    secret_ref: Annotated[str | None, Facts("Secret with credentials, such as address or token.", inside="name")] = None
    suspend: Annotated[bool, Facts("Sends nothing for now.")] = False
    interval: Annotated[timedelta | None, Facts("Without effect since v1beta3.", pattern=GO_DURATION, verdict="ignored")] = None
    proxy: Annotated[str, Facts("Address of a proxy.", pattern=r"^(http|https)://.*$", max_length=2048)] = ""
    proxy_secret_ref: Annotated[str | None, Facts("Secret with the address and credentials of a proxy.", inside="name")] = None
    cert_secret_ref: Annotated[str | None, Facts("Secret with ca.crt, tls.crt and tls.key for the connection.", inside="name")] = None
    service_account_name: Annotated[str, Facts("ServiceAccount whose workload identity authenticates.")] = ""
    commit_status_expr: Annotated[str, Facts("CEL expression for the id of a commit status.")] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """A service that events are sent to."""

    metadata: Metadata
    spec: ProviderSpec
    status: StaticStatus = StaticStatus()
    api_version: str = f"{NOTIFICATION_GROUP}/v1beta3"

    @property
    def key(self) -> ObjectKey:
        """The name of this object in the cluster."""
        return ObjectKey(group=NOTIFICATION_GROUP, kind="Provider", namespace=self.metadata.namespace, name=self.metadata.name)
