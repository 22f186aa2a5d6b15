"""Small builds, each about one rule, with what kustomize 5.8.0 made of them: recorded.json holds name, files, path, and expected or fails.

Where the binary is there, the recordings themselves are checked too (marked `real`).
"""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from service.kustomize.build import BuildError, BuildOptions, build
from service.kustomize.tree import MapTree
from service.kustomize.yamlwrite import dump

RECORDED: list[dict[str, Any]] = json.loads((Path(__file__).parent / "recorded.json").read_text())
OPTIONS = BuildOptions(sort="legacy", schema="replace", load_restrictions="root_only")
BINARY = shutil.which("kustomize") or str(Path.home() / ".cache/peers/bin/kustomize")


@pytest.mark.parametrize("row", RECORDED, ids=lambda row: row["name"])
def test_build_does_what_kustomize_did(row: dict[str, Any]) -> None:
    if "fails" in row:
        with pytest.raises(BuildError):
            build(MapTree(row["files"]), row["path"], options=OPTIONS)
    else:
        assert dump(build(MapTree(row["files"]), row["path"], options=OPTIONS).objects) == row["expected"]


@pytest.mark.real
@pytest.mark.parametrize("row", RECORDED[::40], ids=lambda row: row["name"])
def test_recording_is_what_the_binary_makes(row: dict[str, Any], tmp_path: Path) -> None:
    if not Path(BINARY).is_file():
        pytest.skip(f"no kustomize at {BINARY}")
    for path, text in row["files"].items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(text.encode())
    made = subprocess.run([BINARY, "build", str(tmp_path / row["path"])], capture_output=True, check=False)
    assert (made.returncode != 0) == ("fails" in row)
    assert made.stdout.decode() == row.get("expected", "")
