"""How often Slack tells the truth: pushes of every kind, one after another, and after each what Slack says of an object, its condition and
the cluster must agree with Git within a minute. No message may ever have called green what was broken, none may stay red once all is well,
and each object has one message for a revision, changed in place.

In small six pushes, one of each kind; with --soak SLUICE_TRUTH_PUSHES of them (1,000 without it), or as many as --soak-seconds allow, at
random, while Slack and the API server go away in between. `pytest --soak -m soak tests/end_to_end/test_truth.py -s` prints the rate; with
SLUICE_REAL=1 it is taken on a real kube-apiserver, too.
"""

import json
import os
import random
import re
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from providers.slack_notes import ROOTS
from tests.end_to_end.fleet import APPS, STAGES, settings
from tests.end_to_end.kubernetes import condition
from tests.end_to_end.slack import Message, Ordered
from tests.end_to_end.test_away import EmbeddedApi
from tests.end_to_end.world import TOKEN, World, world
from tests.peers.kube import API, FULL, ControlPlane

AGREE_SECONDS = 60
RED, GREEN = "#e01e5a", "#2eb67d"
COMMIT = re.compile(r"main@([0-9a-f]{8})")
Place = tuple[str, str]
PLACES: tuple[Place, ...] = tuple((app, stage) for app in APPS for stage in STAGES)


@dataclass
class Truth:
    """What Git says of each object, and what was broken at which commit."""

    town: World
    api: EmbeddedApi | ControlPlane
    dice: random.Random
    wanted: dict[Place, str] = field(default_factory=dict)
    broken: set[Place] = field(default_factory=set)
    broken_at: dict[str, frozenset[Place]] = field(default_factory=dict)
    head: str = ""
    number: int = 0
    checked: int = 0
    agreed: int = 0
    slowest: float = 0

    def push(self, place: Place | None, text: str, *, hook: bool = True) -> None:
        """Commit a file of an object (None: one that concerns none), and tell the service."""
        app, stage = place or ("", "")
        path = f"apps/{app}/{stage}/settings.yaml" if place else "README.md"
        self.head = self.town.fleet.push({path: text}, subject=f"Push {self.number}")
        self.broken_at[self.head[:8]] = frozenset(self.broken)
        if hook:
            body = json.dumps(self.town.payload(self.head)).encode()
            assert self.town.sluice.hook(self.town_path, body, token=TOKEN).status == 200

    town_path = ""

    def good(self, place: Place) -> None:
        self.wanted[place] = f"greeting {self.number}"
        self.broken.discard(place)
        self.push(place, settings(place[0], self.wanted[place]))

    def bad(self, place: Place) -> None:
        self.broken.add(place)
        self.push(place, "this: [is no\n  YAML")

    def nothing(self, place: Place) -> None:
        self.push(None, f"Number {self.number}\n")

    def superseded(self, place: Place) -> None:
        """One right after another; of the first nothing may remain."""
        self.bad(place)
        self.number += 1
        self.good(place)

    def revert(self, place: Place) -> None:
        """Away and back."""
        before = self.wanted.get(place)
        self.good(place)
        self.agree()
        if before is not None:
            self.wanted[place] = before
            self.push(place, settings(place[0], before))

    def drift(self, place: Place) -> None:
        """Somebody changes the object; a push puts it right."""
        town, (app, stage) = self.town, place
        object_ = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": f"{app}-settings", "namespace": f"{town.namespace}-{stage}"},
        }
        town.kube.apply({**object_, "data": {"greeting": "by hand"}})
        self.good(place)

    def agree(self) -> None:
        """Wait until all three agree with Git about every object, and count."""
        began = time.monotonic()
        self.checked += len(PLACES)
        wrong = [place for place in PLACES if self.problem(place)]
        while wrong and time.monotonic() - began < AGREE_SECONDS:
            time.sleep(0.1)
            wrong = [place for place in wrong if self.problem(place)]
        self.slowest = max(self.slowest, time.monotonic() - began)
        self.agreed += len(PLACES) - len(wrong)
        assert not wrong, [(place, self.problem(place)) for place in wrong]

    def problem(self, place: Place) -> str:
        """What of an object does not agree with Git, "" if all does."""
        (app, stage), town = place, self.town
        seen = town.kube.get("Kustomization", town.namespace, f"{app}-{stage}")
        if seen is None:
            return "not there"
        ready, status = condition(seen), seen["status"]
        want = "False" if place in self.broken else "True"
        attempted = status.get("lastAttemptedRevision") if place in self.broken else status.get("lastAppliedRevision")
        if ready.get("status") != want or attempted != f"main@sha1:{self.head}":
            return f"the condition is {ready.get('status')} at {attempted}, not {want} at {self.head}"
        if place in self.wanted and town.greeting(app=app, stage=stage) != self.wanted[place]:
            return f"the cluster has {town.greeting(app=app, stage=stage)}, not {self.wanted[place]}"
        standing = [versions[-1] for versions in self.told(place)[-ROOTS:]]
        if not standing or (RED in _colours(standing[-1])) != (place in self.broken):
            return f"Slack says last: {standing[-1].text if standing else 'nothing'}"
        left = [each.text for each in standing if RED in _colours(each)] if place not in self.broken else []
        return f"Slack says still: {left[-1]}" if left else ""

    def told(self, place: Place) -> list[list[Message]]:
        """Slack's messages about an object, oldest first, each with all that it was changed to."""
        name = f"{self.town.namespace}/{place[0]}-{place[1]}"
        return [versions for versions in self.town.slack.roots() if name in versions[-1].text]

    def false_greens(self) -> list[str]:
        """Messages that ever called green what was broken at their commit, but for those that say that it has recovered."""
        return [
            message.text
            for place in PLACES
            for versions in self.told(place)
            for message in versions
            if GREEN in _colours(message) and "recovered after" not in message.text and place in self.broken_at.get(_commit(message), ())
        ]

    def doubles(self) -> list[tuple[Place, str]]:
        """Objects and commits with more than one message."""
        posted = Counter((place, _commit(versions[0])) for place in PLACES for versions in self.told(place))
        return [key for key, count in posted.items() if count > 1]


def _commit(message: Message) -> str:
    """The first that it names is the one that it is about."""
    found = COMMIT.search(message.text)
    assert found is not None, message.text
    return found[1]


def _colours(message: Message) -> str:
    return json.dumps(message.body.get("attachments"))


KINDS: tuple[Callable[[Truth, Place], None], ...] = (Truth.good, Truth.bad, Truth.nothing, Truth.revert, Truth.drift, Truth.superseded)


def _begin(town: World, api: EmbeddedApi | ControlPlane) -> Truth:
    town.bot = True
    town.sluice.start()
    town.install()
    truth = Truth(town, api, random.Random(11))
    truth.town_path, truth.head = town.hook_path(), town.fleet.head
    truth.agree()
    return truth


def _end(truth: Truth) -> None:
    rate = truth.agreed / truth.checked
    green, double, roots = truth.false_greens(), truth.doubles(), sum(len(truth.told(place)) for place in PLACES)
    print(
        f"\n{truth.number} pushes: truth rate {rate:.2%} of {truth.checked} looks, the slowest agreed after {truth.slowest:.1f} s; "
        f"{roots} messages, {len(double)} doubles, {len(green)} false greens"
    )
    assert (green, double) == ([], [])
    assert rate == 1


def test_slack_condition_and_cluster_agree_after_each_kind_of_push(tmp_path: Path, namespace_name: str) -> None:
    api = EmbeddedApi(tmp_path / "api")
    api.start_api()
    try:
        with world(tmp_path, api.kubeconfig, namespace_name) as town:
            truth = _begin(town, api)
            for kind, place in zip(KINDS, (*PLACES, *PLACES), strict=False):
                truth.number += 1
                if kind is Truth.bad:
                    town.slack.order(Ordered(status=503), Ordered(status=429, retry_after=1))
                kind(truth, place)
                assert town.sluice.probe("/readyz") == 200, "also while Slack is away"
                truth.agree()
            _end(truth)
    finally:
        api.kill_api()


def _many(truth: Truth, seconds: float) -> None:
    """Pushes of all kinds, one of them for each weather, until there are enough or the time is over."""
    pushes, until = int(os.environ.get("SLUICE_TRUTH_PUSHES", "1000")), time.monotonic() + seconds
    while truth.number < pushes and time.monotonic() < until:
        truth.number += 1
        truth.town.slack.calm()
        place = truth.dice.choice(PLACES)
        weather = truth.dice.random()
        if weather < 0.05:
            truth.town.slack.order(*[Ordered(status=503)] * truth.dice.randint(1, 4))
        elif weather < 0.08:
            truth.town.slack.order(Ordered(status=429, retry_after=2))
        if 0.08 <= weather < 0.09:
            truth.api.kill_api()
            truth.good(place)
            truth.api.start_api()
        else:
            truth.dice.choice(KINDS)(truth, place)
        truth.agree()
    _end(truth)


@pytest.mark.soak
def test_truth_rate_of_many_pushes_with_outages_in_between(tmp_path: Path, namespace_name: str, pytestconfig: pytest.Config) -> None:
    api = EmbeddedApi(tmp_path / "api")
    api.start_api()
    try:
        with world(tmp_path, api.kubeconfig, namespace_name) as town:
            _many(_begin(town, api), pytestconfig.getoption("--soak-seconds"))
    finally:
        api.kill_api()


@pytest.mark.soak
@pytest.mark.real
def test_truth_rate_on_a_real_kube_apiserver(tmp_path: Path, peers: Any, namespace_name: str, pytestconfig: pytest.Config) -> None:
    peers.need(*FULL, *API)
    with (
        ControlPlane(tmp_path / "kube", full=True) as plane,
        world(tmp_path, plane.kubeconfig, namespace_name, with_rbac=True) as town,
    ):
        _many(_begin(town, plane), pytestconfig.getoption("--soak-seconds"))
