"""Random trees of kustomizations for property and differential tests: a base, perhaps a component, an overlay over it."""

from typing import Any

import yaml
from hypothesis import strategies as st

NAMES = ("web", "db", "a1", "default")
KINDS = (
    *("Deployment", "StatefulSet", "CronJob", "Pod", "Service", "Ingress", "ConfigMap", "Secret"),
    *("ServiceAccount", "RoleBinding", "ClusterRole", "Namespace", "Widget"),
)
API_VERSIONS = {
    "Deployment": "apps/v1",
    "StatefulSet": "apps/v1",
    "Ingress": "networking.k8s.io/v1",
    "CronJob": "batch/v1",
    "Widget": "example.com/v1",
    "RoleBinding": "rbac.authorization.k8s.io/v1",
    "ClusterRole": "rbac.authorization.k8s.io/v1",
}
Document = dict[str, Any]
MAIN: Document = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "main"},
    "spec": {
        "replicas": 1,
        "template": {"spec": {"containers": [{"name": "web", "image": "nginx:1", "env": [{"name": "A", "value": "a"}]}]}},
    },
}
"""An object that is always there, so that replicas and replacements find something."""

name = st.sampled_from(NAMES)
words = st.sampled_from(("x", "y", "on", "1", "0644", "a b", "", "true", "a=b", "example.com/a:1"))
pairs = st.dictionaries(st.sampled_from(("app", "env", "tier", "team.io/x")), st.sampled_from(("a", "b", "1")), min_size=1, max_size=2)


@st.composite
def container(draw: st.DrawFn, container_name: str) -> Document:
    """One container that may refer to generated names."""
    made: Document = {
        "name": container_name,
        "image": draw(st.sampled_from(("nginx", "nginx:1.2", "reg:5000/app:1@sha256:ab", "busybox:2"))),
    }
    if draw(st.booleans()):
        made["envFrom"] = [{"configMapRef": {"name": draw(name)}}]
    if draw(st.booleans()):
        made["env"] = [
            {"name": "A", "value": draw(words)},
            {"name": "B", "valueFrom": {"secretKeyRef": {"name": draw(name), "key": "k"}}},
        ]
    if draw(st.booleans()):
        made["ports"] = [{"containerPort": 80}, {"containerPort": 81, "protocol": "UDP"}][: draw(st.integers(1, 2))]
    return made


@st.composite
def pod(draw: st.DrawFn) -> Document:
    """A pod spec."""
    made: Document = {"containers": [draw(container(found)) for found in draw(st.sampled_from((["web"], ["web", "side"])))]}
    if draw(st.booleans()):
        made["serviceAccountName"] = draw(name)
    if draw(st.booleans()):
        made["volumes"] = [{"name": "v", "configMap": {"name": draw(name)}}, {"name": "e", "emptyDir": {}}]
    return made


@st.composite
def resource(draw: st.DrawFn) -> Document:
    """One object of the kinds that the field tables know, and one that they do not."""
    kind = draw(st.sampled_from(KINDS))
    metadata: Document = {"name": draw(name)}
    for field in ("labels", "annotations"):
        if draw(st.integers(0, 3)) == 0:
            metadata[field] = draw(pairs)
    if draw(st.integers(0, 4)) == 0:
        metadata["namespace"] = draw(st.sampled_from(("one", "default")))
    made: Document = {"apiVersion": API_VERSIONS.get(kind, "v1"), "kind": kind, "metadata": metadata}
    made.update(draw(_body(kind)))
    return made


@st.composite
def _body(draw: st.DrawFn, kind: str) -> Document:
    match kind:
        case "Deployment" | "StatefulSet":
            return {"spec": {"replicas": 1, "template": {"metadata": {}, "spec": draw(pod())}}}
        case "Pod":
            return {"spec": draw(pod())}
        case "CronJob":
            return {"spec": {"jobTemplate": {"spec": {"template": {"spec": draw(pod())}}}}}
        case "ConfigMap" | "Secret":
            return {"data": draw(st.dictionaries(st.sampled_from(("a", "b")), words, max_size=2))}
        case "Service":
            return {"spec": {"ports": [{"port": 80}], **({"selector": draw(pairs)} if draw(st.booleans()) else {})}}
        case "Ingress":
            return {"spec": {"tls": [{"secretName": draw(name)}], "defaultBackend": {"service": {"name": draw(name)}}}}
        case "Widget":
            return {"spec": {"containers": [{"image": "nginx:1"}], "list": [{"name": "a"}], "ref": draw(name)}}
        case "RoleBinding":
            role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": draw(name)}
            return {"roleRef": role, "subjects": [{"kind": "ServiceAccount", "name": draw(name), "namespace": "one"}]}
    return {}


@st.composite
def target(draw: st.DrawFn) -> Document:
    """A patch target."""
    made: Document = {}
    if draw(st.booleans()):
        made["kind"] = draw(st.sampled_from((*KINDS, "Deployment", "Deployment|Pod", ".*Set")))
    if draw(st.booleans()):
        made["name"] = draw(st.sampled_from((*NAMES, "w.*", ".*")))
    if draw(st.integers(0, 3)) == 0:
        made["labelSelector"] = draw(st.sampled_from(("app=a", "env in (a,b)", "!tier", "app,env!=1")))
    return made


@st.composite
def patch(draw: st.DrawFn) -> Document:
    """A strategic merge with a target, or a JSON6902 patch."""
    if draw(st.booleans()):
        operations = draw(
            st.sampled_from(
                (
                    [{"op": "add", "path": "/metadata/annotations/new", "value": "v"}],
                    [{"op": "replace", "path": "/metadata/name", "value": "renamed"}],
                    [{"op": "add", "path": "/spec", "value": {"x": [1, 1.5, True]}}],
                    [{"op": "test", "path": "/nope", "value": None}],
                    [{"op": "remove", "path": "/metadata/labels"}],
                )
            )
        )
        return {"target": draw(target()), "patch": yaml.safe_dump(operations)}
    body: Document = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "any"}}
    change = draw(
        st.sampled_from(
            (
                {"spec": {"replicas": 7}},
                {"spec": {"template": {"spec": {"containers": [{"name": "new", "image": "n"}, {"name": "web", "$patch": "delete"}]}}}},
                {"spec": {"template": {"spec": {"volumes": [{"name": "e", "emptyDir": None, "hostPath": {"path": "/"}}]}}}},
                {"spec": {"ports": [{"port": 80, "name": "http"}]}},
                {"data": {"a": None, "c": "3"}},
                {"metadata": {"name": "any", "labels": {"app": None, "p": "q"}}},
                {"metadata": {"name": "any", "labels": {"app": "patched"}}, "spec": {"template": {"metadata": {"labels": {"env": "t"}}}}},
                {"spec": None},
                {"$patch": "delete"},
                {
                    "spec": {
                        "containers": [
                            {"name": "web", "env": [{"name": "A", "value": "patched"}], "ports": [{"containerPort": 80, "name": "p"}]}
                        ]
                    }
                },
            )
        )
    )
    return {"target": draw(target()), "patch": yaml.safe_dump({**body, **change})}


@st.composite
def generator(draw: st.DrawFn, behaviors: tuple[str, ...]) -> Document:
    """An entry of configMapGenerator or secretGenerator."""
    made: Document = {"name": draw(name), "literals": [f"{key}={draw(words)}" for key in draw(st.sets(st.sampled_from("abc"), min_size=1))]}
    behavior = draw(st.sampled_from(behaviors))
    if behavior:
        made["behavior"] = behavior
    if draw(st.integers(0, 3)) == 0:
        made["options"] = {"disableNameSuffixHash": True, "labels": draw(pairs)}
    return made


@st.composite
def plugin(draw: st.DrawFn) -> Document:
    """A builtin transformer as an object."""
    specs = [{"path": "metadata/labels", "create": draw(st.booleans())}, {"path": "spec/template/metadata/annotations", "create": True}]
    fields = draw(
        st.sampled_from(
            (
                {"kind": "LabelTransformer", "labels": {"plugged": "in"}, "fieldSpecs": specs},
                {"kind": "AnnotationsTransformer", "annotations": {"plugged": "in"}, "fieldSpecs": specs[1:]},
                {"kind": "PrefixTransformer", "prefix": "t-", "fieldSpecs": [{"path": "metadata/name", "kind": "Service"}]},
                {"kind": "SuffixTransformer", "suffix": "-t", "fieldSpecs": [{"path": "metadata/name"}]},
                {"kind": "NamespaceTransformer", "unsetOnly": True, "fieldSpecs": [{"path": "metadata/name", "kind": "Namespace"}]},
                {"kind": "ImageTagTransformer", "imageTag": {"name": "nginx", "newTag": "plugged"}, "fieldSpecs": []},
                {"kind": "ReplicaCountTransformer", "replica": {"name": "main", "count": 9}, "fieldSpecs": [{"path": "spec/replicas"}]},
                {"kind": "ValueAddTransformer", "value": "v", "targets": [{"fieldPath": "metadata/annotations/added"}]},
            )
        )
    )
    return {"apiVersion": "builtin", "metadata": {"name": "plugin", "namespace": "three"}, **fields}


TABLES: Document = {
    "namePrefix": [{"path": "spec/ref", "kind": "Widget"}],
    "nameSuffix": [{"path": "metadata/name", "kind": "Widget"}],
    "commonLabels": [{"path": "spec/labels", "kind": "Widget", "create": True}],
    "images": [{"path": "spec/image", "kind": "Widget"}],
    "nameReference": [{"kind": "ConfigMap", "fieldSpecs": [{"path": "spec/ref", "kind": "Widget"}]}],
    "varReference": [{"path": "spec/ref", "kind": "Widget"}],
}
"""A file of `configurations`."""


def _replacement(source: str, select: Document, path: str, *, create: bool) -> Document:
    options = {"options": {"create": True}} if create else {}
    return {
        "source": {"kind": "Deployment", "name": "main", "fieldPath": source},
        "targets": [{"select": select, "fieldPaths": [path], **options}],
    }


@st.composite
def layer(draw: st.DrawFn, behaviors: tuple[str, ...]) -> Document:
    """The fields of a kustomization, without its resources."""
    optional: dict[str, st.SearchStrategy[Any]] = {
        "namespace": st.sampled_from(("one", "two")),
        "namePrefix": st.sampled_from(("p-", "1-")),
        "nameSuffix": st.sampled_from(("-s", "-x")),
        "commonLabels": pairs,
        "commonAnnotations": pairs,
        "labels": st.lists(
            st.fixed_dictionaries({"pairs": pairs, "includeSelectors": st.booleans(), "includeTemplates": st.booleans()}),
            min_size=1,
            max_size=2,
        ),
        "patches": st.lists(patch(), min_size=1, max_size=2),
        "images": st.lists(
            st.fixed_dictionaries(
                {"name": st.sampled_from(("nginx", "reg:5000/app", ".*"))},
                optional={"newTag": st.sampled_from(("9", "1.0")), "newName": st.just("other"), "digest": st.just("sha256:cd")},
            ),
            min_size=1,
            max_size=2,
        ),
        "configMapGenerator": st.lists(generator(behaviors), min_size=1, max_size=2),
        "secretGenerator": st.lists(generator(behaviors), min_size=1, max_size=1),
        "generatorOptions": st.fixed_dictionaries({"labels": pairs}),
        "replicas": st.just([{"name": "main", "count": 3}]),
        "replacements": st.sampled_from(
            (
                [_replacement("metadata.name", {"kind": "Deployment"}, "metadata.annotations.from", create=True)],
                [_replacement("spec.template.spec.containers.0.image", {"name": "w.*"}, "metadata.labels.app", create=True)],
                [_replacement("spec.replicas", {"kind": "Deployment|Service"}, "metadata.labels.env", create=True)],
                [_replacement("metadata.name", {"kind": "Ingress"}, "spec.tls.0.secretName", create=False)],
                [
                    {
                        "sourceValue": "7",
                        "targets": [{"select": {"kind": "ConfigMap"}, "fieldPaths": ["data.a"], "options": {"create": True}}],
                    }
                ],
            )
        ),
        "patchesStrategicMerge": st.just([yaml.safe_dump({**MAIN, "spec": {"replicas": 5, "template": None}})]),
        "patchesJson6902": st.just(
            [{"target": {"kind": "Deployment", "name": "main"}, "patch": '[{"op": "add", "path": "/x", "value": 1}]'}]
        ),
        "sortOptions": st.sampled_from(
            (
                {"order": "fifo"},
                {"order": "legacy"},
                {"order": "legacy", "legacySortOptions": {"orderFirst": ["Service"], "orderLast": ["Pod"]}},
            )
        ),
        "buildMetadata": st.sets(st.sampled_from(("managedByLabel", "originAnnotations", "transformerAnnotations"))).map(sorted),
        "vars": st.just([{"name": "MAIN", "objref": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "main"}}]),
        "transformers": plugin().map(lambda config: [yaml.safe_dump(config)]),
        "configurations": st.just(["tables.yaml"]),
        "openapi": st.just({"version": "v1.21.2"}),
    }
    chosen = draw(st.sets(st.sampled_from(sorted(optional)), max_size=4))
    return {field: draw(optional[field]) for field in sorted(chosen)}


@st.composite
def trees(draw: st.DrawFn) -> dict[str, str]:
    """Files of a random overlay, to be built at `overlay`."""
    rows = draw(st.lists(resource(), min_size=1, max_size=5, unique_by=lambda row: (row["kind"], row["metadata"]["name"])))
    base = {"resources": ["all.yaml"], **draw(layer(("", "create")))}
    overlay = {"resources": ["../base"], **draw(layer(("", "", "create", "merge", "replace")))}
    files = {"base/all.yaml": yaml.safe_dump_all([*rows, MAIN])}
    files.update({f"{folder}/tables.yaml": yaml.safe_dump(TABLES) for folder in ("base", "overlay", "component")})
    if draw(st.integers(0, 3)) == 0:
        overlay["components"] = ["../component"]
        component = {"apiVersion": "kustomize.config.k8s.io/v1alpha1", "kind": "Component", "components": [], **draw(layer(("", "merge")))}
        files["component/kustomization.yaml"] = yaml.safe_dump(component)
    files["base/kustomization.yaml"] = yaml.safe_dump(base)
    files["overlay/kustomization.yaml"] = yaml.safe_dump(overlay)
    return files
