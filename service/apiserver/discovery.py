"""What clients ask before they ask for objects: groups, resources, the version, and OpenAPI documents cut to what kubectl reads.

https://kubernetes.io/docs/concepts/overview/kubernetes-api/#discovery-api
"""

from typing import Any

from service.apiserver.resources import Registry, Resource

Object = dict[str, Any]
EMULATES = "v1.36.3"
VERBS = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]
VERSION = {
    "major": "1",
    "minor": "36",
    "gitVersion": f"{EMULATES}+embedded",
    "gitCommit": "",
    "gitTreeState": "clean",
    "buildDate": "1970-01-01T00:00:00Z",
    "goVersion": "none",
    "compiler": "none",
    "platform": "embedded/python",
}
REVIEWS: tuple[tuple[str, str, str, bool], ...] = (
    ("authentication.k8s.io", "tokenreviews", "TokenReview", False),
    ("authentication.k8s.io", "selfsubjectreviews", "SelfSubjectReview", False),
    ("authorization.k8s.io", "selfsubjectaccessreviews", "SelfSubjectAccessReview", False),
    ("authorization.k8s.io", "selfsubjectrulesreviews", "SelfSubjectRulesReview", False),
    ("authorization.k8s.io", "subjectaccessreviews", "SubjectAccessReview", False),
    ("authorization.k8s.io", "localsubjectaccessreviews", "LocalSubjectAccessReview", True),
)


def core_versions() -> Object:
    """Answer /api."""
    return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}


def _group(group: str, versions: list[str]) -> Object:
    entries = [{"groupVersion": f"{group}/{version}", "version": version} for version in versions]
    return {"name": group, "versions": entries, "preferredVersion": entries[0]}


def groups(registry: Registry) -> Object:
    """Answer /apis."""
    found = {**{review[0]: ["v1"] for review in REVIEWS}, **{group: versions for group, versions in registry.groups().items() if group}}
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [_group(group, found[group]) for group in sorted(found)]}


def group(registry: Registry, name: str) -> Object | None:
    """Answer /apis/NAME; None when it is not served."""
    for found in groups(registry)["groups"]:
        if found["name"] == name:
            return {"kind": "APIGroup", "apiVersion": "v1", **found}
    return None


def resources(registry: Registry, group_name: str, version: str) -> Object | None:
    """Answer /api/v1 and /apis/GROUP/VERSION; None when it is not served."""
    entries: list[Object] = []
    for resource in registry.of(group_name, version):
        entries += _entries(resource)
    if version == "v1":
        for review_group, plural, kind, namespaced in REVIEWS:
            if review_group == group_name:
                entries.append({"name": plural, "singularName": kind.lower(), "namespaced": namespaced, "kind": kind, "verbs": ["create"]})
    if not entries:
        return None
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": f"{group_name}/{version}" if group_name else version,
        "resources": entries,
    }


def _entries(resource: Resource) -> list[Object]:
    entry: Object = {
        "name": resource.plural,
        "singularName": resource.singular,
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": [verb for verb in VERBS if verb != "deletecollection" or resource.key != "/namespaces"],
    }
    if resource.short_names:
        entry["shortNames"] = list(resource.short_names)
    if resource.categories:
        entry["categories"] = list(resource.categories)
    entries = [entry]
    if resource.status:
        entries.append(
            {
                "name": f"{resource.plural}/status",
                "singularName": "",
                "namespaced": resource.namespaced,
                "kind": resource.kind,
                "verbs": ["get", "patch", "update"],
            }
        )
    if resource.scale:
        entries.append(
            {
                "name": f"{resource.plural}/scale",
                "singularName": "",
                "namespaced": True,
                "group": "autoscaling",
                "version": "v1",
                "kind": "Scale",
                "verbs": ["get", "patch", "update"],
            }
        )
    return entries


def openapi_index(registry: Registry) -> Object:
    """Answer /openapi/v3."""
    paths = {}
    for name, versions in registry.groups().items():
        for version in versions:
            path = f"apis/{name}/{version}" if name else f"api/{version}"
            paths[path] = {"serverRelativeURL": f"/openapi/v3/{path}?hash={registry.changes}"}
    return {"paths": paths}


PATHS = ("/api", "/api/v1", "/apis", "/healthz", "/livez", "/metrics", "/openapi/v2", "/openapi/v3", "/readyz", "/version")
OPENAPI_V2_TYPE = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"


def openapi_v2() -> bytes:
    """Answer /openapi/v2 with a document of no schemas, in protobuf: kubectl asks for it before it applies a List, and checks nothing then.

    `swagger = 1; info = 2 {title = 1; version = 2}`: https://github.com/google/gnostic-models/blob/main/openapiv2/OpenAPIv2.proto
    """
    info = _text(1, "sluice") + _text(2, VERSION["gitVersion"])
    return _text(1, "2.0") + bytes((2 << 3 | 2, len(info))) + info


def _text(field: int, text: str) -> bytes:
    """A length-delimited protobuf field of less than 128 bytes."""
    return bytes((field << 3 | 2, len(text))) + text.encode()


_QUERY = [{"name": name, "in": "query", "schema": {"type": "string"}} for name in ("dryRun", "fieldManager", "fieldValidation", "force")]


def openapi_v3(registry: Registry, group_name: str, version: str) -> Object | None:
    """Answer /openapi/v3/...: the schemas (without descriptions) and the operations that clients look for; None when not served."""
    found = registry.of(group_name, version)
    if not found:
        return None
    schemas: Object = {}
    paths: Object = {}
    base = f"/apis/{group_name}/{version}" if group_name else f"/api/{version}"
    for resource in found:
        gvk = {"group": group_name, "version": version, "kind": resource.kind}
        name = f"{group_name or 'core'}.{version}.{resource.kind}"
        if resource.builtin:
            _collect(resource.raw["$ref"], registry.builtin.raw, schemas)
            schemas[name] = {**_rewritten(registry.builtin.raw[resource.raw["$ref"]]), "x-kubernetes-group-version-kind": [gvk]}
        else:
            schemas[name] = {**resource.raw, "x-kubernetes-group-version-kind": [gvk]}
        within = f"{base}/namespaces/{{namespace}}" if resource.namespaced else base
        operation = {
            "operationId": f"patch{resource.kind}",
            "parameters": _QUERY,
            "responses": {"200": {"description": "OK"}},
            "x-kubernetes-group-version-kind": gvk,
        }
        paths[f"{within}/{resource.plural}/{{name}}"] = {
            "patch": {**operation, "x-kubernetes-action": "patch"},
            "get": {
                "operationId": f"read{resource.kind}",
                "responses": operation["responses"],
                "x-kubernetes-action": "get",
                "x-kubernetes-group-version-kind": gvk,
            },
        }
    info = {"title": "Kubernetes (embedded part)", "version": EMULATES}
    return {"openapi": "3.0.0", "info": info, "paths": paths, "components": {"schemas": schemas}}


def _collect(name: str, raw: Any, schemas: Object) -> None:
    if name in schemas:
        return
    schemas[name] = _rewritten(raw[name])
    for used in _references(raw[name]):
        _collect(used, raw, schemas)


def _references(schema: Any) -> list[str]:
    if isinstance(schema, dict):
        own = [schema["$ref"]] if isinstance(schema.get("$ref"), str) else []
        return own + [name for value in schema.values() for name in _references(value)]
    return []


def _rewritten(schema: Any) -> Any:
    """Return a schema with its references as a document's own."""
    if isinstance(schema, dict):
        return {
            key: f"#/components/schemas/{value}" if key == "$ref" and isinstance(value, str) else _rewritten(value)
            for key, value in schema.items()
        }
    return schema
