"""spec.verify of a GitRepository, from a push to the objects: only what a trusted key has signed is applied."""

import asyncio
import base64
import subprocess
from pathlib import Path

from service.kinds.meta import SOURCE_GROUP, ObjectKey
from service.reconcile.queue import HOOK, Trigger
from tests.kustomizations.town import Object, Town, config_map, ready
from tests.sources.signers import needs_ssh_keygen, ssh_key

pytestmark = needs_ssh_keygen


def keys(town: Town, *files: Path) -> Object:
    data = {f"{file.name}.sshpub": base64.b64encode(file.with_suffix(".pub").read_bytes()).decode() for file in files}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys", "namespace": town.namespace}, "data": data}


async def signed(town: Town, text: str, key: Path) -> str:
    """Commit with a signature by git, and name the commit as a payload does; returns the revision."""
    repository, before = town.repository, town.repository.head
    tree = repository.commit({"shop/a.yaml": config_map("shop", text)}) + "^{tree}"
    parent = ("-p", before) if before else ()
    who = ("-c", "user.name=A", "-c", "user.email=a@b", "-c", "gpg.format=ssh", "-c", f"user.signingKey={key}.pub")
    command = ("git", "-C", str(town.folder / "git" / "fleet.git"), *who, "commit-tree", "-S", tree, *parent, "-m", "Signed")
    repository.head = (await asyncio.to_thread(subprocess.check_output, command, text=True)).strip()
    repository.point(repository.head)
    return told(town)


def told(town: Town) -> str:
    place = ObjectKey(group=SOURCE_GROUP, kind="GitRepository", namespace=town.namespace, name="fleet")
    town.house.sources.queue.add(place, trigger=Trigger(reason="hook", trace="pushed", hint=town.repository.head), priority=HOOK)
    return town.revision


async def test_only_what_is_signed_is_applied_also_when_a_payload_names_it(hamlet: Town, tmp_path: Path) -> None:
    key, other = ssh_key(tmp_path, "ada"), ssh_key(tmp_path, "eve")
    await hamlet.start()
    await hamlet.apply(keys(hamlet, key), hamlet.source(verify={"secretRef": {"name": "keys"}}), hamlet.kustomization("shop"))
    first = await signed(hamlet, "one", key)
    await hamlet.at(first, "shop")

    await signed(hamlet, "bad", other)
    refused = await hamlet.wait("GitRepository", "fleet", lambda seen: ready(seen).get("reason") == "InvalidCommitSignature")
    assert f"commit '{hamlet.repository.head}' failed: it is signed with the SSH key SHA256:" in ready(refused)["message"]
    hamlet.repository.commit({"shop/a.yaml": config_map("shop", "worse")})
    told(hamlet)
    await hamlet.wait("GitRepository", "fleet", lambda seen: "it is not signed" in ready(seen)["message"])
    assert refused["status"]["artifact"]["revision"] == first
    await hamlet.at(first, "shop")
    assert await hamlet.value("shop") == "one"

    await hamlet.at(await signed(hamlet, "two", key), "shop")
    assert await hamlet.value("shop") == "two"


async def test_keys_that_change_count_at_once(hamlet: Town, tmp_path: Path) -> None:
    key, other = ssh_key(tmp_path, "ada"), ssh_key(tmp_path, "eve")
    await hamlet.start()
    await hamlet.apply(keys(hamlet, other), hamlet.source(verify={"secretRef": {"name": "keys"}}), hamlet.kustomization("shop"))
    first = await signed(hamlet, "one", key)
    await hamlet.wait("GitRepository", "fleet", lambda seen: ready(seen).get("reason") == "InvalidCommitSignature")
    assert await hamlet.get("ConfigMap", "shop") is None
    await hamlet.apply(keys(hamlet, key))
    await hamlet.at(first, "shop")
    await hamlet.apply(keys(hamlet, other))
    await hamlet.wait("GitRepository", "fleet", lambda seen: ready(seen).get("status") == "False")
    await hamlet.delete("Secret", "keys")
    await hamlet.wait("GitRepository", "fleet", lambda seen: ready(seen).get("reason") == "VerificationError")
    assert await hamlet.value("shop") == "one"
