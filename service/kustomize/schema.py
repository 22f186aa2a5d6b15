"""What a build asks of OpenAPI schemas: which lists merge by which keys, and which kinds are certainly cluster-scoped.

The built-in one is Kubernetes 1.21's (builtinschema.py); a kustomization's `openapi.path` brings another in swagger form
(https://kubectl.docs.kubernetes.io/references/kustomize/kustomization/openapi/). Behaviour: kyaml v0.21.0 openapi/openapi.go.
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal

from service.kustomize.builtinschema import CLUSTER_SCOPED, DEFINITIONS, TYPES
from service.kustomize.errors import BuildError

_STRATEGY, _KEY, _KEYS = "x-kubernetes-patch-strategy", "x-kubernetes-patch-merge-key", "x-kubernetes-list-map-keys"
_GVK = "x-kubernetes-group-version-kind"
_MAX_REFS = 50


class Shape:
    """One definition, seen from a merge: its fields, its elements, the keys by which it merges as a list (None: it is replaced)."""

    def __init__(self, keys: tuple[str, ...] | None = None) -> None:
        self.keys = keys

    def field(self, _name: str) -> "Shape | None":
        """Return the shape of a field, None if nothing is known."""
        return None

    def elements(self) -> "Shape | None":
        """Return the shape of a list's elements."""
        return None


class _Builtin(Shape):
    """A row of the built-in table: definition name, and keys if the field is a list merged by key."""

    def __init__(self, name: str | None, keys: tuple[str, ...] | None) -> None:
        super().__init__(keys)
        self._name = name

    def field(self, name: str) -> Shape | None:
        row = DEFINITIONS[self._name].get(name) if self._name is not None else None
        return None if row is None else _Builtin(*row)

    def elements(self) -> Shape | None:
        return None if self._name is None else _Builtin(self._name, None)


class _Swagger(Shape):
    """A node of a swagger file; `resolve` gives what a definition's name stands for."""

    def __init__(self, node: Mapping[str, Any], resolve: Callable[[str], Any]) -> None:
        super().__init__(_merge_keys(node))
        self._node = node
        self._resolve = resolve

    def field(self, name: str) -> Shape | None:
        properties = self._node.get("properties")
        found = properties.get(name) if isinstance(properties, dict) else None
        return self._resolved(found if found is not None else self._node.get("additionalProperties"))

    def elements(self) -> Shape | None:
        return self._resolved(self._node.get("items")) if self._node.get("type") in ("array", ["array"]) else None

    def _resolved(self, node: Any) -> Shape | None:
        for _ in range(_MAX_REFS):
            if isinstance(node, Shape):
                return node
            if not isinstance(node, dict):
                return None
            reference = node.get("$ref")
            if not isinstance(reference, str):
                return _Swagger(node, self._resolve)
            node = self._resolve(reference.removeprefix("#/definitions/"))
        return None


def _merge_keys(node: Mapping[str, Any]) -> tuple[str, ...] | None:
    strategy = node.get(_STRATEGY)
    if not isinstance(strategy, str) or "merge" not in strategy.split(","):
        return None
    keys = node.get(_KEYS)
    if isinstance(keys, list):
        return tuple(str(key) for key in keys)
    key = node.get(_KEY)
    return (key,) if isinstance(key, str) else ()


class Schema:
    """The schema of one build. It is set once: by the built folder, else by the first one below that sets it.

    A custom schema stands alone only if nothing has asked for the built-in one before: an object of an unknown kind, read by an earlier
    base, brings the built-in one in over the custom one; a merge done by an earlier base, below it.
    """

    def __init__(self, *, replace: bool) -> None:
        self._builtin: Literal["unread", "asked", "read"] = "unread" if replace else "read"
        self._layers: list[Literal["builtin", "custom"]] = [] if replace else ["builtin"]
        """What has been read, in order; later ones win."""
        self._ready = False
        self._types: dict[str, Shape] = {}
        self._custom: dict[str, Shape] | None = None
        self._definitions: Mapping[str, Any] = {}
        self._scopes: dict[str, bool] = {}
        self._chosen = False

    def choose(self, field: Mapping[str, str], content: Any, *, root: bool) -> None:
        """Take a kustomization's `openapi` field; `content` is what its path holds. Raises BuildError."""
        if self._chosen and not root:
            return
        if content is not None:
            if "version" in field:
                raise BuildError("openapi: builtin version and custom schema provided, cannot use both")
            self._take(content)
            self._chosen = True
        elif field.get("version"):
            if field["version"] != "v1.21.2":
                raise BuildError(f"openapi.version: the specified OpenAPI version {field['version']} is not built in, v1.21.2 is")
            self._chosen = True

    def _take(self, content: Any) -> None:
        if not isinstance(content, dict):
            raise BuildError("openapi.path: invalid schema file: it is no map")
        definitions = content.get("definitions")
        definitions = definitions if isinstance(definitions, dict) else {}
        self._custom, self._definitions, self._ready = {}, definitions, False
        for node in definitions.values():
            kinds = node.get(_GVK) if isinstance(node, dict) else None
            for row in kinds if isinstance(kinds, list) else ():
                if isinstance(row, dict):
                    self._custom[_type_name(row)] = _Swagger(node, self._resolve)
        paths = content.get("paths")
        for path, info in paths.items() if isinstance(paths, dict) else ():
            get = info.get("get") if isinstance(info, dict) else None
            row = get.get(_GVK) if isinstance(get, dict) else None
            if isinstance(row, dict):
                name = _type_name(row)
                self._scopes[name] = self._scopes.get(name, False) or "namespaces/{namespace}" in path

    def _read(self) -> None:
        """Put the layers together, as late as possible."""
        if self._ready:
            return
        self._ready = True
        if self._custom is not None and "custom" not in self._layers:
            self._layers.append("custom")
        elif self._builtin != "read":
            self._builtin = "asked"
        if self._builtin == "asked":
            self._builtin = "read"
            self._layers.append("builtin")

    def _resolve(self, name: str) -> Any:
        """Return what a definition's full name stands for: a node, a shape, or None."""
        short = ".".join(name.split(".")[-3:])
        for layer in reversed(self._layers):
            if layer == "custom" and name in self._definitions:
                return self._definitions[name]
            if layer == "builtin" and name.startswith("io.k8s.") and short in DEFINITIONS:
                return _Builtin(short, None)
        return None

    def shape(self, api_version: str, kind: str) -> Shape | None:
        """Return the shape of a kind, None for one that the schema does not know."""
        self._read()
        name = f"{api_version} {kind}"
        for layer in reversed(self._layers):
            found = self._of_builtin(name) if layer == "builtin" else (self._custom or {}).get(name)
            if found is not None:
                return found
        return None

    def _of_builtin(self, name: str) -> Shape | None:
        found = self._types.get(name)
        if found is None and name in TYPES:
            found = self._types[name] = _Builtin(TYPES[name], None)
        return found

    def is_cluster_scoped(self, api_version: str, kind: str) -> bool:
        """Return whether a kind is certainly cluster-scoped; what the schema does not know is not."""
        name = f"{api_version} {kind}"
        if name in CLUSTER_SCOPED:
            return True
        if name in TYPES:
            return False
        if self._custom is not None:
            self._read()
        elif self._builtin == "unread":
            self._builtin = "asked"
        return self._scopes.get(name) is False


def _type_name(row: Mapping[str, Any]) -> str:
    group, version = row.get("group"), row.get("version")
    return f"{group}/{version} {row.get('kind')}" if group else f"{version} {row.get('kind')}"
