"""A real Gitea sends its own webhook to the service; nothing of ours stands between. Needs the real Gitea; the cluster is the embedded one,
and a real kube-apiserver where there is one."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.fleet import git
from tests.end_to_end.world import TOKEN, World
from tests.peers.gitea import USER, Gitea

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def gitea(peers: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gitea]:
    peers.need("gitea")
    with Gitea(tmp_path_factory.mktemp("gitea")) as host:
        yield host


def test_gitea_own_webhook_makes_a_push_live(town: World, gitea: Gitea) -> None:
    name = town.namespace
    push_to = gitea.make_repository(name)
    git("push", "-q", push_to, "HEAD:refs/heads/main", cwd=town.fleet.work)
    town.sluice.start()
    town.kube.apply(
        *town.objects(),
        town.secret("git", username=USER, password=gitea.password),
        town.source("fleet", url=f"{gitea.url}/{USER}/{name}.git", secretRef={"name": "git"}),
    )
    town.wait_revision(town.fleet.head)
    gitea.add_hook(name, url=f"http://127.0.0.1:{town.sluice.ports['listen']}{town.hook_path()}", secret=TOKEN)

    commit = town.greet("from Gitea", subject="Sent by Gitea itself")
    git("push", "-q", push_to, "HEAD:refs/heads/main", cwd=town.fleet.work)

    town.wait_greeting("from Gitea")
    town.wait_revision(commit, ["shop-production"])
    town.slack.wait_about("shop-production", commit[:7])
    assert town.failures() == []


def test_a_wrong_secret_at_gitea_changes_nothing(town: World, gitea: Gitea, tmp_path: Path) -> None:
    name = town.namespace
    push_to = gitea.make_repository(name)
    git("push", "-q", push_to, "HEAD:refs/heads/main", cwd=town.fleet.work)
    town.sluice.start()
    private = town.source("fleet", url=f"{gitea.url}/{USER}/{name}.git", secretRef={"name": "git"})
    town.kube.apply(*town.objects(), town.secret("git", username=USER, password=gitea.password), private)
    first = town.fleet.head
    town.wait_revision(first)
    hook = gitea.add_hook(name, url=f"http://127.0.0.1:{town.sluice.ports['listen']}{town.hook_path()}", secret="another")
    town.greet("unheard")
    git("push", "-q", push_to, "HEAD:refs/heads/main", cwd=town.fleet.work)
    town.sluice.wait_log(lambda lines: any("signature" in str(line).lower() for line in lines))
    assert hook
    assert town.greeting() == "hello"
    town.wait_revision(first)
