"""Stand-ins of the clouds' token services with their real host names and TLS: what they are shown is checked, signatures too.

The cluster's token is a JWT whose signature is verified with the cluster's key; AWS' requests are verified by their signature, version 4.
"""

import base64
import hashlib
import hmac
import json
import ssl
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from service.outbound import Outbound, Policy

POOL = "projects/123/locations/global/workloadIdentityPools/cluster/providers/k8s"
CLIENT, TENANT = "00000000-0000-4000-8000-000000000001", "00000000-0000-4000-8000-000000000002"
ANNOTATIONS = {
    "eks.amazonaws.com/role-arn": "arn:aws:iam::123456789012:role/fetch",
    "azure.workload.identity/client-id": CLIENT,
    "azure.workload.identity/tenant-id": TENANT,
    "gcp.auth.fluxcd.io/workload-identity-provider": POOL,
}
KEY_ID, KEY, SESSION = "ASIAEXAMPLEEXAMPLE12", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLE", "FwoGZXIvYXdzEXAMPLE=="
REGISTRY = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"
NAMES = ("*.amazonaws.com", "*.eu-west-1.amazonaws.com", "*.dkr.ecr.eu-west-1.amazonaws.com", "*.ecr.eu-west-1.amazonaws.com")
NAMES += ("*.us-east-1.amazonaws.com", "*.ecr-public.us-east-1.amazonaws.com")
NAMES += ("*.s3.eu-west-1.amazonaws.com", "*.blob.core.windows.net")
NAMES += ("login.microsoftonline.com", "*.azurecr.io", "dev.azure.com", "*.googleapis.com", "*.pkg.dev")


class Cluster:
    """Signs tokens of ServiceAccounts."""

    def __init__(self) -> None:
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)

    def sign(self, namespace: str, name: str, audience: str) -> str:
        claims = {"aud": [audience], "sub": f"system:serviceaccount:{namespace}:{name}"}
        said = b".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in ({"alg": "RS256"}, claims))
        return (said + b"." + base64.urlsafe_b64encode(self._key.sign(said, padding.PKCS1v15(), hashes.SHA256())).rstrip(b"=")).decode()

    def subject(self, token: str, audience: str) -> str:
        """Whose it is, "" where it is not good for the audience."""
        said, _, signed = token.rpartition(".")
        try:
            self._key.public_key().verify(_decoded(signed), said.encode(), padding.PKCS1v15(), hashes.SHA256())
        except (InvalidSignature, ValueError):
            return ""
        claims = json.loads(_decoded(said.partition(".")[2]))
        return str(claims["sub"]) if claims["aud"] == [audience] else ""


class Clouds:
    """`asked` are host and path of each request; `lifetime` is what Entra ID and Google say; `refuse`: hosts that answer with a 403."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.asked: list[str] = []
        self.subjects: list[str] = []
        self.lifetime = 3600
        self.refuse: set[str] = set()
        self.redirect: dict[str, str] = {}

    async def answer(self, request: web.Request) -> web.StreamResponse:
        host = request.headers["Host"].partition(":")[0]
        self.asked.append(f"{host}{request.path}")
        if host in self.refuse:
            return web.Response(status=403, text="secret words")
        if host in self.redirect:
            return web.Response(status=307, headers={"Location": self.redirect[host]})
        form = dict(await request.post()) if request.content_type == "application/x-www-form-urlencoded" else {}
        if host.startswith("sts.") and host.endswith(".amazonaws.com"):
            return self._sts(form)
        if host.startswith("api.ecr"):
            return await self._ecr(request)
        match f"{host}{request.path}":
            case path if path == f"login.microsoftonline.com/{TENANT}/oauth2/v2.0/token":
                return self._entra(form)
            case "sts.googleapis.com/v1/token":
                return self._google(form)
            case path if path.endswith(".azurecr.io/oauth2/exchange"):
                good = form.get("access_token") == "entra https://management.azure.com/.default" and form.get("service") == host
                return web.json_response({"refresh_token": f"acr of {host}"}) if good else web.Response(status=401)
        return web.Response(status=404)

    def _holds(self, token: object, audience: str) -> bool:
        subject = self.cluster.subject(str(token), audience)
        self.subjects.append(subject)
        return bool(subject)

    def _sts(self, form: Mapping[str, Any]) -> web.Response:
        good = self._holds(form["WebIdentityToken"], "sts.amazonaws.com") and form["Action"] == "AssumeRoleWithWebIdentity"
        if not good or form["RoleArn"] != ANNOTATIONS["eks.amazonaws.com/role-arn"]:
            return web.Response(status=403, text="<Error/>")
        keys = f"<AccessKeyId>{KEY_ID}</AccessKeyId><SecretAccessKey>{KEY}</SecretAccessKey><SessionToken>{SESSION}</SessionToken>"
        return web.Response(text=f"<AssumeRoleWithWebIdentityResponse>{keys}</AssumeRoleWithWebIdentityResponse>")

    async def _ecr(self, request: web.Request) -> web.Response:
        if not is_signed(request.method, request.raw_path, request.headers, await request.read()):
            return web.json_response({"__type": "InvalidSignatureException"}, status=400)
        token = base64.b64encode(b"AWS:ecr-password").decode()
        entry = {"authorizationToken": token, "expiresAt": 1.7e9}
        is_public = request.headers["X-Amz-Target"].startswith("SpencerFrontendService.")
        return web.json_response({"authorizationData": entry if is_public else [entry]}, content_type="application/x-amz-json-1.1")

    def _entra(self, form: Mapping[str, Any]) -> web.Response:
        good = self._holds(form["client_assertion"], "api://AzureADTokenExchange") and form["client_id"] == CLIENT
        body = {"access_token": f"entra {form['scope']}", "expires_in": self.lifetime}
        return web.json_response(body) if good else web.json_response({}, status=401)

    def _google(self, form: Mapping[str, Any]) -> web.Response:
        audience = f"//iam.googleapis.com/{POOL}"
        good = self._holds(form["subject_token"], audience) and form["audience"] == audience
        return web.json_response({"access_token": "ya29", "expires_in": self.lifetime}) if good else web.json_response({}, status=400)


def is_signed(method: str, path: str, headers: Mapping[str, str], body: bytes) -> bool:
    """Whether a request bears the signature of the keys that STS gives, with their session."""
    scheme, _, rest = headers.get("Authorization", "").partition(" ")
    if scheme != "AWS4-HMAC-SHA256":
        return False
    parts = dict(part.strip().split("=", 1) for part in rest.split(","))
    key_id, _, scope = parts["Credential"].partition("/")
    names = parts["SignedHeaders"].split(";")
    if key_id != KEY_ID or headers.get("X-Amz-Security-Token") != SESSION or "x-amz-security-token" not in names:
        return False
    lines = "".join(f"{name}:{headers[name].partition(':443')[0] if name == 'host' else headers[name]}\n" for name in names)
    path, _, query = path.partition("?")
    query = "&".join(sorted(query.split("&")))
    digest = headers.get("x-amz-content-sha256") or hashlib.sha256(body).hexdigest()
    canonical = "\n".join([method, path, query, lines, ";".join(names), digest])
    return signature(scope, headers["X-Amz-Date"], canonical) == parts["Signature"]


def signature(scope: str, moment: str, canonical: str) -> str:
    """https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html"""
    key = f"AWS4{KEY}".encode()
    for word in scope.split("/"):
        key = hmac.digest(key, word.encode(), "sha256")
    text = "\n".join(["AWS4-HMAC-SHA256", moment, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    return hmac.digest(key, text.encode(), "sha256").hex()


class Here(AbstractResolver):
    """Every name is one port of this machine."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def resolve(self, host: str, port: int = 0, family: Any = 0) -> list[ResolveResult]:
        return [ResolveResult(hostname=host, host="127.0.0.1", port=self._port, family=family, proto=0, flags=0)]

    async def close(self) -> None:
        """Nothing is held."""


class OutboundTo(Outbound):
    """The outbound policy of a network in which all names lead to one port."""

    def __init__(self, port: int) -> None:
        super().__init__(Policy(loopback=True))
        self._port = port

    def resolver(self) -> AbstractResolver:
        return Here(self._port)


def authority(folder: Path, *names: str) -> tuple[Path, ssl.SSLContext]:
    """A CA of one's own, ca.crt, and what a server of these names shows."""
    (folder / "san").write_text("subjectAltName=" + ",".join(f"DNS:{name}" for name in names) + "\n")
    for line in (
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=ca -keyout ca.key -out ca.crt",
        "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=clouds -keyout a.key -out a.csr",
        "x509 -req -in a.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 1 -extfile san -out a.crt",
    ):
        subprocess.run(["openssl", *line.split()], cwd=folder, check=True, capture_output=True)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "a.crt", folder / "a.key")
    return folder / "ca.crt", context


@asynccontextmanager
async def served(answer: Any, tls: ssl.SSLContext | None) -> AsyncIterator[int]:
    """All hosts on one port."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
