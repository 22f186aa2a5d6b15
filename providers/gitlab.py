"""gitlab: a commit status on GitLab.

Credentials: in the project choose Settings, Access tokens, make one with the role Developer and the scope `api`, and put it into the
Secret's key `token`. The address is the project's URL. Sent is `success` or `failed`, unless the last status of the name says so already.
The format: https://docs.gitlab.com/api/commits/#set-commit-pipeline-status
"""

from urllib.parse import quote

from providers.answers import check, json_of, json_request
from providers.card import is_error
from providers.contract import Dialogue, Event, Request, Secret, Target
from providers.forge import commit_of, description, is_progress, latest_is, repository_of, status_id, token_of

TO_DO = {401: "put a valid token into the Secret's key token", 403: "give the token the scope api and the role Developer"}
TO_DO |= {404: "check spec.address, and that the token may see the project"}


def converse(event: Event, target: Target) -> Dialogue:
    """Set the status of the event's commit. Raises Misconfigured, Rejected, Busy."""
    if is_progress(event):
        return
    project, headers = project_of(target), headers_of(target)
    commit, name = commit_of(event), status_id(event, target)
    wanted = {"name": name, "status": "failed" if is_error(event) else "success", "description": description(event)}
    url = f"{project}/repository/commits/{commit}/statuses?per_page=100&name={quote(name, safe='')}"
    answer = yield Request(method="GET", url=Secret(url), headers=headers, body=b"")
    check("GitLab", answer, to_do=TO_DO)
    if latest_is(json_of("GitLab", answer), wanted, context="name"):
        return
    body = {"state": wanted["status"], "name": name, "description": wanted["description"]}
    answer = yield json_request(f"{project}/statuses/{commit}", body, headers=headers)
    if answer.status == 400 and b"Cannot transition status" in answer.body:  # it has this state already, in other words
        return
    check("GitLab", answer, to_do=TO_DO)


def project_of(target: Target) -> str:
    """The project in the API. Raises Misconfigured."""
    repository = repository_of(target)
    return f"{repository.base}/api/v4/projects/{quote(repository.path, safe='')}"


def headers_of(target: Target) -> dict[str, str]:
    """The headers of each request. Raises Misconfigured."""
    return {"PRIVATE-TOKEN": token_of(target)}
