"""Sample objects made from a CRD's schema: one with every field, and one for each leaf of the spec with two values to tell apart."""

import re
from collections.abc import Iterator
from typing import Any

from service.kinds.crd import definition
from service.kinds.table import KINDS, Kind

Path = tuple[str, ...]
TEXTS = {
    r"^oci://.*$": ("oci://example.com/a", "oci://example.com/b"),
    r"^(http|https|ssh)://.*$": ("https://example.com/a", "http://example.com/b"),
    r"^(http|https|oci)://.*$": ("https://example.com/a", "http://example.com/b"),
    r"^(http|https)://.*$": ("https://example.com/a", "http://example.com/b"),
    "^https?://": ("https://example.com/a", "http://example.com/b"),
    r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$": ("7m", "1.5s"),
    r"^@([a-z0-9]([a-z0-9_-]*[a-z0-9])?)/(.*)$": ("@repo/a", "@repo/b"),
    r"^@([a-z0-9]([a-z0-9_-]*[a-z0-9])?)$": ("@repo", "@other"),
    r"^@artifact/([^/]{0,1}|[^./][^/]|[.][^./]|[^/]{3,})(/([^/]{0,1}|[^./][^/]|[.][^./]|[^/]{3,}))*$": ("@artifact/a", "@artifact/b"),
    r"^([0-9]+(\.[0-9]+)?(ms|s|m))+$": ("7m", "1.5s"),
}


def spec_schema(kind: Kind) -> dict[str, Any]:
    return root_schema(kind)["properties"]["spec"]


def root_schema(kind: Kind) -> dict[str, Any]:
    return definition(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]


def leaves(schema: dict[str, Any], at: Path = ()) -> Iterator[Path]:
    """All leaf paths of a schema; `[]` stands for a list's entries."""
    if schema.get("type") == "object" and "properties" in schema:
        for name, inner in schema["properties"].items():
            yield from leaves(inner, (*at, name))
    elif schema.get("type") == "array" and "properties" in schema["items"]:
        yield from leaves(schema["items"], (*at, "[]"))
    else:
        yield at


def dotted(path: Path) -> str:
    return re.sub(r"\.\[\]", "[]", ".".join(("spec", *path)))


def value(schema: dict[str, Any], path: Path, choice: int, *, everything: bool = False) -> Any:
    """A value of the schema with its required fields and the leaf at `path`, in the first or second of two variants."""
    if "enum" in schema:
        return schema["enum"][-choice]
    match schema.get("type"):
        case "object" if "properties" in schema:
            names = set(schema.get("required", ())) | set(path[:1])
            if everything:
                names = set(schema["properties"])
            return {
                name: value(inner, path[1:], choice, everything=everything)
                if path[:1] == (name,)
                else value(inner, (), 0, everything=everything)
                for name, inner in schema["properties"].items()
                if name in names
            }
        case "object":
            return {"a": f"text{choice}"}
        case "array":
            return [value(schema["items"], path[1:], choice, everything=everything)]
        case "boolean":
            return choice == 0
        case "integer":
            return 7 + choice
        case "string" if schema.get("format") == "date-time":
            return f"2026-01-0{choice + 1}T00:00:00Z"
        case "string":
            known = TEXTS.get(schema.get("pattern", ""), (f"text{choice}:a", f"text{choice}:b"))[choice]
            return known if re.search(schema.get("pattern", ""), known) else f"text{choice}"
        case _:
            return {"kind": f"Text{choice}"}


def sample(kind: Kind, path: Path = (), choice: int = 0) -> dict[str, Any]:
    """An object that API servers accept, with one leaf of the spec set."""
    spec = value(spec_schema(kind), path, choice)
    if kind.kind == "Receiver" and "oidcProviders" not in spec:  # which takes the Secret's place
        spec.setdefault("secretRef", {"name": "token"})
    return {
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "metadata": {"name": "a", "namespace": "b"},
        "spec": carried_out(kind, spec, path if choice else ()),
    }


def everything(kind: Kind) -> dict[str, Any]:
    """An object with every field of spec and status."""
    root = root_schema(kind)
    spec = value(root["properties"]["spec"], (), 0, everything=True)
    status = value(root["properties"]["status"], (), 0, everything=True)
    for history in status.get("history", ()):
        history["lastReconciledDuration"] = "1.5s"  # a duration without a pattern: Go prints µs too
    return {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": {"name": "a", "namespace": "b"}, "spec": spec, "status": status}


def carried_out(kind: Kind, spec: dict[str, Any], path: Path) -> dict[str, Any]:
    """Put values that this version carries out where the leaf under test is another one."""
    wanted: dict[str, dict[Path, str]] = {
        "Kustomization": {("sourceRef", "kind"): "GitRepository"},
        "Receiver": {("type",): "generic-oidc" if "oidcProviders" in spec else "github"},
        "Provider": {("type",): "slack"},
    }
    for (*outer, last), text in wanted.get(kind.kind, {}).items():
        if path != (*outer, last):
            inner = spec
            for name in outer:
                inner = inner[name]
            inner[last] = text
    return spec


ALL_LEAVES = [(kind, path) for kind in KINDS for path in leaves(spec_schema(kind))]
