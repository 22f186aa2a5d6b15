"""Where the API server is and who we are there: a kubeconfig or a Pod's service account in, a Configuration and headers out.

The loaders are kubernetes_asyncio's: contexts, client certificates, tokens and token files, basic auth, OIDC and `exec` plugins. Meant for
sluice's own credentials only: the loader runs plugins and keeps keys in temporary files.
https://kubernetes.io/docs/concepts/configuration/organize-cluster-access-kubeconfig/
"""

import asyncio
import os
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

import yaml
from kubernetes_asyncio.client import Configuration
from kubernetes_asyncio.config import ConfigException, load_kube_config
from kubernetes_asyncio.config.incluster_config import SERVICE_CERT_FILENAME, SERVICE_TOKEN_FILENAME, InClusterConfigLoader

REFRESH = timedelta(minutes=1)
RENEW_AT_MOST_EVERY = timedelta(seconds=5)
PLUGIN_TIMEOUT = timedelta(seconds=60)


class ClusterError(Exception):
    """Whatever keeps us from what we want of the API server."""


class BadKubeconfig(ClusterError):
    """The kubeconfig (or the Pod's service account) cannot be used; the message names the file and what is wrong with it."""


class _Loader(Protocol):
    """What the two kinds of loaders here have in common."""

    async def load(self, configuration: Configuration) -> None: ...

    def expired(self) -> bool: ...


class _Kubeconfig:
    def __init__(self, path: str) -> None:
        self._path = path
        self._loader: Any = None
        self._changing = False

    async def load(self, configuration: Configuration) -> None:
        try:
            async with asyncio.timeout(PLUGIN_TIMEOUT.total_seconds()):
                if self._loader is None:
                    self._loader = await load_kube_config(config_file=self._path, client_configuration=configuration, persist_config=False)
                else:
                    await self._loader.load_and_set(configuration)
        except TimeoutError as error:
            raise BadKubeconfig(f"{self._path}: the credential plugin did not answer within {PLUGIN_TIMEOUT.seconds} s") from error
        except (TypeError, AttributeError, KeyError, AssertionError) as error:  # the loader's own words would be Python's
            raise BadKubeconfig(f"{self._path} is not a usable kubeconfig: it has another form than `kubectl config view` shows") from error
        except (ConfigException, OSError, yaml.YAMLError, ValueError) as error:
            raise BadKubeconfig(f"{self._path} is not a usable kubeconfig: {error}") from error

    def expired(self) -> bool:
        """Token files are read again each minute, plugins run again when what they gave is about to end."""
        user = self._loader._user  # no public way to see which user the context names
        if user is None:
            return False
        if "tokenFile" in user or "auth-provider" in user:
            return True
        expiry = getattr(self._loader, "exec_plugin_expiry", None)
        return expiry is not None and expiry - timedelta(minutes=5) <= datetime.now(expiry.tzinfo)


class _ServiceAccount:
    def __init__(self, token: str, ca: str) -> None:
        self._loader = InClusterConfigLoader(token, ca)

    async def load(self, configuration: Configuration) -> None:
        try:
            self._loader.load_and_set(configuration)
        except (ConfigException, OSError) as error:
            raise BadKubeconfig(f"not in a Pod with a service account: {error} Give --kubeconfig or --embedded.") from error
        configuration.refresh_api_key_hook = None  # this module decides when; the hook would read the file on each request's path

    def expired(self) -> bool:
        return True


class Access:
    """The server's address, TLS settings and the Authorization header, renewed before and when the server refuses it."""

    def __init__(self, loader: _Loader) -> None:
        self.configuration = Configuration()
        self._loader = loader
        self._renewing = asyncio.Lock()
        self._loaded = 0.0
        self._headers: dict[str, str] = {}

    @classmethod
    async def from_kubeconfig(cls, path: Path | str | None) -> "Access":
        """Read a kubeconfig; None means $KUBECONFIG (which may be a list), then ~/.kube/config. Raises BadKubeconfig."""
        named = str(path) if path is not None else os.environ.get("KUBECONFIG") or str(Path.home() / ".kube" / "config")
        if not _exists(named):
            raise BadKubeconfig(f"there is no kubeconfig at {named}")
        access = cls(_Kubeconfig(named))
        await access._load()
        return access

    @classmethod
    async def in_cluster(cls, token: str = SERVICE_TOKEN_FILENAME, ca: str = SERVICE_CERT_FILENAME) -> "Access":
        """Use the service account that Kubernetes mounted into this Pod. Raises BadKubeconfig outside of one."""
        access = cls(_ServiceAccount(token, ca))
        await access._load()
        return access

    @property
    def server(self) -> str:
        """The server's base URL without a slash at its end."""
        return str(self.configuration.host).rstrip("/")

    async def headers(self) -> dict[str, str]:
        """The headers that say who we are; a secret. Re-read when a minute has passed and they may have changed."""
        if time.monotonic() - self._loaded > REFRESH.total_seconds() and not self._renewing.locked():
            if self._loader.expired():
                await self.renew()
            else:
                self._loaded = time.monotonic()
        return self._headers

    async def renew(self) -> bool:
        """Load the credentials again (the server refused them, or they are old); False when that was done a moment ago."""
        async with self._renewing:
            if time.monotonic() - self._loaded < RENEW_AT_MOST_EVERY.total_seconds():
                return False
            await self._load()
            return True

    async def _load(self) -> None:
        await self._loader.load(self.configuration)
        self._loaded = time.monotonic()
        token = self.configuration.api_key.get("BearerToken")
        self._headers = {"Authorization": token.strip()} if token else {}


def _exists(named: str) -> bool:
    return any(Path(part).expanduser().is_file() for part in named.split(os.pathsep) if part)
