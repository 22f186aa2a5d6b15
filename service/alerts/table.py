"""Every type of Provider that can be sent to: ours, and those of other packages that are installed beside us.

In: the entry points of the group `sluice.providers`, each naming a module with the functions of our own ones (`render` and `settle`, or
`converse`, or `publish` and `preview`), or a `providers.contract.Provider`. Out: one table, made once at the start. A package that cannot
be used is told and left out; it cannot take the place of one of our types.
https://packaging.python.org/en/latest/specifications/entry-points/
"""

import logging
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from types import MappingProxyType, ModuleType

from providers import PROVIDERS, contract
from service.alerts.statusid import expression_of
from service.cel import BadExpression
from service.kinds.notification import TYPE_ANNOTATION, Provider

log = logging.getLogger(__name__)

GROUP = "sluice.providers"
_NAME = re.compile(r"[a-z][a-z0-9.-]{1,62}")
_FORMS = ("render", "settle", "converse", "place", "publish", "preview")
_WHOLE = ({"render", "settle"}, {"converse"}, {"place"}, {"publish"}, {"publish", "preview"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Foreign:
    """A type out of another package; `problem` says why it is left out, "" where it is not."""

    name: str
    package: str
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """The types by name, and which of them are not ours. `identities`: whether Providers may act as their ServiceAccounts."""

    types: Mapping[str, contract.Provider] = field(default_factory=lambda: PROVIDERS)
    foreign: tuple[Foreign, ...] = ()
    identities: bool = False

    def problem(self, provider: Provider) -> str:
        """Why a Provider that Flux's CRD lets through cannot be sent to, "" where it can."""
        spec = provider.spec
        by_type = self.types.get(spec.type)
        if by_type is None:
            left_out = next((f" ({each.package}: {each.problem})" for each in self.foreign if each.name == spec.type), "")
            where = f"metadata.annotations[{TYPE_ANNOTATION}]" if TYPE_ANNOTATION in provider.metadata.annotations else "spec.type"
            return f"{where}: {spec.type} is no type that can be sent to{left_out}; `sluice alert types` lists them"
        if by_type.library and find_spec(by_type.library) is None:
            return f"spec.type: {spec.type} needs {by_type.library}, which is not installed: install sluice-gitops[{spec.type}]"
        if spec.commit_status_expr and by_type.wants != "commit_status":
            return f"spec.commitStatusExpr: a Provider of the type {spec.type} sets no commit's status; remove it"
        if spec.commit_status_expr:
            try:
                expression_of(spec.commit_status_expr)
            except BadExpression as error:
                return f"spec.commitStatusExpr: {error}"
        if spec.service_account_name and not by_type.identity:
            return f"spec.serviceAccountName: the type {spec.type} knows no workload identity; remove it"
        if spec.service_account_name and not self.identities:
            return "spec.serviceAccountName: carried out with --workload-identity only, which is not set"
        return ""


def load(points: Iterable[EntryPoint] | None = None, *, identities: bool = False) -> Table:
    """Return our types with those of installed packages; imports their modules."""
    types, foreign = dict(PROVIDERS), []
    for point in entry_points(group=GROUP) if points is None else points:
        package = f"{point.dist.name} {point.dist.version}" if point.dist else "a package without a name"
        line, problem = _line(point, types)
        foreign.append(Foreign(name=point.name, package=package, problem=problem))
        if line is not None:
            types[point.name] = line
            log.info("type of Providers added", extra={"type": point.name, "package": package})
        else:
            log.error("type of Providers left out", extra={"type": point.name, "package": package, "error": problem})
    return Table(types=MappingProxyType(types), foreign=tuple(foreign), identities=identities)


def _line(point: EntryPoint, known: Mapping[str, contract.Provider]) -> tuple[contract.Provider | None, str]:
    if point.name in known:
        return None, "there is such a type already"
    if not _NAME.fullmatch(point.name):
        return None, "its name is not made of lower-case letters, digits, dots and dashes"
    try:
        found = point.load()
    except Exception as error:  # noqa: BLE001 - anything can be raised by what others wrote
        return None, f"it cannot be imported: {type(error).__name__}: {error}"
    line = _of_module(found) if isinstance(found, ModuleType) else found
    if not isinstance(line, contract.Provider):
        return None, "it is no module, and no providers.contract.Provider"
    given = {form for form in _FORMS if getattr(line, form) is not None}
    if given not in _WHOLE:
        return None, f"it has {', '.join(sorted(given)) or 'no function'}: needed are render and settle, or converse, or publish"
    return line, ""


def _of_module(module: ModuleType) -> contract.Provider:
    functions = {form: getattr(module, form) for form in _FORMS if callable(getattr(module, form, None))}
    return contract.Provider(**functions, address="free")
