"""The names of the files that a build is written to, a file for each object: kustomize v5.8.0 kustomize/commands/build/writer.go."""

from collections.abc import Mapping, Sequence
from typing import Any

from service.kustomize.objects import Resource
from service.kustomize.schema import Schema


def file_names(objects: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a plain file name for each object: group_version_kind_name.yaml in lower case, after the namespace where there are several.

    Slashes, which a group cannot hold, are replaced: no name leads out of a folder.
    """
    schema = Schema(replace=False)
    rows = [Resource(dict(each), schema) for each in objects]
    spaces = {row.id.effective for row in rows if not row.is_cluster_scoped}
    names = []
    for row in rows:
        kind = "_".join(part for part in row.gvk if part)
        space = f"{row.id.effective}_" if len(spaces) > 1 and not row.is_cluster_scoped else ""
        names.append(f"{space}{kind}_{row.name}.yaml".lower().replace("/", "_"))
    return names
