"""Whether an address and a ref in a payload are those of a GitRepository, however either is written.

In: `https://host/org/repo.git`, `ssh://git@host:22/org/repo`, `git@host:org/repo`, and the ref of a push. Out: one normal form, yes or no.
https://git-scm.com/docs/git-clone#_git_urls
"""

import re
from functools import lru_cache
from urllib.parse import unquote

from service.kinds.source import GitRef

_SCHEME = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<rest>.*)", re.IGNORECASE | re.DOTALL)
_SCP = re.compile(r"(?:[^@/:]+@)?(?P<host>\[[^\]]+\]|[^:/@]+):(?P<path>(?!//).*)", re.DOTALL)
_SSH_HOSTS = {"ssh.github.com": "github.com", "altssh.gitlab.com": "gitlab.com", "altssh.bitbucket.org": "bitbucket.org"}
DEFAULT_BRANCH = "master"  # what a GitRepository without a ref follows


@lru_cache(maxsize=1024)
def normal_url(url: str) -> str:
    """Return `host/path` in lower case without scheme, user, port and `.git`; "" where `url` is no address of a repository on a host."""
    found = _SCHEME.fullmatch(url.strip())
    if found is not None:
        authority, _, path = found["rest"].partition("/")
        host = authority.rpartition("@")[2]
        host = host.partition("]")[0] + "]" if host.startswith("[") else host.partition(":")[0]
    else:
        short = _SCP.fullmatch(url.strip())
        if short is None:
            return ""
        host, path = short["host"], short["path"]
    path = re.sub("/{2,}", "/", unquote(path.partition("?")[0].partition("#")[0]).strip("/").lower().removesuffix(".git").rstrip("/"))
    host = host.lower().rstrip(".")
    return f"{_SSH_HOSTS.get(host, host)}/{path}" if host and path else ""


def follows(wanted: GitRef | None, ref: str) -> bool:
    """Whether a push to `ref` (such as `refs/heads/main`) can change what `spec.ref` selects. In doubt: yes."""
    wanted = wanted or GitRef()
    if wanted.commit:
        return not wanted.branch or ref == f"refs/heads/{wanted.branch}"
    if wanted.name:
        return ref == wanted.name or not wanted.name.startswith(("refs/heads/", "refs/tags/"))
    if wanted.semver:
        return ref.startswith("refs/tags/")
    if wanted.tag:
        return ref == f"refs/tags/{wanted.tag}"
    return ref == f"refs/heads/{wanted.branch or DEFAULT_BRANCH}"
