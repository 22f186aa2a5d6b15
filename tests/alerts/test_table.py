"""Types of other packages: an installed one adds its own, one that cannot be used is told and stops nothing."""

import os
import subprocess
import sys
from dataclasses import replace
from importlib.metadata import distributions
from pathlib import Path

import pytest

from providers import PROVIDERS
from service.alerts.table import GROUP, Table, load
from service.kinds.codec import decode
from service.kinds.notification import TYPE_ANNOTATION, Provider
from tests.alerts.conftest import Slack, World, alert, event, provider

PAGER = """
from providers.answers import json_request, settle_as
settle = settle_as("the pager")
def render(event, target):
    return json_request(target.address.reveal(), {"beep": event.message})
"""
LINE = """
from providers.contract import Provider
from pager import render, settle
LINE = Provider(render=render, settle=settle, alarms=True)
HALF = Provider(render=render)
"""


def install(folder: Path, points: str, **modules: str) -> Path:
    """As an installer leaves a package behind."""
    info = folder / "pager-1.2.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: pager\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text(f"[{GROUP}]\n{points}\n")
    for name, text in modules.items():
        (folder / f"{name}.py").write_text(text)
    return folder


def table_of(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Table:
    monkeypatch.syspath_prepend(str(folder))
    for name in ("pager", "pagerline"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    [found] = distributions(path=[str(folder)])
    return load(found.entry_points.select(group=GROUP))


async def test_event_goes_to_a_type_of_another_package(world: World, slack: Slack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world.table = table_of(install(tmp_path, "pager = pager", pager=PAGER), monkeypatch)
    raw = provider(type="generic", address=slack.address)  # what Flux's CRD lets through
    raw["metadata"]["annotations"] = {TYPE_ANNOTATION: "pager"}
    world.put(alert(), raw)
    async with world.running():
        await world.tell(event("wake up"))
        await world.settled(sent=1)
    assert slack.got == [{"beep": "wake up"}]


def test_line_says_more_than_a_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = table_of(install(tmp_path, "pager = pagerline:LINE", pager=PAGER, pagerline=LINE), monkeypatch)
    assert table.types["pager"].alarms
    assert [(each.name, each.package, each.problem) for each in table.foreign] == [("pager", "pager 1.2", "")]


@pytest.mark.parametrize(
    ("points", "words"),
    [
        ("slack = pager", "there is such a type already"),
        ("Pager_1 = pager", "not made of lower-case letters"),
        ("pager = nowhere", "ModuleNotFoundError"),
        ("pager = pager:missing", "AttributeError"),
        ("pager = pager:render", "no module"),
        ("pager = pagerline:HALF", "it has render: needed are"),
        ("pager = empty", "it has no function"),
        ("pager = broken", "RuntimeError: boom"),
    ],
)
def test_package_that_cannot_be_used_is_told_and_left_out(points: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    modules = {"pager": PAGER, "pagerline": LINE, "empty": "", "broken": "raise RuntimeError('boom')"}
    table = table_of(install(tmp_path, points, **modules), monkeypatch)
    assert dict(table.types) == dict(PROVIDERS)
    assert words in table.foreign[0].problem


@pytest.mark.parametrize(
    ("annotations", "spec", "words"),
    [
        ({}, {"type": "webex"}, ""),
        ({TYPE_ANNOTATION: "mattermost"}, {"type": "generic"}, ""),
        ({TYPE_ANNOTATION: "unheard-of"}, {"type": "generic"}, "metadata.annotations[notification.sluice.dev/type]: unheard-of is no type"),
        ({}, {"type": "slack", "commitStatusExpr": "'a'"}, "sets no commit's status"),
        ({}, {"type": "github", "commitStatusExpr": "event.involvedObject.name"}, ""),
        ({}, {"type": "github", "commitStatusExpr": "request.url"}, "undeclared reference to 'request'"),
        ({}, {"type": "github", "commitStatusExpr": "'a"}, "failed to parse the CEL expression"),
    ],
)
def test_what_a_crd_lets_through_is_judged(annotations: dict[str, str], spec: dict[str, str], words: str) -> None:
    raw = provider(**spec)
    raw["metadata"]["annotations"] = annotations
    found = Table().problem(decode(Provider, raw))
    assert words in found if words else found == ""


async def test_provider_of_an_unknown_type_keeps_its_messages(world: World, slack: Slack) -> None:
    raw = provider(address=slack.address)
    raw["metadata"]["annotations"] = {TYPE_ANNOTATION: "unheard-of"}
    world.put(alert(), raw)
    async with world.running():
        await world.tell(event())
        assert "`sluice alert types` lists them" in await world.warned()
        await world.settled(queued=1)


def test_types_are_listed_with_their_package(tmp_path: Path) -> None:
    install(tmp_path, "pager = pager\nslack = pager", pager=PAGER)
    where = os.pathsep.join([str(tmp_path), os.getcwd()])
    done = subprocess.run(
        [sys.executable, "-m", "service", "alert", "types"],
        env={**os.environ, "PYTHONPATH": where},
        capture_output=True,
        text=True,
        check=False,
    )
    rows = {line.split()[0]: line.split()[1:] for line in done.stdout.splitlines()}
    assert rows["pager"] == ["pager", "1.2", "news"]
    assert rows["apprise"] == ["sluice", "news"]
    assert rows["github"] == ["Flux", "commit_status"]
    assert done.returncode == 1
    assert "slack of pager 1.2 is left out: there is such a type already" in done.stderr


@pytest.mark.parametrize("form", ["def render(event, target):\n", "async def publish(event, target, means):\n"])
async def test_package_that_fails_stops_no_other_message(
    world: World, slack: Slack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    code = f"{form}    raise AttributeError(target.address.reveal())\n" + "def settle(response):\n    pass\n" * ("render" in form)
    world.table = table_of(install(tmp_path, "pager = pager", pager=code), monkeypatch)
    raw = provider("pager", type="generic", address="https://hush.example")
    raw["metadata"]["annotations"] = {TYPE_ANNOTATION: "pager"}
    world.put(alert(), alert("other", providerRef={"name": "pager"}), provider(address=slack.address), raw)
    async with world.running():
        await world.tell(event("one"), event("two"))
        await world.settled(sent=2, rejected=2)


def test_type_whose_library_is_not_installed_is_refused_by_name() -> None:
    kafka = decode(Provider, provider(type="kafka", address="kafka://a.example", channel="flux"))
    assert Table().problem(kafka) == ""
    without = Table(types={"kafka": replace(PROVIDERS["kafka"], library="no_such_library")})
    assert without.problem(kafka).startswith("spec.type: kafka needs no_such_library, which is not installed: install sluice-gitops[kafka]")
