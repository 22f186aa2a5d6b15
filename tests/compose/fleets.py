"""Random fleets: bases and components that overlays share, plain folders, generators, and random pushes to them: edits, renames, folders
that turn into files, symbolic links, modes. Seeded: a failure can be repeated.

In: a `random.Random`. Out: the files of a repository, before and after each push, and what each app must lead to.
"""

import json
from dataclasses import dataclass, field
from random import Random
from typing import Literal

from pygit2.enums import FileMode

from service.kustomize.build import BuildOptions, build
from service.kustomize.tree import MapTree

BASES = ("north", "south")
COMPONENTS = ("audit", "proxy")
APPS = ("ash", "beech", "cedar", "elm", "fir", "oak")
STEMS = ("one", "two", "three", "four")
Kind = Literal["plain", "overlay"]


@dataclass(slots=True, kw_only=True)
class App:
    """`files`: value by path below the app's folder. A plain app has no kustomization file; an overlay has a base and may generate."""

    kind: Kind
    base: str = ""
    files: dict[str, str] = field(default_factory=dict)
    generated: str = ""
    component: str = ""


class Fleet:
    """Changed by `step`, read by `files`."""

    def __init__(self, dice: Random) -> None:
        self._dice = dice
        self._count = 0
        self.bases = {name: {"one.yaml": "0"} for name in BASES}
        self.apps: dict[str, App] = {}
        self.components = dict.fromkeys(COMPONENTS, "0")
        self.links: dict[str, str] = {}
        self.executable: set[str] = set()
        self.readme = "0"
        for number, name in enumerate(APPS):
            app = App(kind="overlay" if number % 2 else "plain", base=dice.choice(BASES), files={"one.yaml": "0"})
            app.generated = "0" if app.kind == "overlay" and dice.random() < 0.7 else ""
            self.apps[name] = app

    def files(self) -> dict[str, str]:
        """The whole repository."""
        found = {"README.md": self.readme}
        for name, base in self.bases.items():
            found[f"bases/{name}/kustomization.yaml"] = json.dumps({"resources": sorted(base)})
            found |= {f"bases/{name}/{path}": _config_map(f"base-{_slug(path)}", value) for path, value in base.items()}
        for name, value in self.components.items():
            made = {"apiVersion": "kustomize.config.k8s.io/v1alpha1", "kind": "Component", "resources": ["extra.yaml"]}
            found[f"components/{name}/kustomization.yaml"] = json.dumps(made)
            found[f"components/{name}/extra.yaml"] = _config_map(f"extra-{name}", value)
        for name, app in self.apps.items():
            found[f"apps/{name}/notes.txt"] = "so that the folder is there even when all else is gone: then nothing is left to apply"
            found |= {f"apps/{name}/{path}": _config_map(f"{name}-{_slug(path)}", value) for path, value in app.files.items()}
            if app.kind == "overlay":
                made = {"namePrefix": f"{name}-", "resources": [f"../../bases/{app.base}", *sorted(app.files)]}
                if app.component:
                    made["components"] = [f"../../components/{app.component}"]
                if app.generated:
                    made["configMapGenerator"] = [{"name": "made", "files": ["value=input/value.txt"]}]
                    found[f"apps/{name}/input/value.txt"] = app.generated
                found[f"apps/{name}/kustomization.yaml"] = json.dumps(made)
        return found | self.links

    def modes(self) -> dict[str, FileMode]:
        """What is not a plain file: links, which are left out of every build, and executable files, which are as any other."""
        there = self.files()
        executable = {path: FileMode.BLOB_EXECUTABLE for path in self.executable if path in there}
        return executable | dict.fromkeys(self.links, FileMode.LINK)

    def plain(self) -> dict[str, str]:
        """What can be built: all but the links."""
        return {path: text for path, text in self.files().items() if path not in self.links}

    def step(self) -> None:
        """One random change."""
        often = [self._value, self._value, self._base, self._add, self._remove, self._rename]
        self._dice.choice([*often, self._turn, self._other, self._component, self._link, self._mode])()

    def _component(self) -> None:
        """A shared component changes, or an overlay takes one up or drops it."""
        if self._dice.random() < 0.5:
            self.components[self._dice.choice(COMPONENTS)] = self._new()
        else:
            self.apps[self._dice.choice([name for name, app in self.apps.items() if app.kind == "overlay"])].component = self._dice.choice(
                ["", *COMPONENTS]
            )

    def _link(self) -> None:
        """A link that looks like a manifest comes, points elsewhere, or goes."""
        path = f"apps/{self._dice.choice(APPS)}/link.yaml"
        if path in self.links and self._dice.random() < 0.5:
            del self.links[path]
        else:
            self.links[path] = self._dice.choice(["one.yaml", "../../README.md", "/etc/passwd", f"missing-{self._new()}"])

    def _mode(self) -> None:
        """A file becomes executable, or is no more."""
        self.executable ^= {self._dice.choice(sorted(self.plain()))}

    def _new(self) -> str:
        self._count += 1
        return str(self._count)

    def _app(self) -> App:
        return self.apps[self._dice.choice(APPS)]

    def _value(self) -> None:
        app = self._app()
        if app.generated and self._dice.random() < 0.5:
            app.generated = self._new()
        elif app.files:
            app.files[self._dice.choice(sorted(app.files))] = self._new()

    def _base(self) -> None:
        base = self.bases[self._dice.choice(BASES)]
        free = [stem for stem in STEMS if not any(path.startswith(stem) for path in base)]
        if free and self._dice.random() < 0.4:
            base[f"{free[0]}.yaml"] = self._new()
        elif len(base) > 1 and self._dice.random() < 0.4:
            del base[self._dice.choice(sorted(base))]
        else:
            base[self._dice.choice(sorted(base))] = self._new()

    def _add(self) -> None:
        app = self._app()
        free = [stem for stem in STEMS if not any(stem in path for path in app.files)]
        if free:
            stem = self._dice.choice(free)
            app.files[self._dice.choice([f"{stem}.yaml", f"deep/{stem}.yaml", f"{stem}.yaml/inner.yaml"])] = self._new()

    def _remove(self) -> None:
        app = self._app()
        if app.files:
            del app.files[self._dice.choice(sorted(app.files))]

    def _rename(self) -> None:
        """Moved as it is, or a folder that becomes a file of the same name, or a file that becomes a folder."""
        app = self._app()
        if not app.files:
            return
        path = self._dice.choice(sorted(app.files))
        value = app.files.pop(path)
        if path.endswith("/inner.yaml"):
            app.files[path.removesuffix("/inner.yaml")] = value
        elif path.startswith("deep/"):
            app.files[path.removeprefix("deep/")] = value
        else:
            app.files[self._dice.choice([f"{path}/inner.yaml", f"deep/{path}"])] = value

    def _turn(self) -> None:
        """An overlay gets another base, or begins or ends to generate."""
        app = self._app()
        app.base = self._dice.choice(BASES)
        if app.kind == "overlay":
            app.generated = "" if app.generated and self._dice.random() < 0.5 else self._new()

    def _other(self) -> None:
        self.readme = self._new()


def expected(files: dict[str, str], app: str) -> dict[str, str]:
    """What a build from scratch makes of an app: the value by name."""
    found = build(MapTree(files), f"apps/{app}", options=BuildOptions(generate=True, load_restrictions="tree")).objects
    return {each["metadata"]["name"]: each["data"]["value"] for each in found}


def touched(before: dict[str, str], after: dict[str, str]) -> set[str]:
    """The apps that a push may concern: something below their folder differs, or below a base that they build on."""
    paths = {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}
    shared = {"/".join(path.split("/")[:2]) for path in paths if path.startswith(("bases/", "components/"))}
    own = {path.split("/")[1] for path in paths if path.startswith("apps/")}
    uses = {name for name in APPS for folder in shared if f'{folder}"' in before.get(f"apps/{name}/kustomization.yaml", "")}
    return own | uses


def _slug(path: str) -> str:
    return path.removesuffix(".yaml").replace("/", "-").replace(".", "-")


def _config_map(name: str, value: str) -> str:
    return json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"value": value}})
