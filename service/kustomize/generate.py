"""A kustomization for a folder that has none, by Flux's rules, and Flux's additions to one that is there.

Without a file: every *.yaml and *.yml below becomes a resource; a folder below that has a kustomization file of its own becomes one
resource and is not walked into. Each file must hold Kubernetes objects. Behaviour: https://github.com/fluxcd/pkg kustomize/generator.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from service.kustomize.accumulate import kustomization_file
from service.kustomize.decode import decode
from service.kustomize.errors import BuildError
from service.kustomize.files import Folder
from service.kustomize.kustomization import PATCH

MAX_DEPTH = 100


class Additions(Protocol):
    """What a Flux Kustomization's spec adds; see BuildOptions."""

    @property
    def target_namespace(self) -> str | None: ...
    @property
    def name_prefix(self) -> str | None: ...
    @property
    def name_suffix(self) -> str | None: ...
    @property
    def patches(self) -> tuple[Mapping[str, Any], ...]: ...
    @property
    def strategic_patches(self) -> tuple[str, ...]: ...
    @property
    def json_patches(self) -> tuple[Mapping[str, Any], ...]: ...
    @property
    def images(self) -> tuple[Mapping[str, str], ...]: ...
    @property
    def components(self) -> tuple[str, ...]: ...
    @property
    def ignore_missing_components(self) -> bool: ...
    @property
    def build_metadata(self) -> tuple[str, ...]: ...


def generated(folder: Folder) -> dict[str, Any]:
    """Return the fields of a kustomization of all YAML files below a folder. Raises BuildError."""
    return {"kind": "Kustomization", "resources": list(_resources(folder, "", 0))}


def _resources(folder: Folder, below: str, depth: int) -> Iterator[str]:
    if depth > MAX_DEPTH:
        raise BuildError(f"folders are nested deeper than {MAX_DEPTH} levels")
    tree = folder.source.tree
    for name, kind in tree.list(folder.at(below) if below else folder.root):
        path = f"{below}/{name}" if below else name
        if kind == "dir":
            inner = Folder(folder.source, folder.at(path), folder)
            if kustomization_file(inner) is not None:
                yield path
            else:
                yield from _resources(folder, path, depth + 1)
        elif name.endswith((".yaml", ".yml")):
            yield path


def with_additions(fields: dict[str, Any], folder: Folder, additions: Additions) -> dict[str, Any]:
    """Return the fields with a spec's additions: scalars replace, images go by name, patches and components are appended."""
    result = dict(fields)
    names = {"namespace": additions.target_namespace, "namePrefix": additions.name_prefix, "nameSuffix": additions.name_suffix}
    result.update({name: value for name, value in names.items() if value})
    if additions.patches:
        added = [decode(PATCH, dict(patch), "spec.patches") for patch in additions.patches]
        result["patches"] = [*(result.get("patches") or ()), *added]
    if additions.strategic_patches:
        result["patchesStrategicMerge"] = [*(result.get("patchesStrategicMerge") or ()), *additions.strategic_patches]
    if additions.json_patches:
        added = [decode(PATCH, dict(patch), "spec.patchesJson6902") for patch in additions.json_patches]
        result["patchesJson6902"] = [*(result.get("patchesJson6902") or ()), *added]
    if additions.images:
        result["images"] = _images(result.get("images") or [], additions.images)
    if additions.components:
        tree = folder.source.tree
        kept = [path for path in additions.components if not (additions.ignore_missing_components and tree.kind(folder.at(path)) is None)]
        result["components"] = [*(result.get("components") or ()), *kept]
    if additions.build_metadata:
        result["buildMetadata"] = list(additions.build_metadata)
    return result


def _images(images: list[dict[str, str]], added: tuple[Mapping[str, str], ...]) -> list[dict[str, str]]:
    """By name: a new name replaces; tag and digest are replaced as a pair."""
    merged = {image.get("name", ""): dict(image) for image in images}
    for image in added:
        known = merged.setdefault(image["name"], {"name": image["name"]})
        if image.get("newName"):
            known["newName"] = image["newName"]
        if image.get("newTag") or image.get("digest"):
            known.pop("newTag", None)
            known.pop("digest", None)
            known.update({field: image[field] for field in ("newTag", "digest") if image.get(field)})
    return list(merged.values())
