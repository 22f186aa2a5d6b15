"""The chart: what it renders, what rights it gives, that it says what the service understands."""

import argparse
import json
import subprocess
from typing import Any

import pytest
import yaml

from service import settings
from tests.end_to_end import chart
from tests.peers.binaries import binary

NAMESPACE = "flux-system"


def rules() -> list[dict[str, Any]]:
    found = [each["rules"] for each in chart.rendered(NAMESPACE) if each["kind"] == "ClusterRole"]
    return [rule for rules in found for rule in rules]


def test_the_cluster_role_holds_no_wildcard_and_writes_nothing_of_the_users() -> None:
    for rule in rules():
        assert "*" not in (*rule["apiGroups"], *rule["resources"], *rule["verbs"])
        made = rule["resources"] == ["externalartifacts"]  # which generators make and remove
        assert not {"deletecollection", "escalate", "bind", *(() if made else ("delete",))} & set(rule["verbs"])
        if "impersonate" in rule["verbs"]:
            assert rule["resources"] == ["serviceaccounts"]
        if "create" in rule["verbs"]:
            assert made or rule["resources"] == ["events"]
        if "update" in rule["verbs"]:
            assert all(resource.endswith("/finalizers") for resource in rule["resources"])


def test_secrets_are_read_one_by_one_never_listed() -> None:
    assert [rule["verbs"] for rule in rules() if "secrets" in rule["resources"]] == [["get"]]


def test_the_leases_are_flux_own_and_that_of_the_replicas() -> None:
    role = next(each for each in chart.rendered(NAMESPACE) if each["kind"] == "Role")
    named = [rule for rule in role["rules"] if "resourceNames" in rule]
    assert [name.removesuffix("-leader-election") for name in named[0]["resourceNames"]] == [
        "source-controller",
        "kustomize-controller",
        "source-watcher",
        "notification-controller",
        "sluice",
    ]
    assert [rule["verbs"] for rule in role["rules"] if rule not in named] == [["create"]]


def test_every_kind_of_the_service_is_in_the_values() -> None:
    values = yaml.safe_load((chart.CHART / "values.yaml").read_text())
    assert set(values["kinds"]) == set(settings.KINDS)


@pytest.fixture(scope="module")
def helm(peers: Any) -> str:
    peers.need("helm")
    return str(binary("helm"))


def template(helm: str, *values: str) -> list[dict[str, Any]]:
    given = [part for value in values for part in ("--set-json", value)]
    command = [helm, "template", chart.RELEASE, str(chart.CHART), "--namespace", NAMESPACE, *given]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    return [each for each in yaml.safe_load_all(done.stdout) if each]


@pytest.mark.real
def test_replicas_need_a_database_and_claim_no_volume(helm: str) -> None:
    command = [helm, "template", chart.RELEASE, str(chart.CHART), "--set", "replicas=2"]
    refused = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert refused.returncode != 0
    assert "needs database.secretName" in refused.stderr
    objects = template(helm, "replicas=2", 'database={"secretName":"pg"}', 'extraEnv=[{"name":"A","value":"b"}]')
    assert not [each for each in objects if each["kind"] == "PersistentVolumeClaim"]
    [spec] = [each["spec"] for each in objects if each["kind"] == "Deployment"]
    [container] = spec["template"]["spec"]["containers"]
    assert spec["replicas"] == 2
    assert [each["name"] for each in container["env"]] == ["SLUICE_STATE_URL", "POD_IP", "SLUICE_REPLICA_ADDRESS", "A"]
    assert "emptyDir" in spec["template"]["spec"]["volumes"][0]


@pytest.mark.real
def test_helm_renders_the_rbac_that_the_tests_run_with(helm: str) -> None:
    def essence(objects: list[dict[str, Any]]) -> dict[tuple[str, str], str]:
        kept = ("ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding")
        wanted = [each for each in objects if each["kind"] in kept and not each["metadata"]["name"].endswith("-apply")]
        parts = ("rules", "roleRef", "subjects", "automountServiceAccountToken")
        return {
            (each["kind"], each["metadata"]["name"]): json.dumps({key: each.get(key) for key in parts}, sort_keys=True) for each in wanted
        }

    assert essence(template(helm)) == essence(chart.rendered(NAMESPACE))
    bindings = [each for each in template(helm, 'rbac.apply=["shop","staging"]') if each["metadata"]["name"] == "sluice-apply"]
    assert [{key: each[key] for key in ("roleRef", "subjects")} for each in bindings] == [
        {key: each[key] for key in ("roleRef", "subjects")} for each in chart.may_apply(NAMESPACE, ("shop", "staging"))
    ]


@pytest.mark.real
def test_the_deployment_is_locked_down_and_its_flags_are_understood(helm: str) -> None:
    objects = template(
        helm,
        "shadow=true",
        'watchLabelSelector="a=b"',
        "noCrossNamespaceRefs=true",
        "remoteBases=true",
        'defaultServiceAccount="tenant"',
        "strictSubstitutions=true",
        'pruneLimit="50%"',
        'alerts.fallback="ops/mail"',
        'alerts.heartbeat.provider="ops/dead-man"',
    )
    spec = next(each for each in objects if each["kind"] == "Deployment")["spec"]
    pod, container = spec["template"]["spec"], spec["template"]["spec"]["containers"][0]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    parser = argparse.ArgumentParser()
    settings.add_arguments(parser, {})
    read = settings.read(parser.parse_args(container["args"][1:]))
    assert read.shadow
    assert read.no_cross_namespace_refs
    assert read.remote_bases
    assert (read.default_service_account, read.strict_substitutions) == ("tenant", True)
    assert read.prune_limit == 50
    assert read.watch_label_selector == "a=b"
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {"http-webhook": read.listen.port, "http": read.cluster.port, "http-prom": read.probes.port}
    services = {each["metadata"]["name"]: each["spec"]["ports"][0] for each in objects if each["kind"] == "Service"}
    assert {name: (port["port"], ports[port["targetPort"]]) for name, port in services.items()} == {
        "webhook-receiver": (80, 9292),
        "source-controller": (80, 9090),
        "notification-controller": (80, 9090),
    }


@pytest.mark.real
def test_the_values_of_webhooks_are_flags_and_a_mounted_certificate(helm: str) -> None:
    values = {
        "tlsSecretName": "hooks-tls", "trustedProxies": ["10.0.0.0/8", "::1"], "allowFrom": ["192.0.2.0/24"], "ratePerSource": 5,
        "ratePerReceiver": 0, "rateCounts": "all", "maxBodyMiB": 50, "keepDeliveries": 5_000_000, "keepDays": 2, "keepBodiesKiB": 64,
    }  # fmt: skip
    deployments = [
        next(each for each in template(helm, *given) if each["kind"] == "Deployment") for given in ((), (f"hooks={json.dumps(values)}",))
    ]
    usual, chosen = (each["spec"]["template"]["spec"] for each in deployments)
    assert flags(usual).hooks == settings.HookSettings()
    read = flags(chosen).hooks
    assert (str(read.tls_cert), str(read.tls_key)) == ("/tls/tls.crt", "/tls/tls.key")
    assert {"name": "tls", "secret": {"secretName": "hooks-tls"}} in chosen["volumes"]
    assert {"name": "tls", "mountPath": "/tls", "readOnly": True} in chosen["containers"][0]["volumeMounts"]
    assert (len(read.trusted_proxies), len(read.allow_from), read.rate_counts) == (2, 1, "all")
    assert (read.rate_per_source, read.rate_per_receiver, read.limits.body_bytes) == (5, 0, 50 * 2**20)
    assert (read.keep_deliveries, read.keep_age.days, read.keep_body_bytes) == (5_000_000, 2, 65536)


def flags(pod: dict[str, Any]) -> settings.Settings:
    """What the service reads of a Pod's arguments."""
    parser = argparse.ArgumentParser()
    settings.add_arguments(parser, {})
    return settings.read(parser.parse_args(pod["containers"][0]["args"][1:]))


@pytest.mark.real
def test_impersonate_gives_the_right_to_act_as_accounts_and_nothing_else(helm: str) -> None:
    made = [each for each in template(helm, 'rbac.apply="impersonate"') if each["metadata"]["name"].endswith("-apply")]
    assert [each["kind"] for each in made] == ["ClusterRole", "ClusterRoleBinding"]
    assert made[0]["rules"] == [{"apiGroups": [""], "resources": ["serviceaccounts"], "verbs": ["impersonate"]}]
    assert made[1]["roleRef"]["name"] == made[0]["metadata"]["name"]


@pytest.mark.real
def test_workload_identity_gives_the_right_to_create_tokens(helm: str) -> None:
    assert not [each for each in template(helm) if each["metadata"]["name"].endswith("-identities")]
    objects = template(helm, "workloadIdentity=true")
    role, binding = (each for each in objects if each["metadata"]["name"].endswith("-identities"))
    assert role["rules"] == [{"apiGroups": [""], "resources": ["serviceaccounts/token"], "verbs": ["create"]}]
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    [deployment] = [each for each in objects if each["kind"] == "Deployment"]
    assert "--workload-identity" in deployment["spec"]["template"]["spec"]["containers"][0]["args"]
    assert binding["subjects"][0]["name"] == deployment["spec"]["template"]["spec"]["serviceAccountName"]
