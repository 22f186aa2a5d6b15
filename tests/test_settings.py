"""Flags and variables: each flag has its SLUICE_ form, and what cannot be used is named."""

import argparse
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

import pytest

from service.networks import networks
from service.settings import KINDS, Address, BadSettings, BodyLimits, HookSettings, Settings, add_arguments, read


def settings(*flags: str, environment: Mapping[str, str] | None = None) -> Settings:
    parser = argparse.ArgumentParser()
    add_arguments(parser, environment or {})
    return read(parser.parse_args(flags))


def test_defaults_are_the_documented_ones() -> None:
    found = settings()
    assert [str(port) for port in (found.listen, found.probes, found.cluster, found.admin)] == [
        "127.0.0.1:9292",
        "127.0.0.1:8080",
        "127.0.0.1:9090",
        "127.0.0.1:9440",
    ]
    assert found.kinds == set(KINDS)
    assert found.hooks == HookSettings()
    assert (found.runtime_namespace, found.shadow, found.grace) == ("flux-system", False, timedelta(seconds=20))


def test_every_flag_is_also_a_variable() -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser, {})
    flags = {action.dest for action in parser._actions if action.dest != "help"}
    values = {
        "state": "/s", "state_url": "postgresql://me:hidden@db/sluice",
        "replica_address": "fd00::7:9090",
        "kubeconfig": "/k", "embedded": "", "listen": ":1", "probes": ":2", "cluster": ":3", "admin": "[::1]:4",
        "artifact_host": "sluice.example", "kinds": "Receiver", "watch_label_selector": "a=b", "runtime_namespace": "ns",
        "log_format": "text", "log_level": "debug", "concurrency": "3", "processes": "1", "grace": "7",
        "simulate_workloads": "true", "shadow": "1", "no_cross_namespace_refs": "yes", "remote_bases": "1", "prune_limit": "12.5%",
        "override_manager": "helm, argocd", "default_service_account": "tenant", "strict_substitutions": "on", "drift": "report",
        "no_private_addresses": "on", "allow_loopback": "off", "workload_identity": "on", "machine_identity": "on",
        "tls_cert": "/c.pem", "tls_key": "/k.pem",
        "trusted_proxies": "10.0.0.0/8, ::1", "allow_from": "192.0.2.7", "rate_per_source": "5", "rate_per_receiver": "0",
        "rate_counts": "all", "max_body": "100", "keep_deliveries": "7", "keep_days": "2", "keep_bodies": "64",
        "alerts_any_namespace": "true", "cluster_name": "prod-eu", "alert_ttl": "2h", "alert_fallback": "ops/mail",
        "heartbeat_provider": "ops/dead-man", "heartbeat_interval": "90s", "event_rate": "7", "event_token_file": "/t",
    }  # fmt: skip
    assert set(values) == flags
    found = settings(environment={f"SLUICE_{name.upper()}": value for name, value in values.items()})
    assert found.state == Path("/s")
    assert found.state_url == "postgresql://me:hidden@db/sluice"
    assert str(found.replica_address) == "[fd00::7]:9090"
    assert "hidden" not in repr(found)
    assert found.kubeconfig == Path("/k")
    assert str(found.listen) == "0.0.0.0:1"
    assert found.admin == Address(host="::1", port=4)
    assert found.prune_limit == 12.5
    assert (found.alerts_any_namespace, found.cluster_name) == (True, "prod-eu")
    assert (found.messages.ttl, found.messages.heartbeat_interval) == (timedelta(hours=2), timedelta(seconds=90))
    assert (found.messages.fallback, found.messages.heartbeat) == (("ops", "mail"), ("ops", "dead-man"))
    assert (found.messages.event_rate, found.messages.event_token_file) == (7, Path("/t"))
    assert found.override_managers == ("helm", "argocd")
    assert found.hooks == HookSettings(
        tls_cert=Path("/c.pem"),
        tls_key=Path("/k.pem"),
        trusted_proxies=networks("10.0.0.0/8,::1"),
        allow_from=networks("192.0.2.7/32"),
        rate_per_source=5,
        rate_per_receiver=0,
        rate_counts="all",
        limits=BodyLimits(body_bytes=100 * 2**20, in_flight_bytes=100 * 2**20),
        keep_deliveries=7,
        keep_age=timedelta(days=2),
        keep_body_bytes=64 * 1024,
    )
    assert (found.shadow, found.simulate_workloads, found.no_cross_namespace_refs, found.remote_bases) == (True, True, True, True)
    assert (found.no_private_addresses, found.allow_loopback, found.workload_identity, found.machine_identity) == (True, False, True, True)
    assert (found.kinds, found.concurrency, found.processes, found.grace) == (frozenset({"Receiver"}), 3, 1, timedelta(seconds=7))
    assert (found.log_format, found.log_level, found.watch_label_selector, found.artifact_host) == (
        "text",
        "debug",
        "a=b",
        "sluice.example",
    )


def test_a_flag_wins_over_its_variable() -> None:
    assert settings("--concurrency", "5", environment={"SLUICE_CONCURRENCY": "3"}).concurrency == 5
    assert not settings("--no-shadow", environment={"SLUICE_SHADOW": "true"}).shadow


@pytest.mark.parametrize(
    ("flags", "word"),
    [
        (["--admin", "0.0.0.0:9440"], "loopback"),
        (["--listen", "9292"], "--listen"),
        (["--probes", "localhost:99999"], "--probes"),
        (["--kinds", "HelmRelease"], "HelmRelease"),
        (["--kinds", ""], "--kinds"),
        (["--kinds", "Kustomization"], "GitRepository"),
        (["--kinds", "Alert"], "Provider"),
        (["--kubeconfig", "a", "--embedded", "b"], "exclude each other"),
        (["--concurrency", "0"], "--concurrency"),
        (["--tls-cert", "c.pem"], "--tls-key"),
        (["--allow-from", "10.0.0.0/8,example.com"], "example.com"),
        (["--trusted-proxies", "10.0.0.0/40"], "10.0.0.0/40"),
        (["--max-body", "0"], "--max-body"),
        (["--keep-bodies", "99999"], "--keep-bodies"),
        (["--grace", "soon"], "--grace"),
    ],
)
def test_what_cannot_be_used_is_named(flags: list[str], word: str) -> None:
    with pytest.raises(BadSettings, match=word):
        settings(*flags)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SHADOW", "maybe"),
        ("NO_CROSS_NAMESPACE_REFS", "2"),
        ("LOG_FORMAT", "xml"),
        ("LOG_LEVEL", "loud"),
        ("KINDS", "Foo"),
        ("GRACE", "-1"),
    ],
)
def test_a_variable_that_cannot_be_used_is_named(name: str, value: str) -> None:
    with pytest.raises(BadSettings, match=f"--{name.lower().replace('_', '-')}"):
        settings(environment={f"SLUICE_{name}": value})


def test_an_empty_variable_is_not_set_and_an_empty_flag_is_refused() -> None:
    found = settings(environment={"SLUICE_STATE": "", "SLUICE_LISTEN": "", "SLUICE_SHADOW": "", "SLUICE_KINDS": ""})
    assert (str(found.state), str(found.listen), found.shadow, len(found.kinds)) == ("sluice-state", "127.0.0.1:9292", False, len(KINDS))
    for flag in ("--state", "--runtime-namespace"):
        with pytest.raises(BadSettings, match=flag):
            settings(flag, "")


def test_help_shows_a_default_with_a_percent_sign() -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser, {"RUNTIME_NAMESPACE": "a%b"})
    assert "a%b" in parser.format_help()
