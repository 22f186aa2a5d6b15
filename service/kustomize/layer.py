"""One kustomization on its turn: its fields, the field specs that hold for it, its folder, the build's schema."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from service.kustomize.files import Folder
from service.kustomize.objects import Objects
from service.kustomize.schema import Schema
from service.kustomize.tables import Tables


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """What a transformer is configured from."""

    fields: Mapping[str, Any]
    tables: Tables
    folder: Folder
    schema: Schema


@dataclass(frozen=True, slots=True)
class Transformer:
    """A configured transformer. `times` is how many of kustomize's it stands for (they are counted in transformer annotations)."""

    run: Callable[[Objects], None]
    times: int = 1


Configure = Callable[[Layer], list[Transformer]]
"""Return the transformers that a layer asks for. Raises BuildError."""
