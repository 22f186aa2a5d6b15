"""Webhook -> event. Pure: no I/O, no clock, no logging. RECEIVERS is the one table of the senders that are understood."""

from collections.abc import Mapping

from receivers.acr import ACR
from receivers.artifactory import ARTIFACTORY
from receivers.azuredevops import AZUREDEVOPS
from receivers.bitbucket import BITBUCKET
from receivers.cdevents import CDEVENTS
from receivers.cloudevents import CLOUDEVENTS
from receivers.contract import Sender
from receivers.distribution import DISTRIBUTION
from receivers.dockerhub import DOCKERHUB
from receivers.eventbridge import EVENTBRIDGE
from receivers.gcr import GCR
from receivers.generic import GENERIC
from receivers.generic_hmac import GENERIC_HMAC
from receivers.generic_oidc import GENERIC_OIDC
from receivers.gitea import GITEA
from receivers.github import GITHUB
from receivers.gitlab import GITLAB
from receivers.harbor import HARBOR
from receivers.nexus import NEXUS
from receivers.quay import QUAY
from receivers.sns import SNS
from receivers.zot import ZOT

RECEIVERS: Mapping[str, Sender] = {
    sender.type: sender
    for sender in (
        ACR,
        ARTIFACTORY,
        AZUREDEVOPS,
        BITBUCKET,
        CDEVENTS,
        CLOUDEVENTS,
        DISTRIBUTION,
        DOCKERHUB,
        EVENTBRIDGE,
        GCR,
        GENERIC,
        GENERIC_HMAC,
        GENERIC_OIDC,
        GITEA,
        GITHUB,
        GITLAB,
        HARBOR,
        NEXUS,
        QUAY,
        SNS,
        ZOT,
    )
}
