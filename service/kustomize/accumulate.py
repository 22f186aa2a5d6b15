"""One kustomization after the other, depth first: what it reads, what it generates, its components, its transformers.

The order of work is kustomize's (api v0.21.0 internal/target/kusttarget.go): resources, configurations and crds, generators, components
(which work on their parent's objects), transformers, validators, vars.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

from service.kustomize.crds import read_crds
from service.kustomize.errors import BuildError
from service.kustomize.files import Folder
from service.kustomize.generators import absorb, generate
from service.kustomize.kustomization import NAMES, deprecations, read_kustomization
from service.kustomize.layer import Layer, Transformer
from service.kustomize.objects import Objects, Resource, expand_lists
from service.kustomize.origins import Origin, note_transformation, of_plugin
from service.kustomize.plugins import generator, transformer
from service.kustomize.remote import is_http, is_remote, parse, shown
from service.kustomize.schema import Schema
from service.kustomize.tables import DEFAULT, EMPTY, Tables, read_tables
from service.kustomize.trace import Place, place_of
from service.kustomize.transformers import TRANSFORMERS
from service.kustomize.variables import Variables, merge, register
from service.kustomize.yamlread import copied, read_objects, read_value

MAX_DEPTH = 100
GENERATORS = (("configMapGenerator", "ConfigMap"), ("secretGenerator", "Secret"))


class Step(NamedTuple):
    """A transformer on its turn; `place` is known in builds that are traced."""

    transformer: Transformer
    origin: dict[str, Any] | None
    place: Place | None


@dataclass(slots=True)
class Accumulated:
    """What a kustomization and all below it give."""

    objects: Objects = field(default_factory=Objects)
    tables: Tables = EMPTY
    variables: Variables = field(default_factory=dict)

    def merge(self, other: "Accumulated") -> None:
        """Take over what a base gives. Raises BuildError on a clash."""
        self.objects.extend(other.objects.rows)
        self.tables = self.tables.merged(other.tables)
        merge(self.variables, other.variables)


def kustomization_file(folder: Folder) -> str | None:
    """Return the name of the folder's kustomization file, None if there is none. Raises BuildError if there are two."""
    tree = folder.source.tree
    found = [name for name in NAMES if tree.kind(folder.at(name)) == "file"]
    if len(found) > 1:
        raise BuildError(f"Found multiple kustomization files under: {folder.root or '.'}: {', '.join(found)}; keep one")
    return found[0] if found else None


def load(folder: Folder) -> tuple[dict[str, Any], str]:
    """Return the fields of the folder's kustomization and the path of its file. Raises BuildError."""
    name = kustomization_file(folder)
    if name is None:
        names = "', '".join(NAMES)
        raise BuildError(f"unable to find one of '{names}' in directory '{folder.root or '.'}'")
    file = folder.at(name)
    content = folder.source.value(file)
    if isinstance(content, dict):
        folder.source.warnings.extend(deprecations(content))
    try:
        return read_kustomization(content, file), file
    except BuildError as error:  # again with the text, to say the line
        raise read_again(content, file, folder, error) from error


def read_again(content: Any, file: str, folder: Folder, error: BuildError) -> BuildError:
    """Return the error of a kustomization file with its line."""
    try:
        read_kustomization(content, file, folder.source.tree.read(file))
    except BuildError as found:
        return found
    return error


class Target:
    """One kustomization on its turn."""

    def __init__(self, folder: Folder, fields: dict[str, Any], file: str, *, schema: Schema, origin: Origin | None) -> None:
        self._folder = folder
        self._fields = fields
        self._file = file
        self._name = file.rpartition("/")[2]
        self._schema = schema
        self._origin = origin
        self._trace = folder.source.trace

    def accumulate(self, result: Accumulated) -> Accumulated:
        """Return what this kustomization gives, worked out on `result`: empty, or its parent's for a component. Raises BuildError."""
        try:
            return self._accumulate(result)
        except BuildError as error:
            if error.file is None:
                raise BuildError(error.message, self._file, error.line) from error
            raise

    def _accumulate(self, result: Accumulated) -> Accumulated:
        fields = self._fields
        self._resources(result, fields.get("resources") or (), result.objects)
        result.tables = result.tables.merged(self._tables()).merged(self._crds())
        self._generate(result.objects)
        for path in fields.get("components") or ():
            self._base(result, path, component=True)
        layer = Layer(fields=fields, tables=result.tables, folder=self._folder, schema=self._schema)
        self._run(result.objects, [*self._builtins(layer), *self._plugins("transformers")])
        self._validate(result.objects)
        register(result.objects, result.variables, fields.get("vars") or [])
        return result

    # --- what is read

    def _resources(self, result: Accumulated, paths: Iterable[str], objects: Objects) -> None:
        tree = self._folder.source.tree
        for path in paths:
            if is_remote(path):
                self._remote(result, path, objects)
            elif path and not path.startswith("/") and tree.kind(self._folder.at(path)) == "dir":
                self._base(result, path, component=False)
            else:
                self._file_of_objects(path, objects)

    def _remote(self, result: Accumulated, path: str, objects: Objects) -> None:
        """A URL is tried as a file first, then as a repository, as kustomize does."""
        if is_http(path) and self._folder.source.remote is not None:
            try:
                self._folder.source.documents(self._folder.file(path))
            except BuildError as error:
                try:
                    parse(path)
                except ValueError:
                    raise error from None
            else:
                self._file_of_objects(path, objects)
                return
        self._base(result, path, component=False)

    def _file_of_objects(self, path: str, objects: Objects) -> None:
        file = self._folder.file(path)
        rows = expand_lists(self._folder.source.documents(file), self._schema, file)
        for row in rows:
            if self._origin is not None:
                row.origin = self._origin.at(path).of_file()
            try:
                objects.append(row)
            except BuildError as error:
                raise BuildError(f"merging resources from '{path}': {error.message}", file) from error
        if self._trace is not None:
            self._trace.made(rows, Place(file=file, by="resources"))

    def _base(self, result: Accumulated, path: str, *, component: bool) -> None:
        folder = self._folder.enter(path)
        if folder.source is self._folder.source:
            self._enter(result, folder, path, component=component)
            return
        try:
            self._enter(result, folder, path, component=component)
        except BuildError as error:  # its file is one of the clone
            raise BuildError(f"in '{shown(path)}': {error}", self._file) from error

    def _enter(self, result: Accumulated, folder: Folder, path: str, *, component: bool) -> None:
        if folder.depth > MAX_DEPTH:
            raise BuildError(f"bases are nested deeper than {MAX_DEPTH} levels")
        fields, file = load(folder)
        if component != (fields["kind"] == "Component"):
            wanted = "expected kind 'Component'" if component else "expected kind != 'Component'"
            raise BuildError(f"{wanted} for path '{folder.root}' but got '{fields['kind']}'")
        if not fields.get("namespace") and self._fields.get("namespace"):
            fields = {**fields, "namespace": self._fields["namespace"]}  # since 5.8
        choose_schema(self._schema, folder, fields, root=False)
        origin = self._origin.at(path) if self._origin is not None else None
        below = Target(folder, fields, file, schema=self._schema, origin=origin)
        made = below.accumulate(result if component else Accumulated())
        try:
            if component:
                result.objects.replace(result.objects.rows)  # two objects may have got one id
                result.tables = EMPTY.merged(result.tables)  # upstream merges what a component gives into nothing
            else:
                result.merge(made)
        except BuildError as error:
            raise BuildError(f"merging from path '{path}': {error.message}", self._file) from error

    def _tables(self) -> Tables:
        added = EMPTY
        for path in self._fields.get("configurations") or ():
            file = self._folder.file(path)
            try:
                added = added.merged(read_tables(read_value(self._folder.source.tree.read(file), file, unique=True)))
            except BuildError as error:
                raise BuildError(error.message, error.file or file, error.line) from error
        return DEFAULT.merged(added)

    def _crds(self) -> Tables:
        tables = EMPTY
        for path in self._fields.get("crds") or ():
            file = self._folder.file(path)
            tables = tables.merged(read_crds(self._folder.source.value(file), file))
        return tables

    # --- what is made

    def _generate(self, objects: Objects) -> None:
        options = self._fields.get("generatorOptions") or {}
        for field_name, kind in GENERATORS:
            for entry in self._fields.get(field_name) or ():
                made = generate(kind, entry, options, self._folder, self._schema)
                if self._origin is not None:
                    made.origin = self._origin.of_field(self._name, f"{kind}Generator")
                self._absorb(objects, made, field_name)
        for config in self._configs("generators"):
            for made in generator(config, self._folder, self._schema):
                if config.origin is not None:
                    made.origin = of_plugin(config)
                self._absorb(objects, made, "generators")

    def _absorb(self, objects: Objects, made: Resource, field_name: str) -> None:
        if self._trace is None:
            absorb(objects, made)
        else:
            self._trace.run(objects, Place(file=self._file, by=field_name), lambda: absorb(objects, made))

    def _configs(self, field_name: str) -> list[Resource]:
        """The objects that configure plugins: texts that parse as objects, files, folders."""
        configs, paths = Accumulated(), []
        for entry in self._fields.get(field_name) or ():
            try:
                rows = expand_lists(read_objects(entry.encode("utf-8", "surrogatepass"), None), self._schema, None)
            except BuildError:
                paths.append(entry)
                continue
            for row in rows:
                if self._origin is not None:
                    row.origin = self._origin.at(self._name).of_file()
            configs.objects.extend(rows)
        self._resources(configs, paths, configs.objects)
        return configs.objects.rows

    # --- what is changed

    def _builtins(self, layer: Layer) -> list[Step]:
        steps: list[Step] = []
        for name, configure in TRANSFORMERS:
            origin = self._origin.of_field(self._name, name) if self._origin is not None else None
            made = configure(layer)
            for number, found in enumerate(made):
                place = place_of(self._folder, self._file, name, number, len(made)) if self._trace is not None else None
                steps.append(Step(found, origin, place))
        return steps

    def _plugins(self, field_name: str) -> list[Step]:
        return [
            Step(
                transformer(config, self._folder, self._schema),
                of_plugin(config) if config.origin is not None else None,
                Place(file=self._file, by=f"{field_name}: {config.kind}/{config.name}"),
            )
            for config in self._configs(field_name)
        ]

    def _run(self, objects: Objects, steps: Iterable[Step]) -> None:
        for found, origin, place in steps:
            if self._trace is None or place is None:
                found.run(objects)
            else:
                self._trace.run(objects, place, partial(found.run, objects))
            if origin is not None:
                for _ in range(found.times):
                    note_transformation(objects, origin)
            objects.drop_deleted()

    def _validate(self, objects: Objects) -> None:
        """Validators are transformers that may change nothing."""
        for found, _, _ in self._plugins("validators"):
            before = [copied(row.body) for row in objects.rows]
            found.run(objects)
            if [row.body for row in objects.rows] != before:
                raise BuildError("validator shouldn't modify the resource map")


def choose_schema(schema: Schema, folder: Folder, fields: Mapping[str, Any], *, root: bool) -> None:
    """Give a kustomization's `openapi` to the build's schema. Raises BuildError."""
    chosen = fields.get("openapi") or {}
    content = None
    if "path" in chosen:
        file = folder.file(chosen["path"])
        content = folder.source.value(file)
    schema.choose(chosen, content, root=root)
