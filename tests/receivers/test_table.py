"""The table of senders, the files beside it, the recordings, the CRD and the guide say the same."""

from pathlib import Path

import pytest

import receivers
from receivers import RECEIVERS
from receivers.guide import guide_of, render
from service.kinds.crd import KINDS, definition
from service.kinds.notification import FLUX_RECEIVER_TYPES, OWN_RECEIVER_TYPES

SHARED = {"__init__", "contract", "signature", "payload", "record", "commits", "images", "cloudevent", "guide", "jwt", "rsa", "snsmessage"}
FOLDER = Path(str(receivers.__file__)).parent


def module(type_: str) -> str:
    return type_.replace("-", "_")


def test_table_and_files_and_recordings_agree() -> None:
    files = {path.stem for path in FOLDER.glob("*.py")} - SHARED
    recorded = {path.name for path in Path(__file__).parent.iterdir() if path.is_dir() and any(path.glob("*/body"))}
    assert {module(type_) for type_ in RECEIVERS} == files == recorded
    assert all(sender.type == name for name, sender in RECEIVERS.items())
    assert all(sender.read.__module__ == f"receivers.{module(name)}" for name, sender in RECEIVERS.items())
    assert list(RECEIVERS) == sorted(RECEIVERS, key=module)


def test_the_crd_names_each_type_of_the_table() -> None:
    (kind,) = (kind for kind in KINDS if kind.kind == "Receiver")
    schema = definition(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    enum = schema["properties"]["spec"]["properties"]["type"]["enum"]
    assert set(enum) == set(FLUX_RECEIVER_TYPES) | set(OWN_RECEIVER_TYPES)
    assert set(enum) == set(RECEIVERS)


def test_the_guide_is_what_the_modules_say() -> None:
    assert (FOLDER.parent / "docs/receivers.md").read_text() == render()


@pytest.mark.parametrize("type_", RECEIVERS)
def test_each_sender_says_how_it_is_set_up_and_what_proves_it(type_: str) -> None:
    guide = guide_of(RECEIVERS[type_])
    assert "https://" in guide.tells
    assert guide.setup.startswith("Set up")


@pytest.mark.parametrize("path", [path for path in FOLDER.glob("*.py") if path.stem not in SHARED], ids=lambda path: path.stem)
def test_a_sender_is_small_and_pure(path: Path) -> None:
    text = path.read_text()
    assert len([line for line in text.splitlines() if line.strip()]) <= 150
    assert not any(f"import {name}" in text for name in ("os", "time", "socket", "logging", "asyncio", "urllib.request"))


def test_secrets_stay_out_of_reprs() -> None:
    from receivers.contract import Credentials, Delivery

    assert "hunter2" not in repr(Credentials(token=b"hunter2"))
    assert "hunter2" not in repr(Delivery(headers={"authorization": "hunter2"}, body=b"hunter2"))
