"""Credentials of registries: Secrets of type kubernetes.io/dockerconfigjson in, what is sent to one registry out.

The format: https://kubernetes.io/docs/tasks/configure-pod-container/pull-image-private-registry/ ; the key of an entry is a host, a host
with a path, or a URL; the longest that the repository begins with is taken.
"""

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

KEY = ".dockerconfigjson"
DOCKER_HUB = "index.docker.io"
_HUB = frozenset({DOCKER_HUB, "docker.io", "registry-1.docker.io"})


class BadDockerConfig(ValueError):
    """The Secret cannot be used; the message names the key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """What one registry is told. `refresh` is an OAuth2 refresh token (identitytoken) instead of a password."""

    username: str = ""
    password: str = field(default="", repr=False)
    refresh: str = field(default="", repr=False)

    @property
    def given(self) -> bool:
        """Whether anything is sent."""
        return bool(self.username or self.password or self.refresh)


def login_for(data: Mapping[str, bytes], repository: str) -> Login | None:
    """Return the login for `host/path` of a Secret's decoded data, None where it has no entry. Raises BadDockerConfig."""
    text = data.get(KEY)
    if text is None:
        raise BadDockerConfig(f"the key '{KEY}' is missing; make it with `kubectl create secret docker-registry`")
    try:
        found = json.loads(text)
        entries = found["auths"]
        if not isinstance(entries, dict):
            raise TypeError
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise BadDockerConfig(f"the key '{KEY}' holds no docker configuration with 'auths'") from error
    matching = {_place(name): entry for name, entry in entries.items() if _covers(_place(name), _place(repository))}
    return _login(matching[max(matching, key=len)]) if matching else None


def _place(name: str) -> str:
    """`host[:port]/path` of an entry's key or of a repository."""
    place = name.rpartition("://")[2].rstrip("/")
    host, slash, path = place.partition("/")
    host = DOCKER_HUB if host.lower() in _HUB else host.lower()
    return host if path in ("v1", "v2") else host + slash + path


def _covers(entry: str, repository: str) -> bool:
    return repository == entry or repository.startswith(entry + "/")


def _login(entry: Any) -> Login:
    if not isinstance(entry, dict):
        raise BadDockerConfig(f"an entry of 'auths' in the key '{KEY}' is no object")
    username, password = str(entry.get("username") or ""), str(entry.get("password") or "")
    if entry.get("auth") and not username:
        try:
            username, _, password = base64.b64decode(str(entry["auth"]), validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError) as error:
            raise BadDockerConfig(f"an entry's 'auth' in the key '{KEY}' is not base64 of user:password") from error
    return Login(username=username, password=password.rstrip("\0"), refresh=str(entry.get("identitytoken") or ""))
