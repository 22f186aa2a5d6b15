"""Alert -> message. Rendering is pure; each target is one module and one line of the table."""

from collections.abc import Mapping
from types import MappingProxyType

from providers import (
    alertmanager,
    apprise,
    awssns,
    azuredevops,
    azureeventhub,
    bitbucket,
    bitbucketserver,
    datadog,
    discord,
    generic,
    generic_hmac,
    gitea,
    giteapullrequestcomment,
    github,
    githubdispatch,
    githubpullrequestcomment,
    gitlab,
    gitlabmergerequestcomment,
    googlechat,
    googlepubsub,
    grafana,
    incident_io,
    kafka,
    lark,
    matrix,
    mattermost,
    msteams,
    nats,
    opsgenie,
    otel,
    pagerduty,
    rocket,
    sentry,
    slack,
    telegram,
    webex,
    zoom,
    zulip,
)
from providers.contract import Provider
from providers.github_app import APP_KEYS

PROVIDERS: Mapping[str, Provider] = MappingProxyType(
    {
        "slack": Provider(place=slack.place, alarms=True, folds=True),
        "generic": Provider(render=generic.render, settle=generic.settle, wants="all", verbatim=True, headers=True, at_once=8),
        "generic-hmac": Provider(
            render=generic_hmac.render, settle=generic_hmac.settle, wants="all", verbatim=True, headers=True, at_once=8
        ),
        "discord": Provider(render=discord.render, settle=discord.settle, folds=True),
        "msteams": Provider(render=msteams.render, settle=msteams.settle, folds=True),
        "googlechat": Provider(render=googlechat.render, settle=googlechat.settle, folds=True),
        "rocket": Provider(render=rocket.render, settle=rocket.settle, folds=True),
        "mattermost": Provider(render=mattermost.render, settle=mattermost.settle, folds=True),
        "webex": Provider(render=webex.render, settle=webex.settle, folds=True),
        "telegram": Provider(render=telegram.render, settle=telegram.settle, address="unused", folds=True),
        "lark": Provider(render=lark.render, settle=lark.settle, folds=True),
        "matrix": Provider(render=matrix.render, settle=matrix.settle, folds=True),
        "zulip": Provider(render=zulip.render, settle=zulip.settle, folds=True),
        "zoom": Provider(render=zoom.render, settle=zoom.settle, folds=True),
        "pagerduty": Provider(converse=pagerduty.converse, alarms=True, folds=True),
        "opsgenie": Provider(converse=opsgenie.converse, alarms=True, folds=True),
        "alertmanager": Provider(converse=alertmanager.converse, alarms=True, folds=True),
        "incident.io": Provider(converse=incident_io.converse, alarms=True, folds=True),
        "grafana": Provider(render=grafana.render, settle=grafana.settle),
        "sentry": Provider(render=sentry.render, settle=sentry.settle, address="dsn"),
        "datadog": Provider(render=datadog.render, settle=datadog.settle),
        "otel": Provider(converse=otel.converse, headers=True),
        "githubdispatch": Provider(converse=githubdispatch.converse, verbatim=True, address="git", secret_keys=APP_KEYS),
        "github": Provider(converse=github.converse, wants="commit_status", address="git", secret_keys=APP_KEYS),
        "gitlab": Provider(converse=gitlab.converse, wants="commit_status", address="git"),
        "gitea": Provider(converse=gitea.converse, wants="commit_status", address="git"),
        "bitbucket": Provider(converse=bitbucket.converse, wants="commit_status", address="git"),
        "bitbucketserver": Provider(converse=bitbucketserver.converse, wants="commit_status", address="git"),
        "azuredevops": Provider(
            converse=azuredevops.converse, identity="azure", exchange=azuredevops.exchange, wants="commit_status", address="git"
        ),
        "githubpullrequestcomment": Provider(
            converse=githubpullrequestcomment.converse, wants="change_request", address="git", secret_keys=APP_KEYS
        ),
        "gitlabmergerequestcomment": Provider(converse=gitlabmergerequestcomment.converse, wants="change_request", address="git"),
        "giteapullrequestcomment": Provider(converse=giteapullrequestcomment.converse, wants="change_request", address="git"),
        "nats": Provider(
            publish=nats.publish,
            preview=nats.preview,
            verbatim=True,
            address="nats",
            secret_keys=("creds", "nkey"),
            proxies=False,
            at_once=8,
        ),
        "kafka": Provider(
            publish=kafka.publish,
            preview=kafka.preview,
            library="aiokafka",
            verbatim=True,
            address="free",
            secret_keys=("mechanism",),
            proxies=False,
            at_once=2,
        ),
        "googlepubsub": Provider(
            converse=googlepubsub.converse,
            verbatim=True,
            identity="gcp",
            exchange=googlepubsub.exchange,
            address="free",
            headers=True,
            secret_keys=("token",),
            at_once=8,
        ),
        "azureeventhub": Provider(
            converse=azureeventhub.converse, verbatim=True, identity="azure", exchange=azureeventhub.exchange, address="free", at_once=8
        ),
        "awssns": Provider(
            converse=awssns.converse,
            identity="aws",
            exchange=awssns.exchange,
            secret_keys=("accessKeyID", "secretAccessKey", "sessionToken"),
            at_once=8,
        ),
        "apprise": Provider(publish=apprise.publish, preview=apprise.preview, address="free", proxies=False, tls=False, folds=True),
    }
)
