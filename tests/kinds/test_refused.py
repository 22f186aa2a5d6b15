"""Each field of the CRDs is honoured, refused, or ignored as Flux ignores it: the tables say which, and nothing is in none of them."""

from typing import Any

import pytest
from kinds_samples import ALL_LEAVES, Path, dotted, leaves, sample, spec_schema

from service.kinds.codec import Invalid, decode, refused_fields
from service.kinds.table import KINDS, Kind

HONOURED = {
    "GitRepository": """url interval timeout provider secretRef.name proxySecretRef.name ref.branch ref.tag ref.semver ref.commit ref.name
        serviceAccountName verify.mode verify.secretRef.name ignore sparseCheckout suspend
        recurseSubmodules include[].repository.name include[].fromPath include[].toPath""",
    "OCIRepository": """url interval timeout provider ref.digest ref.semver ref.semverFilter ref.tag layerSelector.mediaType
        layerSelector.operation secretRef.name serviceAccountName certSecretRef.name proxySecretRef.name ignore insecure suspend
        verify.provider verify.secretRef.name verify.matchOIDCIdentity[].issuer verify.matchOIDCIdentity[].subject
        verify.trustedRootSecretRef.name""",
    "Bucket": """bucketName endpoint interval timeout provider region prefix insecure secretRef.name certSecretRef.name proxySecretRef.name
        serviceAccountName ignore suspend sts.provider sts.endpoint sts.secretRef.name sts.certSecretRef.name""",
    "ExternalArtifact": "sourceRef",
    "ArtifactGenerator": """sources[].alias sources[].kind sources[].name sources[].namespace pathPattern commonMetadata.labels
        commonMetadata.annotations artifacts[].name artifacts[].revision artifacts[].originRevision artifacts[].copy[].from
        artifacts[].copy[].to artifacts[].copy[].exclude artifacts[].copy[].strategy artifacts[].copy[].optional""",
    "HelmRepository": "url interval timeout type provider secretRef.name certSecretRef.name passCredentials insecure suspend",
    "HelmChart": """chart version sourceRef.kind sourceRef.name interval reconcileStrategy valuesFiles valuesFile ignoreMissingValuesFiles
        verify.provider verify.secretRef.name verify.matchOIDCIdentity[].issuer verify.matchOIDCIdentity[].subject suspend""",
    "Kustomization": """path prune serviceAccountName buildMetadata postBuild.substitute postBuild.substituteFrom[].kind
        postBuild.substituteFrom[].name postBuild.substituteFrom[].optional postBuild.substituteStrategy
        targetNamespace interval retryInterval timeout suspend wait force namePrefix nameSuffix deletionPolicy
        healthChecks[].apiVersion healthChecks[].kind healthChecks[].name healthChecks[].namespace dependsOn[].name dependsOn[].namespace
        dependsOn[].readyExpr
        sourceRef.kind sourceRef.name sourceRef.namespace commonMetadata.labels commonMetadata.annotations components
        ignoreMissingComponents patches[].patch patches[].target.group patches[].target.version patches[].target.kind patches[].target.name
        patches[].target.namespace patches[].target.labelSelector patches[].target.annotationSelector images[].name images[].newName
        images[].newTag images[].digest patchesStrategicMerge patchesJson6902[].patch[].op patchesJson6902[].patch[].path
        patchesJson6902[].patch[].from patchesJson6902[].patch[].value patchesJson6902[].target.group patchesJson6902[].target.version
        patchesJson6902[].target.kind patchesJson6902[].target.name patchesJson6902[].target.namespace
        patchesJson6902[].target.labelSelector patchesJson6902[].target.annotationSelector ignore""",
    "Receiver": """type events secretRef.name interval suspend resources[].apiVersion resources[].kind resources[].name
        resources[].namespace resources[].matchLabels resources[].filter resourceFilter oidcProviders""",
    "Alert": """providerRef.name eventSeverity eventSources[].apiVersion eventSources[].kind eventSources[].name eventSources[].namespace
        eventSources[].matchLabels inclusionList exclusionList eventMetadata summary suspend""",
    "Provider": """type address channel username timeout secretRef.name suspend proxy proxySecretRef certSecretRef commitStatusExpr
        serviceAccountName""",
}
REFUSED = {
    "OCIRepository": "",
    "HelmRepository": "",
    "HelmChart": "",
    "Bucket": "",
    "ExternalArtifact": "",
    "ArtifactGenerator": "serviceAccountName managedNamespaces artifacts[].namespace artifacts[].inputsFrom",
    "GitRepository": "",
    "Kustomization": """kubeConfig decryption healthCheckExprs""",
    "Receiver": "",
    "Alert": "",
    "Provider": "",
}
IGNORED = {
    "HelmRepository": "accessFrom",
    "HelmChart": "sourceRef.apiVersion accessFrom",
    "OCIRepository": "",
    "Bucket": "accessFrom",
    "ExternalArtifact": "",
    "ArtifactGenerator": "",
    "GitRepository": "gitImplementation accessFrom",
    "Kustomization": "validation sourceRef.apiVersion postBuild.substituteWith",
    "Receiver": "",
    "Alert": "",
    "Provider": "interval",
}
BY_VALUE = [
    ("Bucket", {"sts": {"provider": "aws", "endpoint": "https://sts.amazonaws.com"}}, "spec.sts.provider"),
    ("Kustomization", {"sourceRef": {"kind": "FromTheFuture", "name": "a"}}, "spec.sourceRef.kind"),
    ("Kustomization", {"deletionPolicy": "FromTheFuture"}, "spec.deletionPolicy"),
    ("Receiver", {"type": "github-enterprise"}, "spec.type"),
    ("Provider", {"type": "from-the-future"}, "spec.type"),
]


def kind_named(name: str) -> Kind:
    return next(kind for kind in KINDS if kind.kind == name)


def under(path: Path, table: str) -> bool:
    """Whether a leaf or what it stands in is listed."""
    text = dotted(path).removeprefix("spec.")
    return any(text == entry or text.startswith((f"{entry}.", f"{entry}[")) for entry in table.split())


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_every_field_is_in_exactly_one_table(kind: Kind) -> None:
    found = {
        dotted(path): [under(path, table[kind.kind]) for table in (HONOURED, REFUSED, IGNORED)].count(True)
        for path in leaves(spec_schema(kind))
    }
    assert {path: count for path, count in found.items() if count != 1} == {}


@pytest.mark.parametrize(("kind", "path"), ALL_LEAVES, ids=lambda each: each.kind if isinstance(each, Kind) else dotted(each))
def test_field_does_what_its_table_says(kind: Kind, path: Path) -> None:
    first, second = sample(kind, path, 0), sample(kind, path, 1)
    if under(path, REFUSED[kind.kind]):
        (named,) = refused_fields(first)
        assert dotted(path).startswith(named.replace("[0]", "[]"))
        return
    assert refused_fields(first) == ()
    if under(path, HONOURED[kind.kind]):
        assert decode(kind.type, first).spec != decode(kind.type, second).spec


@pytest.mark.parametrize(("name", "spec", "field"), BY_VALUE)
def test_value_is_refused_by_the_name_of_its_field(name: str, spec: dict[str, Any], field: str) -> None:
    obj = sample(kind_named(name))
    obj["spec"] |= spec
    assert refused_fields(obj) == (field,)


@pytest.mark.parametrize("policy", ["MirrorPrune", "Delete", "Orphan", ""])
def test_deletion_policies_that_are_carried_out(policy: str) -> None:
    obj = sample(kind_named("Kustomization"))
    obj["spec"]["deletionPolicy"] = policy
    assert refused_fields(obj) == ()


def test_unknown_field_is_refused_wherever_it_stands() -> None:
    obj = sample(kind_named("Kustomization"))
    obj["spec"] |= {"fromTheFuture": 1, "healthChecks": [{"kind": "A", "name": "a", "new": "x"}], "images": [{"name": "a", "list": {}}]}
    obj["spec"]["sourceRef"]["other"] = True
    assert set(refused_fields(obj)) == {
        "spec.fromTheFuture", "spec.healthChecks[0].new", "spec.images[0].list", "spec.sourceRef.other",
    }  # fmt: skip
    git = sample(kind_named("GitRepository"))
    git["spec"]["secretRef"] = {"name": "a", "namespace": "elsewhere"}
    assert refused_fields(git) == ("spec.secretRef.namespace",)


def test_what_is_not_set_is_not_refused() -> None:
    obj = sample(kind_named("Kustomization"))
    obj["spec"] |= {"ignore": [], "kubeConfig": None, "someFlag": False}
    obj["spec"]["dependsOn"] = [{"name": "a", "someField": ""}]
    assert refused_fields(obj) == ()
    obj["spec"]["kubeConfig"] = {}
    assert refused_fields(obj) == ("spec.kubeConfig",)


def test_second_entry_of_a_list_is_named_by_its_place() -> None:
    obj = sample(kind_named("Kustomization"))
    obj["spec"]["dependsOn"] = [{"name": "a"}, {"name": "b", "someField": "true"}]
    assert refused_fields(obj) == ("spec.dependsOn[1].someField",)


def test_object_of_another_kind_is_not_called_free_of_refused_fields() -> None:
    with pytest.raises(Invalid):
        refused_fields({"apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease", "spec": {}})
    with pytest.raises(Invalid):
        refused_fields({"spec": {"verify": {}}})


@pytest.mark.parametrize(
    ("kind", "spec", "field"),
    [
        ("Alert", {"providerRef": {"name": "a", "namespace": "else"}}, "spec.providerRef.namespace"),
        ("Provider", {"secretRef": {"name": "a", "namespace": "else"}}, "spec.secretRef.namespace"),
        ("Receiver", {"secretRef": {"name": "a", "namespace": "else"}}, "spec.secretRef.namespace"),
        ("OCIRepository", {"secretRef": {"name": "a", "namespace": "else"}}, "spec.secretRef.namespace"),
        ("Kustomization", {"postBuild": {"substituteFrom": [{"kind": "Secret", "name": "a", "namespace": "else"}]}}, "namespace"),
    ],
)
def test_what_is_of_the_same_namespace_by_its_kind_can_name_no_other(kind: str, spec: dict[str, Any], field: str) -> None:
    obj = {"apiVersion": kind_named(kind).api_version, "kind": kind, "metadata": {"name": "a", "namespace": "b"}, "spec": spec}
    (named,) = refused_fields(obj)
    assert named.endswith(field)
