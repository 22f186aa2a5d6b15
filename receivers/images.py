"""Names of images as registries write them in their hooks.

In: `registry.example.com/team/shop:1.0`, or host and path apart. Out: the name without tag, the tag, the digest.
https://github.com/opencontainers/distribution-spec/blob/main/spec.md
"""

import re
from urllib.parse import urlsplit

_DIGEST = re.compile(r"[a-z0-9]+(?:[.+_-][a-z0-9]+)*:[0-9a-fA-F]{32,}")
MANIFESTS = frozenset(
    {
        "application/vnd.docker.distribution.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.v1+prettyjws",
        "application/vnd.docker.distribution.manifest.v2+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.oci.artifact.manifest.v1+json",
    }
)


def split(reference: str) -> tuple[str, str, str]:
    """Return name, tag and digest of a reference; what it does not hold is ""."""
    rest, _, digest = reference.strip().removeprefix("https://").removeprefix("http://").removeprefix("oci://").partition("@")
    path, _, last = rest.rpartition("/")
    last, _, tag = last.partition(":")
    return (f"{path}/{last}" if path else last), tag, digest


def tag_or_digest(found: str) -> tuple[str, str]:
    """Return (tag, digest) of a text that is either."""
    return ("", found) if _DIGEST.fullmatch(found) else (found, "")


def named(host: str, path: str) -> str:
    """Return the name of a repository on a host: `host/path`, and `/path` where the host is ""."""
    return f"{host}/{path.strip('/')}"


def host_of(url: str) -> str:
    """Return host and port of a URL, "" where it has none."""
    try:
        return urlsplit(url).netloc.rpartition("@")[2]
    except ValueError:
        return ""
