"""Flags and environment -> one frozen Settings value, read once at the start. Every flag `--some-name` is also `SLUICE_SOME_NAME`."""

import argparse
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Literal, TypeVar

from service.networks import Networks, networks

LogFormat = Literal["json", "text"]
LOG_FORMATS: tuple[LogFormat, ...] = ("json", "text")
DriftMode = Literal["interval", "watch", "report"]
DRIFT_MODES: tuple[DriftMode, ...] = ("interval", "watch", "report")
RateCounts = Literal["refusals", "all"]
RATE_COUNTS: tuple[RateCounts, ...] = ("refusals", "all")
LOG_LEVELS = ("debug", "info", "warning", "error")
SWITCHED = {**dict.fromkeys(("1", "true", "yes", "on"), True), **dict.fromkeys(("0", "false", "no", "off"), False)}
UNITS = {"s": timedelta(seconds=1), "m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}
KINDS = (
    "GitRepository",
    "OCIRepository",
    "Bucket",
    "ExternalArtifact",
    "HelmRepository",
    "HelmChart",
    "ArtifactGenerator",
    "Kustomization",
    "Receiver",
    "Alert",
    "Provider",
)
T = TypeVar("T", bound=str)
NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


_TEXTS = {
    "watch-label-selector": "only objects with these labels (Flux's sharding key)",
    "cluster-name": "the cluster's name, for every message of alerts",
}
_REPLICA_TEXTS = {
    "state-url": "postgresql://... for what must not be lost, in place of the folder, where replicas share it; has a password",
    "replica-address": "HOST:PORT by which others in the cluster reach --cluster of just this one of several replicas",
}
_HOOK_TEXTS = {
    "tls-cert": "certificate of the webhook port, PEM; read again when it changes. Without it the port speaks plain HTTP",
    "tls-key": "its key, PEM",
    "trusted-proxies": "networks (comma) of proxies before the webhook port, whose X-Forwarded-For counts",
    "allow-from": "networks (comma) that webhooks may come from; a Receiver's annotation may narrow that",
}


class BadSettings(Exception):
    """A flag or variable that cannot be used; the message names it and says what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where a port listens."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> "Address":
        """`HOST:PORT`, `:PORT` (all interfaces) or `[V6]:PORT`. Raises ValueError."""
        host, colon, port = text.rpartition(":")
        if not colon or not port.isdigit() or int(port) > 65535:
            raise ValueError(f"{text!r} is not HOST:PORT")
        return cls(host=host.strip("[]") or "0.0.0.0", port=int(port))  # noqa: S104 - asked for by an empty host

    @property
    def is_loopback(self) -> bool:
        return self.host in ("127.0.0.1", "::1", "localhost")

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class BodyLimits:
    """What one request and all requests together may take."""

    body_bytes: int = 25 * 1024 * 1024
    in_flight_bytes: int = 64 * 1024 * 1024
    body_timeout: timedelta = timedelta(seconds=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class HookSettings:
    """The webhook port, and what is remembered of deliveries. Rates are a minute's, 0 for no limit; `keep_body_bytes` is 0 to keep none."""

    tls_cert: Path | None = None
    tls_key: Path | None = None
    trusted_proxies: Networks = ()
    allow_from: Networks = ()
    rate_per_source: int = 120
    rate_per_receiver: int = 600
    rate_counts: RateCounts = "refusals"
    limits: BodyLimits = BodyLimits()
    keep_deliveries: int = 10_000
    keep_age: timedelta = timedelta(days=14)
    keep_body_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageSettings:
    """Alerts on their way, and events that others post. Providers are named by namespace and name; rates are a second's."""

    ttl: timedelta = timedelta(hours=24)
    fallback: tuple[str, str] | None = None
    heartbeat: tuple[str, str] | None = None
    heartbeat_interval: timedelta = timedelta(minutes=1)
    event_rate: int = 100
    event_token_file: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What `sluice serve` runs with."""

    state: Path
    kubeconfig: Path | None
    embedded: Path | None
    simulate_workloads: bool
    listen: Address
    probes: Address
    cluster: Address
    admin: Address
    artifact_host: str
    kinds: frozenset[str]
    watch_label_selector: str
    runtime_namespace: str
    shadow: bool
    no_cross_namespace_refs: bool
    remote_bases: bool
    alerts_any_namespace: bool
    cluster_name: str
    default_service_account: str
    strict_substitutions: bool
    drift: DriftMode
    prune_limit: float | None
    override_managers: tuple[str, ...]
    no_private_addresses: bool
    allow_loopback: bool
    workload_identity: bool
    machine_identity: bool
    log_format: LogFormat
    log_level: str
    concurrency: int
    processes: int
    grace: timedelta
    state_url: str = field(default="", repr=False)
    replica_address: Address | None = None
    hooks: HookSettings = HookSettings()
    messages: MessageSettings = MessageSettings()


def add_arguments(parser: argparse.ArgumentParser, environment: Mapping[str, str] = os.environ) -> None:
    """Declare every flag, with its default from the environment."""

    def option(flag: str, default: str | None, words: str, *, choices: Sequence[str] | None = None) -> None:
        variable = "SLUICE_" + flag.replace("-", "_").upper()
        shown = f"{words} [{variable}]" + (f" (default {default})" if default else "")
        given = environment.get(variable) or default  # a variable that is set to nothing is not set
        parser.add_argument(f"--{flag}", default=given, help=shown.replace("%", "%%"), choices=choices, metavar=None if choices else "X")

    def switch(flag: str, words: str) -> None:
        variable = "SLUICE_" + flag.replace("-", "_").upper()
        given = environment.get(variable) or False  # as text until `read`, which says what is wrong with it
        action = "store_true" if flag.startswith("no-") else argparse.BooleanOptionalAction
        parser.add_argument(f"--{flag}", action=action, default=given, help=f"{words} [{variable}]")

    option("state", "sluice-state", "folder for everything durable: inbox, alerts, Git stores, artifacts")
    option("kubeconfig", None, "the cluster; without it $KUBECONFIG, or the Pod's service account")
    option("embedded", None, "serve a small Kubernetes API from this folder and run on it; needs no cluster")
    switch("simulate-workloads", "with --embedded: make Deployments and the like ready (simulated)")
    option("listen", "127.0.0.1:9292", "webhooks, the only port that faces outside")
    option("probes", "127.0.0.1:8080", "/healthz, /readyz, /metrics")
    option("cluster", "127.0.0.1:9090", "artifacts and event intake, for others in the cluster")
    option("admin", "127.0.0.1:9440", "for you: loopback only, with the token in STATE/admin.token")
    option("artifact-host", "", "host[:port] that others in the cluster reach --cluster by; goes into status.artifact.url")
    option("kinds", ",".join(KINDS), "the kinds this process reconciles")
    for flag, words in _TEXTS.items():
        option(flag, "", words)
    option("runtime-namespace", _namespace(environment), "namespace of the Leases")
    switch("shadow", "compute and report everything, write nothing to the cluster, send nothing")
    switch("no-cross-namespace-refs", "refuse references to other namespaces")
    switch("remote-bases", "let kustomizations fetch what they name by URL: repositories and files (Flux: unless --no-remote-bases)")
    switch("alerts-any-namespace", "let Alerts name the namespace * in eventSources: events of every namespace")
    option("default-service-account", "", "the ServiceAccount that Kustomizations without one apply as; empty: sluice's own")
    switch("strict-substitutions", "fail a build where a variable is not set and has no default")
    option("override-manager", None, "field managers (comma; beginnings of names) whose fields are taken over beside kubectl's")
    option("drift", "interval", "what others change of applied objects: undone at the interval, at once, or reported", choices=DRIFT_MODES)
    option("prune-limit", None, "share of a Kustomization's objects, such as 50%, that one revision may prune unasked")
    switch("no-private-addresses", "refuse private and loopback addresses where an object names an issuer, an alert's target or the like")
    switch("machine-identity", "let Buckets of clouds without a Secret go with the cloud identity of this machine, as with Flux")
    switch("workload-identity", "let sources and Providers act as the cloud identity of a ServiceAccount of their namespace")
    switch("allow-loopback", "allow loopback addresses all the same, for trials on one machine")
    for flag, words in (_REPLICA_TEXTS | _HOOK_TEXTS).items():
        option(flag, None, words)
    option("rate-per-source", "120", "refused webhooks a minute of one address to one Receiver before it gets 429; 0: no limit")
    option("rate-per-receiver", "600", "refused webhooks a minute to one Receiver before it answers 429; 0: no limit")
    option("rate-counts", "refusals", "what these two count", choices=RATE_COUNTS)
    option("max-body", "25", "MiB that the body of a webhook may have")
    option("keep-deliveries", "10000", "deliveries that the log keeps; what is not done is kept in any case")
    option("keep-days", "14", "days for which it keeps them")
    option("keep-bodies", "0", "KiB up to which the body of a delivery is kept, 256 MiB of all; 0: none")
    _message_arguments(option)
    option("log-format", "json", "how logs look", choices=LOG_FORMATS)
    option("log-level", "info", "how much is logged", choices=LOG_LEVELS)
    option("concurrency", "8", "reconciles at once, for each controller")
    option("processes", str(max(1, min(4, os.cpu_count() or 1))), "worker processes for building and parsing")
    option("grace", "20", "seconds for what is under way to finish at SIGTERM")


def _message_arguments(option: Callable[[str, str | None, str], None]) -> None:
    option("alert-ttl", "24h", "how long a message is tried before it becomes a dead letter, such as 24h")
    option("alert-fallback", "", "NAMESPACE/NAME of the Provider that is told when another keeps failing, or a message was given up")
    option("heartbeat-provider", "", "NAMESPACE/NAME of a Provider that gets a heartbeat, for a dead-man switch")
    option("heartbeat-interval", "1m", "how often it gets one")
    option("event-rate", "100", "events a second that one address may post to --cluster, ten seconds' worth at once")
    option("event-token-file", None, "file with the Bearer token that is asked of those who post events; without it none is")


def read(arguments: argparse.Namespace) -> Settings:
    """The settings from parsed arguments. Raises BadSettings."""
    kinds = frozenset(kind.strip() for kind in arguments.kinds.split(",") if kind.strip())
    _check_kinds(kinds)
    if arguments.embedded and arguments.kubeconfig:
        raise BadSettings("--embedded and --kubeconfig exclude each other: choose the cluster that the service runs on")
    admin = _address("admin", arguments.admin)
    if not admin.is_loopback:
        raise BadSettings(
            f"--admin {admin}: this port shows everything, so it listens on loopback only; use `kubectl port-forward` to reach it"
        )
    cluster = _address("cluster", arguments.cluster)
    return Settings(
        state=Path(_text("state", arguments.state)),
        kubeconfig=Path(arguments.kubeconfig) if arguments.kubeconfig else None,
        embedded=Path(arguments.embedded) if arguments.embedded else None,
        simulate_workloads=_switch("simulate-workloads", arguments.simulate_workloads),
        listen=_address("listen", arguments.listen),
        probes=_address("probes", arguments.probes),
        cluster=cluster,
        admin=admin,
        artifact_host=arguments.artifact_host or str(cluster),
        kinds=kinds,
        watch_label_selector=arguments.watch_label_selector,
        runtime_namespace=_text("runtime-namespace", arguments.runtime_namespace),
        shadow=_switch("shadow", arguments.shadow),
        no_cross_namespace_refs=_switch("no-cross-namespace-refs", arguments.no_cross_namespace_refs),
        remote_bases=_switch("remote-bases", arguments.remote_bases),
        alerts_any_namespace=_switch("alerts-any-namespace", arguments.alerts_any_namespace),
        cluster_name=arguments.cluster_name or "",
        default_service_account=arguments.default_service_account or "",
        strict_substitutions=_switch("strict-substitutions", arguments.strict_substitutions),
        override_managers=tuple(filter(None, (name.strip() for name in (arguments.override_manager or "").split(",")))),
        drift=_one_of("drift", arguments.drift, DRIFT_MODES),
        prune_limit=_share("prune-limit", arguments.prune_limit),
        no_private_addresses=_switch("no-private-addresses", arguments.no_private_addresses),
        allow_loopback=_switch("allow-loopback", arguments.allow_loopback),
        workload_identity=_switch("workload-identity", arguments.workload_identity),
        machine_identity=_switch("machine-identity", arguments.machine_identity),
        log_format=_one_of("log-format", arguments.log_format, LOG_FORMATS),
        log_level=_one_of("log-level", arguments.log_level, LOG_LEVELS),
        concurrency=_number("concurrency", arguments.concurrency, 1, 64),
        processes=_number("processes", arguments.processes, 1, 64),
        grace=timedelta(seconds=_number("grace", arguments.grace, 0, 3600)),
        state_url=_state_url(arguments.state_url or ""),
        replica_address=_address("replica-address", arguments.replica_address) if arguments.replica_address else None,
        hooks=_hooks(arguments),
        messages=_messages(arguments),
    )


def _state_url(url: str) -> str:
    if url and not url.startswith(("postgresql://", "postgres://")):
        raise BadSettings(
            "--state-url: write it like postgresql://user:password@host/database; without it the state is in the --state folder"
        )
    return url


def _hooks(arguments: argparse.Namespace) -> HookSettings:
    cert, key = arguments.tls_cert, arguments.tls_key
    if bool(cert) != bool(key):
        raise BadSettings("--tls-cert and --tls-key belong together: name both files, or none")
    body_bytes = _number("max-body", arguments.max_body, 1, 1024) * 1024 * 1024
    usual = BodyLimits()
    return HookSettings(
        tls_cert=Path(cert) if cert else None,
        tls_key=Path(key) if key else None,
        trusted_proxies=_networks("trusted-proxies", arguments.trusted_proxies),
        allow_from=_networks("allow-from", arguments.allow_from),
        rate_per_source=_number("rate-per-source", arguments.rate_per_source, 0, 1_000_000),
        rate_per_receiver=_number("rate-per-receiver", arguments.rate_per_receiver, 0, 1_000_000),
        rate_counts=_one_of("rate-counts", arguments.rate_counts, RATE_COUNTS),
        limits=BodyLimits(body_bytes=body_bytes, in_flight_bytes=max(usual.in_flight_bytes, body_bytes)),
        keep_deliveries=_number("keep-deliveries", arguments.keep_deliveries, 1, 10_000_000),
        keep_age=timedelta(days=_number("keep-days", arguments.keep_days, 1, 3650)),
        keep_body_bytes=_number("keep-bodies", arguments.keep_bodies, 0, 25 * 1024) * 1024,
    )


def _networks(flag: str, text: str | None) -> Networks:
    try:
        return networks(text or "")
    except ValueError as error:
        raise BadSettings(f"--{flag}: {error}") from error


def _check_kinds(kinds: frozenset[str]) -> None:
    unknown = kinds - set(KINDS)
    if unknown:
        raise BadSettings(f"--kinds: {', '.join(sorted(unknown))} not known; this version runs {', '.join(KINDS)}")
    if not kinds:
        raise BadSettings(f"--kinds is empty; choose from {', '.join(KINDS)}")
    if "Kustomization" in kinds and "GitRepository" not in kinds:
        raise BadSettings("--kinds: Kustomization needs GitRepository in the same process, since builds read Git's objects directly")
    if ("Alert" in kinds) != ("Provider" in kinds):
        raise BadSettings("--kinds: Alert and Provider belong together")


def _address(flag: str, text: str) -> Address:
    try:
        return Address.parse(text)
    except ValueError as error:
        raise BadSettings(f"--{flag}: {error}") from error


def _text(flag: str, text: str) -> str:
    if not text:
        raise BadSettings(f"--{flag} is empty: name one, or leave the flag out")
    return text


def _one_of(flag: str, text: str, choices: tuple[T, ...]) -> T:
    """argparse does not check what comes from the environment."""
    for choice in choices:
        if choice == text:
            return choice
    raise BadSettings(f"--{flag} {text}: choose from {', '.join(map(str, choices))}")


def _switch(flag: str, given: bool | str) -> bool:
    """A word that is none of ours must not count as "off": the flag may be what keeps the service from writing."""
    if isinstance(given, bool):
        return given
    if given.lower() not in SWITCHED:
        raise BadSettings(f"--{flag} {given}: as a variable it is true or false")
    return SWITCHED[given.lower()]


def _number(flag: str, text: str, least: int, most: int) -> int:
    if not str(text).isdigit() or not least <= int(text) <= most:
        raise BadSettings(f"--{flag} {text}: a number from {least} to {most} is needed")
    return int(text)


def _messages(arguments: argparse.Namespace) -> MessageSettings:
    return MessageSettings(
        ttl=_duration("alert-ttl", arguments.alert_ttl, timedelta(minutes=1)),
        fallback=_named("alert-fallback", arguments.alert_fallback),
        heartbeat=_named("heartbeat-provider", arguments.heartbeat_provider),
        heartbeat_interval=_duration("heartbeat-interval", arguments.heartbeat_interval, timedelta(seconds=1)),
        event_rate=_number("event-rate", arguments.event_rate, 1, 100_000),
        event_token_file=Path(arguments.event_token_file) if arguments.event_token_file else None,
    )


def _duration(flag: str, text: str, least: timedelta) -> timedelta:
    number, unit = str(text)[:-1], UNITS.get(str(text)[-1:])
    if unit is None or not number.isascii() or not number.isdigit() or len(number) > 6:
        raise BadSettings(f"--{flag} {text}: write a whole number of s, m, h or d, like 90s or 24h")
    found = int(number) * unit
    if found < least:
        raise BadSettings(f"--{flag} {text}: {least.total_seconds():g} seconds is the least")
    return found


def _named(flag: str, text: str | None) -> tuple[str, str] | None:
    if not text:
        return None
    namespace, slash, name = text.partition("/")
    if not (slash and namespace and name) or "/" in name:
        raise BadSettings(f"--{flag} {text}: name an object as NAMESPACE/NAME")
    return namespace, name


def parse_share(text: str) -> float:
    """`25%` or `25` as 25.0. Raises ValueError for what is not from 0% to 100%."""
    number = text.strip().removesuffix("%").rstrip()
    if not number.isascii() or not number.replace(".", "", 1).isdigit() or float(number) > 100:
        raise ValueError(f"{text!r} is no share from 0% to 100%: write it like 25%")
    return float(number)


def _share(flag: str, text: str | None) -> float | None:
    if not text:
        return None
    try:
        return parse_share(text)
    except ValueError as error:
        raise BadSettings(f"--{flag}: {error}") from error


def _namespace(environment: Mapping[str, str]) -> str:
    if environment.get("RUNTIME_NAMESPACE"):
        return environment["RUNTIME_NAMESPACE"]
    try:
        return NAMESPACE_FILE.read_text().strip() or "flux-system"
    except OSError:
        return "flux-system"
