"""Name references: who names an object that got another name names it by the new one.

Once for the built folder, after the hashes. Behaviour: kustomize api v0.21.0 internal/accumulator/namereferencetransformer.go and
filters/nameref. The field specs of a kind are put together into one tree of keys, so each object is walked once.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from service.kustomize.errors import BuildError
from service.kustomize.fieldspecs import Gvk, split_path
from service.kustomize.objects import Id, Objects, Resource
from service.kustomize.scalars import text_of
from service.kustomize.tables import Referrals


@dataclass(slots=True)
class _Step:
    """A key on the way to fields; `targets` are the kinds that a value here may name, in order, with the spec's path."""

    below: dict[str, "_Step"] = field(default_factory=dict)
    targets: list[tuple[Gvk, str]] = field(default_factory=list)


def fix_references(objects: Objects, referrals: Referrals) -> None:
    """Write the new names. Raises BuildError if a name could mean several objects."""
    renamed: dict[str, list[Resource]] = {}
    for row in objects.rows:
        _subject_namespaces(row)  # blank ones are an error even where nothing has another name
        for name in dict.fromkeys(former[0] for former in row.former):
            renamed.setdefault(name, []).append(row)
    if not renamed:
        return
    steps: dict[Gvk, _Step] = {}
    for row in objects.rows:
        gvk = row.original_id.gvk
        step = steps.get(gvk)
        if step is None:
            step = steps[gvk] = _steps(referrals, gvk)
        if step.below:
            _Referrer(row, renamed).walk(row.body, step)
    objects.changed()


def _steps(referrals: Referrals, gvk: Gvk) -> _Step:
    top = _Step()
    for target, specs in referrals:
        for spec in specs:
            if spec.gvk.selects(gvk):
                if not spec.path:
                    raise BuildError(f"nameReference: cannot set or create an empty field name: a field spec of {gvk} has no path")
                step = top
                for part in split_path(spec.path):
                    step = step.below.setdefault(part.removesuffix("[]"), _Step())
                step.targets.append((target, spec.path))
    return top


class _Referrer:
    """One object that may refer to others."""

    def __init__(self, row: Resource, renamed: dict[str, list[Resource]]) -> None:
        self._row = row
        self._renamed = renamed
        self._id: Id | None = None
        self._reach: frozenset[str] | None = None

    def walk(self, node: Any, step: _Step) -> None:
        """Follow the keys; lists are walked implicitly."""
        if type(node) is list:
            for item in node:
                self.walk(item, step)
        elif type(node) is dict:
            for key, below in step.below.items():
                value = node.get(key)
                if value is None:
                    continue
                for target, path in below.targets:
                    node[key] = self._updated(node[key], target, path)
                if below.below:
                    self.walk(value, below)
        elif node is not None and not step.targets:
            raise BuildError(f"updating name references of {self._id_now()}: expected sequence or mapping node")

    def _updated(self, value: Any, target: Gvk, path: str) -> Any:
        if type(value) is list:
            return [self._updated(item, target, path) if not isinstance(item, list) else _wrong(path) for item in value]
        if type(value) is dict:
            self._update_map(value, target, path)
            return value
        text = text_of(value)
        found = self._referral(text, self._renamed.get(text), target, path, lambda row: row.name)
        return value if found is None or found.name == text else found.name

    def _update_map(self, value: dict[str, Any], target: Gvk, path: str) -> None:
        """A map (subjects, a webhook's service) holds name and namespace; both are written."""
        if "name" not in value:
            raise BuildError(f"updating name reference in '{path}' field of '{self._id_now()}': path config error; no 'name' field in node")
        name = text_of(value["name"])
        candidates = self._renamed.get(name)
        if candidates and "namespace" in value:
            namespace = text_of(value["namespace"])
            first = [row for row in candidates if row.original_id.effective == namespace and self._reaches(row)]
            candidates = first or [row for row in candidates if row.id.effective == namespace]
        found = self._referral(name, candidates, target, path, lambda row: (row.name, row.namespace))
        if found is None or (found.name == name and not found.namespace):
            return
        value["name"] = found.name
        if found.namespace:
            value["namespace"] = found.namespace

    def _referral(
        self, name: str, candidates: list[Resource] | None, target: Gvk, path: str, identity: Callable[[Resource], object]
    ) -> Resource | None:
        if not candidates:
            return None
        role = self._role() if path.endswith("roleRef/name") else None
        rows = [
            row
            for row in candidates
            if any(target.selects(known.gvk) for known in row.former_ids())
            and (role is None or any(role.selects(known.gvk) for known in row.former_ids()))
            and self._reaches(row)
            and self._sees(row)
        ]
        if len(rows) == 1:
            return rows[0]
        rows = [row for row in rows if _same_context(self._row, row, lenient=True)]
        if len(rows) > 1:
            rows = [row for row in rows if _same_context(self._row, row, lenient=False)]
        if len(rows) > 1 and len({identity(row) for row in rows}) > 1:
            shown = ", ".join(str(row.id) for row in rows)
            raise BuildError(f"found multiple possible referrals: '{name}' in {path} of {self._id_now()} could be {shown}")
        return rows[0] if rows else None

    def _id_now(self) -> Id:
        if self._id is None:
            self._id = self._row.id
        return self._id

    def _reaches(self, row: Resource) -> bool:
        """Same namespace, or one of the two is cluster-scoped, or a namespace that a RoleBinding's subjects name."""
        mine = self._id_now()
        theirs = row.id
        if mine.cluster or theirs.cluster or mine.effective == theirs.effective:
            return True
        if self._reach is None:
            self._reach = _subject_namespaces(self._row)
        return row.namespace in self._reach

    def _sees(self, row: Resource) -> bool:
        mine = self._id_now()
        return mine.cluster or row.is_cluster_scoped or row.kind == "ServiceAccount" or mine.effective == row.id.effective

    def _role(self) -> Gvk | None:
        reference = self._row.body.get("roleRef")
        if not isinstance(reference, dict) or "apiGroup" not in reference or "kind" not in reference:
            return None
        return Gvk(group=text_of(reference["apiGroup"]), kind=text_of(reference["kind"]))


def _wrong(path: str) -> Any:
    raise BuildError(f"{path} is expected to be either a string or a map of string")


def _subject_namespaces(row: Resource) -> frozenset[str]:
    """The namespaces that the service accounts of a RoleBinding name. Raises BuildError where one is there, but is no text."""
    subjects = row.body.get("subjects") if row.kind == "RoleBinding" else None
    found = [
        subject["namespace"]
        for subject in (subjects if isinstance(subjects, list) else ())
        if isinstance(subject, dict) and subject.get("kind") == "ServiceAccount" and "namespace" in subject
    ]
    if not all(isinstance(namespace, str) for namespace in found) and not row.is_cluster_scoped:
        raise BuildError(f"Invalid Input: namespace is blank for resource {row.id}: a subject's namespace must be a text")
    return frozenset(map(text_of, found))


def _same_context(one: Resource, other: Resource, *, lenient: bool) -> bool:
    """Whether the one's prefixes and suffixes end with the other's, or the reverse; leniently, an empty list fits all."""
    return all(
        (lenient and (not mine or not theirs)) or _same_ending(mine, theirs)
        for mine, theirs in ((one.prefixes, other.prefixes), (one.suffixes, other.suffixes))
    )


def _same_ending(one: list[str], other: list[str]) -> bool:
    short, long = sorted((one, other), key=len)
    return long[len(long) - len(short) :] == short if short else not long
