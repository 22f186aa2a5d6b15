"""gitea: a commit status on Gitea or Forgejo.

Credentials: in your settings choose Applications, make a token with the permission "repository: read and write", and put it into the
Secret's key `token`. The address is the repository's URL. Sent is `success`, `failure`, or `pending` while something goes on, unless the
last status of the context says so already. The format: https://docs.gitea.com/api/#tag/repository/operation/repoCreateStatus
"""

from typing import Any

from providers.answers import json_request
from providers.card import is_error
from providers.contract import Dialogue, Event, Request, Secret, Target
from providers.forge import commit_of, description, is_progress, latest_is, repository_of, set_status, status_id, token_of

TO_DO = {401: "put a valid token into the Secret's key token", 403: "give the token the right to write to the repository"}
TO_DO |= {404: "check spec.address, and that the token may see the repository and the commit is in it"}


def converse(event: Event, target: Target) -> Dialogue:
    """Set the status of the event's commit. Raises Misconfigured, Rejected, Busy."""
    repository, headers = api_of(target), headers_of(target)
    commit = commit_of(event)
    state = "failure" if is_error(event) else "pending" if is_progress(event) else "success"
    body = {"state": state, "target_url": "", "description": description(event), "context": status_id(event, target)}
    wanted = {"status": state, "description": body["description"], "context": body["context"]}
    yield from set_status(
        "Gitea",
        look=Request(method="GET", url=Secret(f"{repository}/commits/{commit}/statuses?limit=50"), headers=headers, body=b""),
        is_set=lambda entries: latest_is(newest_first(entries), wanted, context="context"),
        put=json_request(f"{repository}/statuses/{commit}", body, headers=headers),
        to_do=TO_DO,
    )


def newest_first(entries: object) -> list[dict[str, Any]]:
    """The statuses by their ids. Gitea sorts by the second in which they were made; its sorting by index goes the other way round."""
    found = [each for each in entries if isinstance(each, dict)] if isinstance(entries, list) else []
    return sorted(found, key=lambda each: each["id"] if isinstance(each.get("id"), int) else 0, reverse=True)


def api_of(target: Target) -> str:
    """The repository in the API. Raises Misconfigured."""
    base, owner, name = repository_of(target).split()
    return f"{base}/api/v1/repos/{owner}/{name}"


def headers_of(target: Target) -> dict[str, str]:
    """The headers of each request. Raises Misconfigured."""
    return {"Authorization": f"token {token_of(target)}", "Accept": "application/json"}
