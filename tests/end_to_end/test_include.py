"""A GitRepository that includes another one: the other one's push is live through it."""

from tests.end_to_end.fleet import Fleet
from tests.end_to_end.kubernetes import Object, is_ready
from tests.end_to_end.world import TOKEN, World


def includes(seen: Object, commit: str) -> bool:
    artifacts = (seen.get("status") or {}).get("includedArtifacts") or [{}]
    return is_ready(seen) and artifacts[0].get("revision") == f"main@sha1:{commit}"


def test_a_push_to_an_included_repository_is_live_at_once(village: World) -> None:
    village.sluice.start()
    around = Fleet(village.fleet.root, prefix="around", name="around")
    village.kube.apply(
        village.secret("hook", token=TOKEN),
        village.source("fleet"),
        village.source("around", url=f"{village.git_url}/around.git", include=[{"repository": {"name": "fleet"}, "toPath": "in/fleet"}]),
        village.kustomization("shop", "./in/fleet/apps/shop/production", source="around"),
        village.kustomization("blog", "./in/fleet/apps/blog/production", source="around"),
        village.receiver("hook", {"kind": "GitRepository", "name": "fleet"}),
    )
    village.wait_revision(around.head, ["shop", "blog"])
    before = village.wait("GitRepository", "around", lambda seen: includes(seen, village.fleet.head))  # the Kustomizations were first
    assert village.hook(village.greet("good morning")).status == 200
    took = village.wait_greeting("good morning", seconds=8)
    assert took < 8, "long before the interval of 10 minutes"
    after = village.wait("GitRepository", "around", lambda seen: includes(seen, village.fleet.head))
    assert after["status"]["artifact"]["revision"] == before["status"]["artifact"]["revision"] == f"main@sha1:{around.head}"
    assert after["status"]["artifact"]["digest"] != before["status"]["artifact"]["digest"]
    compared = [line for line in village.sluice.log() if line.get("object", "").endswith("/around") and "still" in line]
    assert (compared[-1]["run"], compared[-1]["still"]) == (1, 1), "blog is not concerned"
    assert village.failures() == []
