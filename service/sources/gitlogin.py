"""What a GitRepository sends to its remote: its spec and its Secrets in, credentials out.

Of a Secret, of a GitHub App, or of a ServiceAccount that Azure DevOps or AWS CodeCommit know by the cloud's own exchange.
https://fluxcd.io/flux/components/source/gitrepositories/#provider
"""

from dataclasses import replace
from datetime import UTC, datetime

from service.identities.remotes import code_commit_user, to_code_commit, to_dev_ops
from service.kinds import meta
from service.kinds.source import GitRepository
from service.sources.cloudlogin import CLOUDS, Holder, granted, refused
from service.sources.credentials import Credentials, InvalidSecret, read_credentials
from service.sources.failure import EndedEarly
from service.sources.fetcherror import AuthRefused
from service.sources.githubapp import Apps, read_app
from service.sources.reconciler import Needs
from service.sources.remote import held
from service.sources.smart import trust_of
from service.sources.ssh import is_ssh, read_ssh
from service.transport import BadTransport, proxy_of


class GitLogin:
    """Belongs to one event loop."""

    def __init__(self, needs: Needs) -> None:
        self._needs = needs
        self._apps = Apps(needs.outbound)

    async def of(self, found: GitRepository) -> Credentials:
        """Read what the object names. Raises EndedEarly, FetchError of a GitHub App, ApiError, ApiAway."""
        spec, namespace = found.spec, found.metadata.namespace
        if spec.service_account_name and spec.provider not in CLOUDS:
            raise EndedEarly.invalid("spec.serviceAccountName can only be set with spec.provider azure or aws: remove it")
        proxy = await self._proxy(found)
        if spec.provider == "github" and (spec.secret_ref is None or not spec.url.startswith("https:")):
            why = "spec.provider github needs an https address and spec.secretRef with the keys of a GitHub App"
            raise EndedEarly.fetch(meta.INVALID_PROVIDER, why, stalls=True)
        if spec.secret_ref is None and is_ssh(spec.url):
            why = "failed to configure authentication options: ssh needs spec.secretRef, with the keys identity and known_hosts"
            raise EndedEarly.fetch(meta.AUTHENTICATION_FAILED, why)
        try:
            data = await held(self._needs.read_secret, namespace, spec.secret_ref) if spec.secret_ref else {}
            if spec.provider == "github":
                return await self._apps.credentials(read_app(data), proxy)
            given = replace(read_ssh(data) if is_ssh(spec.url) else read_credentials(data), proxy=proxy)
            if given.certificate:
                await _check(given, spec.url)
        except (InvalidSecret, BadTransport) as error:
            why = f"failed to configure authentication options: secret '{namespace}/{spec.secret_ref}': {error}"
            raise EndedEarly.fetch(meta.AUTHENTICATION_FAILED, why) from error
        return await self._of_cloud(found, given) if spec.provider in CLOUDS else given

    def refused(self, found: GitRepository, credentials: Credentials, error: AuthRefused) -> str:
        """The remote has refused: others are asked for at the next fetch, where that is possible. Returns the words for it."""
        self._apps.doubt(credentials)
        if found.spec.provider not in CLOUDS:
            return str(error)
        holder = _holder(found, credentials)
        refused(holder, self._needs)
        return str(error).replace("spec.secretRef", f"ServiceAccount '{holder.namespace}/{holder.account}'")

    async def _of_cloud(self, found: GitRepository, given: Credentials) -> Credentials:
        if given.given:
            why = f"secret '{found.metadata.namespace}/{found.spec.secret_ref}' has a log-in, and spec.provider is {found.spec.provider}"
            raise EndedEarly.fetch(meta.INVALID_PROVIDER, f"{why}: with that the Secret can hold certificates alone")
        holder, url = _holder(found, given), found.spec.url
        scope = repr((holder.provider, holder.namespace, holder.account))
        if holder.provider == "azure":
            return replace(given, bearer=await granted(holder, lambda: to_dev_ops(url), self._needs), scope=scope)
        user = code_commit_user(await granted(holder, lambda: to_code_commit(url), self._needs), url, datetime.now(UTC))
        return replace(given, username=user.name, password=user.password, scope=scope)

    async def _proxy(self, found: GitRepository) -> str:
        name, namespace = found.spec.proxy_secret_ref, found.metadata.namespace
        if not name:
            return ""
        if not found.spec.url.startswith("https:"):  # libgit2 would go there without the proxy
            why = "spec.proxySecretRef: a proxy is used for https addresses only; write https:// into spec.url, or remove it"
            raise EndedEarly.fetch(meta.GIT_OPERATION_FAILED, why, stalls=True)
        try:
            return proxy_of(await held(self._needs.read_secret, namespace, name), f"secret '{namespace}/{name}'")
        except BadTransport as error:
            raise EndedEarly.fetch(meta.AUTHENTICATION_FAILED, f"failed to configure proxy options: {error}") from error


async def _check(given: Credentials, url: str) -> None:
    """Raises InvalidSecret, BadTransport."""
    if not url.startswith("https:"):
        raise InvalidSecret("the keys 'tls.crt' and 'tls.key' are for https addresses only; write https:// into spec.url, or remove them")
    await trust_of(given)


def _holder(found: GitRepository, credentials: Credentials) -> Holder:
    spec = found.spec
    return Holder(namespace=found.metadata.namespace, provider=spec.provider, account=spec.service_account_name, proxy=credentials.proxy)
