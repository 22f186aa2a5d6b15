"""Tree and folder in, objects out: what `kustomize build` does, in process (https://kubectl.docs.kubernetes.io/references/kustomize/)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from service.kustomize.cache import ParseCache
from service.kustomize.errors import BuildError
from service.kustomize.tree import Tree

__all__ = ["Build", "BuildError", "BuildOptions", "ParseCache", "build"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildOptions:
    """How to build. The fields from `target_namespace` to `ignore_missing_components` are those of a Flux Kustomization's spec, put into
    the kustomization of the built folder as Flux does: the first three replace its fields, images are merged by name, patches and
    components are appended; commonMetadata is set on the finished objects."""

    target_namespace: str | None = None
    name_prefix: str | None = None
    name_suffix: str | None = None
    patches: tuple[Mapping[str, Any], ...] = ()
    """{patch: text, target: {group, version, kind, name, namespace, labelSelector, annotationSelector} or None}"""
    images: tuple[Mapping[str, str], ...] = ()
    """{name, newName, newTag, digest}"""
    components: tuple[str, ...] = ()
    ignore_missing_components: bool = False
    common_labels: Mapping[str, str] = field(default_factory=dict)
    common_annotations: Mapping[str, str] = field(default_factory=dict)
    build_metadata: tuple[str, ...] = ()
    sort: Literal["legacy", "none"] = "none"
    load_restrictions: Literal["root_only", "tree"] = "tree"
    generate: bool = False
    """Make a kustomization of all YAML files below when the folder has none (Flux's rules)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """The objects in build order, plain JSON values that nobody may mutate, and what was read: token by key, see `tree.Recording`."""

    objects: tuple[dict[str, Any], ...]
    reads: Mapping[str, str]


def build(tree: Tree, path: str, *, options: BuildOptions = BuildOptions(), cache: ParseCache | None = None) -> Build:
    """Build the folder `path` ("" is the root) of the tree. Deterministic and pure. Raises BuildError."""
    raise BuildError("not built yet")
