"""github: a commit status on GitHub.

Credentials: at https://github.com/settings/personal-access-tokens make a fine-grained token with the repository permission "Commit
statuses: write" and put it into the Secret's key `token`; or install a GitHub App with that permission and put `githubAppID`,
`githubAppInstallationID` and `githubAppPrivateKey` there. The address is the repository's URL. Sent is `success` or `failure`, unless the
last status of the context says so already. The format: https://docs.github.com/en/rest/commits/statuses
"""

from providers.answers import json_request
from providers.card import is_error
from providers.contract import Dialogue, Event, Target
from providers.forge import commit_of, description, is_progress, latest_is, set_status, status_id
from providers.github_app import TO_DO, api_of, authenticate, get, headers_of


def converse(event: Event, target: Target) -> Dialogue:
    """Set the status of the event's commit. Raises Misconfigured, Rejected, Busy."""
    if is_progress(event):
        return
    api, owner, name = api_of(target)
    commit = commit_of(event)
    token = yield from authenticate(target)
    status = {
        "state": "failure" if is_error(event) else "success",
        "context": status_id(event, target),
        "description": description(event),
    }
    repository = f"{api}/repos/{owner}/{name}"
    yield from set_status(
        "GitHub",
        look=get(f"{repository}/commits/{commit}/statuses?per_page=100", token),
        is_set=lambda entries: latest_is(entries, status, context="context"),
        put=json_request(f"{repository}/statuses/{commit}", status, headers=headers_of(token)),
        to_do=TO_DO,
    )
