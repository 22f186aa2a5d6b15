"""What a Trace tells: every change of one object, in order, by file and line; nothing of a Secret."""

from service.kustomize.build import build
from service.kustomize.trace import Trace
from service.kustomize.tree import MapTree

TREE = MapTree(
    {
        "base/kustomization.yaml": "resources: [web.yaml]\nsecretGenerator:\n- name: db\n  literals: [password=hunter22]\n",
        "base/web.yaml": (
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec:\n  replicas: 1\n  template:\n    spec:\n"
            "      containers:\n"
            "      - {name: main, image: 'app:1', envFrom: [{secretRef: {name: db}}]}\n      - {name: side, image: 'side:1'}\n"
        ),
        "o/kustomization.yaml": (
            "namePrefix: p-\nresources: [../base]\nimages:\n- {name: app, newTag: '2'}\nlabels:\n- pairs: {a: b}\n"
            "replicas:\n- {name: web, count: 1}\n- {name: web, count: 3}\npatches:\n- target: {kind: Deployment}\n"
            "  patch: '- {op: remove, path: /spec/template/spec/containers/1}'\nreplacements:\n"
            "- source: {kind: Secret, name: db, fieldPath: data.password}\n"
            "  targets: [{select: {kind: Deployment}, fieldPaths: [metadata.annotations.p], options: {create: true}}]\n"
        ),
    }
)


def _lines(kind: str, name: str, namespace: str = "") -> list[str]:
    trace = Trace(kind, name, namespace)
    build(TREE, "o", trace=trace)
    return trace.lines()


def test_lines_tell_each_change_in_order() -> None:
    assert _lines("deployment", "p-web") == [
        "base/web.yaml: resources: made Deployment/web",
        'o/kustomization.yaml:11: patches[0]: spec.template.spec.containers[name=side]: {"name": "side", "image": "side:1"} -> (none)',
        'o/kustomization.yaml:1: namePrefix: metadata.name: "web" -> "p-web"',
        'o/kustomization.yaml:6: labels[0]: metadata.labels: (none) -> {"a": "b"}',
        "o/kustomization.yaml:9: replicas[1]: spec.replicas: 1 -> 3",
        'o/kustomization.yaml:4: images[0]: spec.template.spec.containers[name=main].image: "app:1" -> "app:2"',
        'o/kustomization.yaml:14: replacements[0]: metadata.annotations: (none) -> {"p": "***"}',
        "o/kustomization.yaml: name references: spec.template.spec.containers[name=main].envFrom[0].secretRef.name: "
        '"db" -> "p-db-kh546876dc"',
    ]


def test_lines_are_found_by_former_names_and_by_namespace() -> None:
    assert _lines("Deployment", "web") == _lines("Deployment", "p-web", "default")
    assert _lines("Deployment", "web", "elsewhere") == _lines("Pod", "web") == []


def test_lines_show_nothing_of_a_secret() -> None:
    text = "\n".join(_lines("Secret", "db") + _lines("Deployment", "web"))
    assert "made Secret/db" in text
    assert "hunter22" not in text
    assert "aHVudGVyMjI" not in text


def test_a_trace_changes_no_build() -> None:
    assert build(TREE, "o", trace=Trace("Deployment", "web")) == build(TREE, "o")
