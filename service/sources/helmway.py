"""How a Helm repository is reached: the object and its Secrets in, an open museum or registry out.

A Secret of secretRef has username and password, for registries also .dockerconfigjson; TLS in it is the old form of certSecretRef. At a
registry a ServiceAccount can stand for it, which Flux's kind has no field for: an annotation names it.
https://github.com/fluxcd/source-controller/blob/main/docs/spec/v1/helmrepositories.md#secret-reference
"""

import hashlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from service.kinds import meta
from service.kinds.helm import HelmRepository
from service.sources.cloudlogin import ACCOUNT_ANNOTATION, CLOUDS, Holder, refused, registry_login
from service.sources.dockerconfig import KEY, BadDockerConfig, Login, login_for
from service.sources.failure import EndedEarly
from service.sources.manifests import RegistryError, Repository
from service.sources.museum import Museum
from service.sources.reconciler import Needs
from service.sources.registry import Registry
from service.sources.remote import Remote, held

_OLD_TLS = ("certFile", "keyFile", "caFile")


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """What is sent to one repository. `secret` is the data of spec.secretRef; `certificates` the name of a Secret with TLS."""

    namespace: str
    url: str
    secret: Mapping[str, bytes] = field(default_factory=dict, repr=False, hash=False)
    secret_name: str = ""
    certificates: str | None = None
    pass_credentials: bool = False
    insecure: bool = False
    provider: str = "generic"
    account: str = ""

    @classmethod
    async def of(cls, found: HelmRepository, needs: Needs) -> "Access":
        """Read the Secret of a repository. Raises EndedEarly, ApiError, ApiAway."""
        spec, namespace = found.spec, found.metadata.namespace
        account = found.metadata.annotations.get(ACCOUNT_ANNOTATION, "")
        if not spec.is_oci and (account or spec.provider in CLOUDS):
            raise EndedEarly.invalid(f"spec.provider and the annotation {ACCOUNT_ANNOTATION} are for spec.type oci: remove them, or set it")
        secret = await held(needs.read_secret, namespace, spec.secret_ref) if spec.secret_ref else {}
        old_tls = spec.secret_ref if not spec.is_oci and any(secret.get(name) for name in _OLD_TLS) else None
        return cls(
            namespace=namespace,
            url=spec.url,
            secret=secret,
            secret_name=spec.secret_ref or "",
            certificates=spec.cert_secret_ref or old_tls,
            pass_credentials=spec.pass_credentials,
            insecure=spec.insecure and spec.is_oci,
            provider=spec.provider,
            account=account,
        )

    @property
    def identity(self) -> str:
        """A hash of what is shown to the repository: another one may be shown another index."""
        parts = [f"{name}={len(value)}:".encode() + value for name, value in sorted(self.secret.items())]
        return hashlib.sha256(b"\0".join([*parts, (self.certificates or "").encode()])).hexdigest()

    @property
    def remote(self) -> Remote:
        return Remote(namespace=self.namespace, certificates=self.certificates, insecure=self.insecure)

    def login(self) -> Login:
        """Username and password. Raises EndedEarly."""
        user, password = (self._text(name) for name in ("username", "password"))
        if bool(user) != bool(password):
            raise self._bad("required fields 'username' and 'password' must both be there, or none of them")
        return Login(username=user, password=password)

    @property
    def holder(self) -> Holder:
        field = f"the annotation {ACCOUNT_ANNOTATION}"
        return Holder(namespace=self.namespace, provider=self.provider, account=self.account, field=field)

    async def registry_login(self, repository: Repository, needs: Needs) -> Login:
        """What a registry is told. Raises EndedEarly, ApiError, ApiAway."""
        if not self.secret_name:
            return await registry_login(self.holder, (), repository, needs)
        if KEY not in self.secret:
            return self.login()
        try:
            return login_for(self.secret, str(repository)) or Login()
        except BadDockerConfig as error:
            raise self._bad(str(error)) from error

    def _text(self, name: str) -> str:
        try:
            found = self.secret.get(name, b"").decode().strip("\r\n")
        except UnicodeDecodeError as error:
            raise self._bad(f"the key '{name}' is not text") from error
        if not found.isprintable() or (name == "username" and ":" in found):
            raise self._bad(f"the key '{name}' holds letters that cannot be sent")
        return found

    def _bad(self, why: str) -> EndedEarly:
        message = f"failed to configure Helm client: invalid '{self.namespace}/{self.secret_name}' secret data: {why}"
        return EndedEarly.fetch(meta.AUTHENTICATION_FAILED, message)


@asynccontextmanager
async def museum_of(access: Access, needs: Needs) -> AsyncIterator[Museum]:
    """The chart repository behind http or https. Raises EndedEarly, ApiError, ApiAway."""
    login = access.login()
    async with access.remote.open(needs.outbound, needs.read_secret) as way:
        yield Museum(way.session, access.url, login, pass_credentials=access.pass_credentials)


@asynccontextmanager
async def registry_of(access: Access, needs: Needs, repository: Repository) -> AsyncIterator[Registry]:
    """One chart's repository in a registry. Raises EndedEarly, ApiError, ApiAway."""
    login = await access.registry_login(repository, needs)
    async with access.remote.open(needs.outbound, needs.read_secret) as way:
        registry = Registry(way.session, repository, login)
        if access.insecure:
            await registry.allow_http()
        try:
            yield registry
        except RegistryError as error:
            if error.unauthorized:
                refused(access.holder, needs)
            raise
