"""When a custom schema stands alone, and when the built-in one stands with it."""

from service.kustomize.schema import Schema

CUSTOM = {
    "definitions": {
        "example.Widget": {
            "properties": {"template": {"$ref": "#/definitions/io.k8s.api.core.v1.PodTemplateSpec"}},
            "x-kubernetes-group-version-kind": [{"group": "example.com", "version": "v1", "kind": "Widget"}],
        }
    },
    "paths": {
        "/apis/example.com/v1/worlds": {
            "get": {"x-kubernetes-group-version-kind": {"group": "example.com", "version": "v1", "kind": "World"}},
        }
    },
}


def _containers(schema: Schema) -> tuple[str, ...] | None:
    shape = schema.shape("example.com/v1", "Widget")
    for field in ("template", "spec", "containers"):
        shape = shape.field(field) if shape is not None else None
    return shape.keys if shape is not None else None


def test_custom_schema_stands_alone_when_it_comes_first() -> None:
    schema = Schema(replace=True)
    schema.choose({"path": "schema.json"}, CUSTOM, root=True)
    assert schema.shape("apps/v1", "Deployment") is None
    assert _containers(schema) is None


def test_custom_schema_joins_the_builtin_one_after_an_object_of_unknown_kind() -> None:
    schema = Schema(replace=True)
    assert not schema.is_cluster_scoped("example.com/v1", "Widget")
    schema.choose({"path": "schema.json"}, CUSTOM, root=False)
    assert schema.shape("apps/v1", "Deployment") is not None
    assert _containers(schema) == ("name",)


def test_known_kinds_do_not_ask_for_the_builtin_schema() -> None:
    schema = Schema(replace=True)
    assert not schema.is_cluster_scoped("apps/v1", "Deployment")
    assert schema.is_cluster_scoped("v1", "Namespace")
    schema.choose({"path": "schema.json"}, CUSTOM, root=False)
    assert schema.shape("apps/v1", "Deployment") is None


def test_custom_paths_tell_the_scope() -> None:
    schema = Schema(replace=False)
    assert not schema.is_cluster_scoped("example.com/v1", "World")
    schema.choose({"path": "schema.json"}, CUSTOM, root=True)
    assert schema.is_cluster_scoped("example.com/v1", "World")
    assert schema.shape("apps/v1", "Deployment") is not None
