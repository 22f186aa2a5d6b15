"""bitbucket: a build status on Bitbucket Cloud.

Credentials: in the repository's settings make an access token with the scope `repository:write`, or in yours an app password, and put the
token, or `<user>:<app password>`, into the Secret's key `token`. The address is the repository's URL. Sent is `SUCCESSFUL` or `FAILED`,
unless the build says so already. The format: https://developer.atlassian.com/cloud/bitbucket/rest/api-group-commit-statuses/
"""

import hashlib

from providers.answers import basic, json_request
from providers.card import is_error, line
from providers.contract import Dialogue, Event, Misconfigured, Request, Secret, Target
from providers.forge import commit_of, description, is_progress, latest_is, repository_of, set_status, status_id, token_of

API = "https://api.bitbucket.org/2.0/repositories"
TO_DO = {401: "put a valid token into the Secret's key token", 403: "give the token the scope repository:write"}
TO_DO |= {404: "check spec.address, and that the token may see the repository"}


def converse(event: Event, target: Target) -> Dialogue:
    """Set the status of the event's commit. Raises Misconfigured, Rejected, Busy."""
    if is_progress(event):
        return
    repository = repository_of(target)
    if repository.path.count("/") != 1:
        raise Misconfigured("the address is not one of a repository: set spec.address to https://bitbucket.org/<workspace>/<repository>")
    _, owner, name = repository.split()
    user, _, password = token_of(target).partition(":")
    headers = {"Authorization": basic(user, Secret(password)) if password else f"Bearer {user}"}
    key = hashlib.sha1(status_id(event, target).encode(), usedforsecurity=False).hexdigest()  # a key has at most 40 characters
    wanted = {"key": key, "state": "FAILED" if is_error(event) else "SUCCESSFUL", "description": description(event)}
    builds = f"{API}/{owner}/{name}/commit/{commit_of(event)}/statuses/build"
    shown = {"name": line(f"{event.kind}/{event.name}".lower(), 250), "url": "https://bitbucket.org"}
    yield from set_status(
        "Bitbucket",
        look=Request(method="GET", url=Secret(f"{builds}/{key}"), headers=headers, body=b""),
        is_set=lambda found: latest_is([found], wanted, context="key"),
        put=json_request(builds, wanted | shown, headers=headers),
        to_do=TO_DO,
    )
