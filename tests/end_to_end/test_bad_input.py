"""What goes wrong outside: each ends in the right HTTP answer or condition, in words that tell what to do, and nothing accepted is lost.

One service for the whole module, on the embedded API; each test has objects of its own in it. What can be tried without a running service
stands with its module instead (receivers, state, sources).
"""

import json
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from uuid import uuid4

import pytest

from tests.end_to_end.fleet import Fleet, git, serving, settings
from tests.end_to_end.kubernetes import condition, is_ready
from tests.end_to_end.slack import Ordered
from tests.end_to_end.world import TOKEN, World, world


@pytest.fixture(scope="module")
def place(embedded_kubeconfig: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("bad-input"), embedded_kubeconfig, f"bad-{uuid4().hex[:10]}") as made:
        made.sluice.start()
        made.install()
        yield made


@pytest.fixture
def repository(place: World, request: pytest.FixtureRequest) -> tuple[Fleet, str]:
    """A repository for one test, and the name of its GitRepository."""
    name = request.node.name.replace("_", "-").partition("[")[0][-40:].strip("-")
    return Fleet(place.fleet.root, prefix=place.namespace, name=name), name


def apply_one(place: World, repository: tuple[Fleet, str], **spec: object) -> str:
    """A source of the test's repository, and a Kustomization of blog's staging in it; returns their name."""
    fleet, name = repository
    url = f"{place.git_url}/{fleet.name}.git"
    given = {"path": "./apps/blog/staging", **spec}
    place.kube.apply(place.source(name, url=url), place.kustomization(name, str(given.pop("path")), source=name, **given))
    return name


# --- webhooks


def test_a_wrong_signature_is_refused_and_tells_nothing(place: World) -> None:
    body = json.dumps(place.payload(place.fleet.head)).encode()
    answer = place.sluice.hook(place.hook_path(), body, token="wrong")
    assert answer.status == 400
    assert TOKEN not in answer.body
    assert "signature" not in answer.body.lower()
    place.sluice.wait_log(lambda lines: any("signature" in json.dumps(line).lower() for line in lines))


def test_a_missing_signature_is_refused(place: World) -> None:
    answer = place.sluice.call("listen", place.hook_path(), b"{}", {"X-GitHub-Event": "push", "Content-Type": "application/json"})
    assert answer.status == 400


def test_truncated_json_is_refused(place: World) -> None:
    body = json.dumps(place.payload(place.fleet.head)).encode()[:-20]
    assert place.sluice.hook(place.hook_path(), body, token=TOKEN).status == 400


def test_an_unknown_event_is_accepted_and_does_nothing(place: World) -> None:
    assert place.sluice.hook(place.hook_path(), b"{}", token=TOKEN, event="star").status == 200


def test_an_unknown_path_is_not_found(place: World) -> None:
    assert place.sluice.hook("/hook/" + "0" * 64, b"{}", token=TOKEN).status == 404


def test_a_body_over_the_bound_is_refused_before_it_is_read(place: World) -> None:
    client = HTTPConnection("127.0.0.1", place.sluice.ports["listen"], timeout=10)
    client.putrequest("POST", place.hook_path())
    for key, value in (("Content-Length", 30 * 2**20), ("X-GitHub-Event", "push"), ("X-Hub-Signature-256", "sha256=" + "0" * 64)):
        client.putheader(key, str(value))
    client.endheaders(b"{" * 1024)
    assert client.getresponse().status == 413
    client.close()
    assert place.hook(place.fleet.head).status == 200


def test_the_hook_path_never_stands_in_the_log(place: World) -> None:
    path = place.hook_path()
    place.hook(place.fleet.head)
    assert path.rpartition("/")[2] not in place.sluice.log_file.read_text()
    assert TOKEN not in place.sluice.log_file.read_text()


# --- pushes


def test_two_hooks_in_the_wrong_order_end_at_the_newest(place: World) -> None:
    first = place.greet("first")
    second = place.greet("second")
    assert place.hook(second).status == 200
    assert place.hook(first).status == 200
    place.wait_greeting("second")
    place.wait_revision(second)


def test_an_id_that_is_not_on_the_branch_is_only_a_hint(place: World) -> None:
    stranger = place.fleet.push({"apps/shop/production/settings.yaml": settings("shop", "stolen")}, branch="elsewhere")
    place.fleet.rewind("HEAD~1")
    wanted = place.greet("wanted")
    assert place.hook(stranger).status == 200
    place.wait_greeting("wanted")
    place.wait_revision(wanted)


def test_a_forced_push_is_followed(place: World) -> None:
    before = place.fleet.head
    place.hook(place.greet("to be rewritten"))
    place.wait_greeting("to be rewritten")
    place.fleet.rewind(before)
    commit = place.fleet.push({"apps/shop/production/settings.yaml": settings("shop", "rewritten")}, force=True)
    assert place.hook(commit, forced=True).status == 200
    place.wait_greeting("rewritten")
    place.wait_revision(commit)


def test_a_deleted_branch_is_said_and_what_runs_stays(place: World, repository: tuple[Fleet, str]) -> None:
    fleet, _ = repository
    fleet.push({}, branch="feature")
    name = repository[1]
    spec = {"url": f"{place.git_url}/{fleet.name}.git", "ref": {"branch": "feature"}}
    receiver = place.receiver(name, {"kind": "GitRepository", "name": name})
    place.kube.apply(place.source(name, **spec), place.kustomization(name, "./apps/blog/production", source=name), receiver)
    place.wait("Kustomization", name, is_ready)
    git("--git-dir", str(fleet.bare), "update-ref", "-d", "refs/heads/feature")
    assert place.hook("0" * 40, ref="refs/heads/feature", name=name, deleted=True).status == 200
    message = place.wait_not_ready("GitRepository", name, "GitOperationFailed")
    assert "feature" in message
    assert place.greeting(app="blog") == "hello"


def test_file_names_that_are_not_utf8_do_not_stop_a_push(place: World, repository: tuple[Fleet, str]) -> None:
    fleet, _ = repository
    odd = fleet.work.joinpath("apps/blog/staging").as_posix().encode() + b"/caf\xe9.txt"
    Path(odd.decode("utf-8", "surrogateescape")).write_text("latin\n")
    fleet.push({})
    name = apply_one(place, repository)
    place.wait("Kustomization", name, is_ready)


# --- sources


def test_a_repository_that_is_gone_is_said(place: World) -> None:
    place.kube.apply(place.source("gone", url=f"{place.git_url}/nowhere.git"))
    assert "nowhere" in place.wait_not_ready("GitRepository", "gone", "GitOperationFailed")


def test_refused_credentials_are_said_without_them(place: World) -> None:
    with serving(place.fleet.root, password="right") as url:
        place.kube.apply(
            place.secret("wrong-git", username="git", password="wrong-password"),
            place.source("private", url=f"{url}/fleet.git", secretRef={"name": "wrong-git"}),
        )
        seen = place.wait("GitRepository", "private", lambda seen: condition(seen).get("status") == "False")
        assert condition(seen)["reason"] in ("AuthenticationFailed", "GitOperationFailed")
        assert "wrong-password" not in json.dumps(seen)
        place.kube.apply(place.secret("wrong-git", username="git", password="right"))
        place.kube.patch(
            "GitRepository", place.namespace, "private", {"metadata": {"annotations": {"reconcile.fluxcd.io/requestedAt": "1"}}}
        )
        place.wait("GitRepository", "private", is_ready)
    assert "wrong-password" not in place.sluice.log_file.read_text()


def test_a_missing_secret_is_named(place: World) -> None:
    place.kube.apply(place.source("unsecret", secretRef={"name": "not-there"}))
    assert "not-there" in place.wait_not_ready("GitRepository", "unsecret", "AuthenticationFailed")


# --- Kustomizations


def test_yaml_that_does_not_parse_names_file_and_line(place: World, repository: tuple[Fleet, str]) -> None:
    repository[0].push({"apps/blog/staging/settings.yaml": "kind: ConfigMap\n  bad: [indent\n"})
    name = apply_one(place, repository)
    message = place.wait_not_ready("Kustomization", name, "BuildFailed")
    assert "settings.yaml" in message
    assert "2" in message


def test_a_path_that_does_not_exist_is_named(place: World, repository: tuple[Fleet, str]) -> None:
    name = apply_one(place, repository, path="./apps/nothing-here")
    message = place.wait_not_ready("Kustomization", name, "ArtifactFailed")
    assert "apps/nothing-here" in message


def test_an_object_that_the_api_refuses_is_named_and_the_rest_kept(place: World, repository: tuple[Fleet, str]) -> None:
    fleet, _ = repository
    name = apply_one(place, repository, path="./apps/blog/production", prune=True)
    place.wait("Kustomization", name, is_ready)
    bad = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: Not_A_Name\ndata: {}\n"
    overlay = (fleet.work / "apps/blog/production/kustomization.yaml").read_text()
    fleet.push(
        {
            "apps/blog/production/bad.yaml": bad,
            "apps/blog/production/kustomization.yaml": overlay.replace("- settings.yaml", "- settings.yaml\n- bad.yaml"),
        }
    )
    place.kube.patch("GitRepository", place.namespace, name, {"metadata": {"annotations": {"reconcile.fluxcd.io/requestedAt": "2"}}})
    message = place.wait_not_ready("Kustomization", name, "ReconciliationFailed")
    assert "Not_A_Name" in message
    assert place.greeting(app="blog") == "hello"


def test_a_suspended_object_waits(place: World, repository: tuple[Fleet, str]) -> None:
    name = apply_one(place, repository, suspend=True)
    place.kube.patch("GitRepository", place.namespace, name, {"metadata": {"annotations": {"reconcile.fluxcd.io/requestedAt": "3"}}})
    place.wait("GitRepository", name, lambda seen: seen["status"].get("lastHandledReconcileAt") == "3")
    seen = place.kube.get("Kustomization", place.namespace, name)
    assert seen is not None
    assert "lastAppliedRevision" not in seen.get("status", {})
    place.kube.patch("Kustomization", place.namespace, name, {"spec": {"suspend": False}})
    place.wait("Kustomization", name, is_ready)


def test_a_field_that_is_not_carried_out_is_refused_by_name(place: World, repository: tuple[Fleet, str]) -> None:
    name = apply_one(place, repository, decryption={"provider": "sops"})
    seen = place.wait("Kustomization", name, lambda seen: condition(seen, "Stalled").get("status") == "True")
    assert "spec.decryption" in condition(seen)["message"]
    assert condition(seen)["status"] == "False"
    assert "inventory" not in seen["status"]


# --- Slack


def test_slack_that_says_429_then_500_gets_the_message_in_the_end(place: World) -> None:
    place.slack.order(Ordered(status=429, retry_after=1), Ordered(status=500))
    before = place.slack.attempts
    commit = place.greet("in spite of errors")
    place.hook(commit)
    place.slack.wait_about("shop-production", commit[:7], seconds=30)
    assert place.slack.attempts >= before + 3


def test_slack_that_never_answers_holds_nothing_up(place: World) -> None:
    place.slack.order(*[Ordered(status=0, hang=3)] * 2)
    commit = place.greet("Slack sleeps")
    place.hook(commit)
    assert place.wait_greeting("Slack sleeps") < 5
    another = place.greet("still asleep")
    place.hook(another)
    place.wait_greeting("still asleep")
    place.slack.wait_about("shop-production", another[:7], seconds=60)
