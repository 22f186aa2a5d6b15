"""githubdispatch: a `repository_dispatch` event, which starts workflows of a repository on GitHub.

Credentials: at https://github.com/settings/personal-access-tokens make a fine-grained token with the repository permission "Contents:
write" and put it into the Secret's key `token`; or install a GitHub App with that permission and put `githubAppID`,
`githubAppInstallationID` and `githubAppPrivateKey` there. The address is the repository's URL. Sent is `Kustomization/web.apps` as the
type and the event as the payload. The format: https://docs.github.com/en/rest/repos/repos#create-a-repository-dispatch-event
"""

from providers.answers import check, json_request
from providers.card import line
from providers.contract import Dialogue, Event, Target
from providers.flux_event import flux_json
from providers.github_app import TO_DO, api_of, authenticate, headers_of


def converse(event: Event, target: Target) -> Dialogue:
    """Dispatch the event. Raises Misconfigured, Rejected, Busy."""
    api, owner, name = api_of(target)
    token = yield from authenticate(target)
    kind = line(f"{event.kind}/{event.name}.{event.namespace}", 100)
    body = {"event_type": kind, "client_payload": flux_json(event)}
    check("GitHub", (yield json_request(f"{api}/repos/{owner}/{name}/dispatches", body, headers=headers_of(token))), to_do=TO_DO)
