"""gitlabmergerequestcomment: one comment on a merge request of GitLab for each object, edited in place.

Credentials: in the project choose Settings, Access tokens, make one with the role Reporter and the scope `api`, and put it into the
Secret's key `token`. The address is the project's URL; the number comes from the object's annotation
`event.toolkit.fluxcd.io/change_request`. Sent is Markdown with the object, the message and the metadata. The format:
https://docs.gitlab.com/api/notes/
"""

from providers.answers import check, json_of, json_request
from providers.change_request import PER_PAGE, Thread, body_of, is_by, login_of, marker_of, number_of, upsert
from providers.contract import Dialogue, Event, Request, Secret, Target
from providers.forge import repository_of
from providers.gitlab import TO_DO, headers_of, project_of


def converse(event: Event, target: Target) -> Dialogue:
    """Write the comment. Raises Misconfigured, Rejected, Busy."""
    project, headers = project_of(target), headers_of(target)
    number, marker = number_of(event), marker_of(event, target, "flux-mr-comment-key")

    def get(url: str) -> Request:
        return Request(method="GET", url=Secret(url), headers=headers, body=b"")

    answer = yield get(f"{repository_of(target).base}/api/v4/user")
    check("GitLab", answer, to_do=TO_DO)
    author = login_of("GitLab", json_of("GitLab", answer), "username")
    notes, body = f"{project}/merge_requests/{number}/notes", {"body": body_of(event, marker)}
    thread = Thread(
        page=lambda at: get(f"{notes}?sort=asc&order_by=created_at&per_page={PER_PAGE}&page={at}"),
        is_ours=lambda entry: is_by(entry, author, person="author", login="username", marker=marker),
        create=json_request(notes, body, headers=headers),
        edit=lambda found: json_request(f"{notes}/{found}", body, headers=headers, method="PUT"),
    )
    yield from upsert("GitLab", thread, to_do=TO_DO)
