"""The table of senders, the files beside it and the recordings say the same."""

from pathlib import Path

import receivers
from receivers import RECEIVERS

SHARED = {"__init__", "contract", "signature", "payload", "record"}


def test_table_and_files_and_recordings_agree() -> None:
    folder = Path(str(receivers.__file__)).parent
    files = {path.stem for path in folder.glob("*.py")} - SHARED
    recorded = {path.name for path in Path(__file__).parent.iterdir() if path.is_dir() and any(path.glob("*/body"))}
    assert set(RECEIVERS) == files == recorded
    assert all(sender.type == name for name, sender in RECEIVERS.items())


def test_secrets_stay_out_of_reprs() -> None:
    from receivers.contract import Credentials, Delivery

    assert "hunter2" not in repr(Credentials(token=b"hunter2"))
    assert "hunter2" not in repr(Delivery(headers={"authorization": "hunter2"}, body=b"hunter2"))
