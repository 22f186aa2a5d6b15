"""What is applied first: objects in, stages out, each sorted. Pure.

Stage 1 defines (CustomResourceDefinition, Namespace, ClusterRole), stage 2 holds the kinds that end in Class, stage 3 all else. The order
inside a stage is fluxcd/pkg/ssa's (https://github.com/fluxcd/pkg/blob/main/ssa/utils/sort.go).
"""

from collections.abc import Iterable
from itertools import groupby
from typing import Protocol, TypeVar

_FIRST = (
    "CustomResourceDefinition",
    "Namespace",
    "ClusterRole",
    "ClusterClass",
    "RuntimeClass",
    "PriorityClass",
    "StorageClass",
    "VolumeSnapshotClass",
    "IngressClass",
    "GatewayClass",
    "ClusterRoleBinding",
    "ResourceQuota",
    "ServiceAccount",
    "Role",
    "RoleBinding",
    "ConfigMap",
    "Secret",
    "Service",
    "LimitRange",
    "Deployment",
    "StatefulSet",
    "CronJob",
    "PodDisruptionBudget",
)
_LAST = ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration")
_RANK = {kind: rank for rank, kind in enumerate(_FIRST)} | {kind: 1001 + rank for rank, kind in enumerate(_LAST)}
_DEFINING = frozenset({"CustomResourceDefinition", "Namespace", "ClusterRole"})


class Identified(Protocol):
    """What the order depends on."""

    @property
    def group(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def namespace(self) -> str: ...
    @property
    def name(self) -> str: ...


T = TypeVar("T", bound=Identified)


def ranked(objects: Iterable[T]) -> tuple[tuple[T, ...], ...]:
    """The objects in the order of application, as runs of one kind: inside a run the order does not matter."""
    ordered = sorted(objects, key=lambda o: (*_rank(o), o.namespace, o.name))
    return tuple(tuple(run) for _, run in groupby(ordered, key=_rank))


def staged(objects: Iterable[T]) -> tuple[tuple[tuple[T, ...], ...], ...]:
    """The stages that have objects; each waits for the one before. Each is `ranked`."""
    stages: tuple[list[T], list[T], list[T]] = ([], [], [])
    for item in objects:
        stages[0 if item.kind in _DEFINING else 1 if item.kind.endswith("Class") else 2].append(item)
    return tuple(ranked(stage) for stage in stages if stage)


def in_order(objects: Iterable[T]) -> tuple[T, ...]:
    """The objects one after the other as they are applied, which is how Flux lists them in the inventory."""
    return tuple(item for stage in staged(objects) for run in stage for item in run)


def _rank(item: Identified) -> tuple[int, str, str]:
    return _RANK.get(item.kind, 1000), item.group, item.kind
