"""`sluice crds` prints or writes the definitions."""

import argparse
from pathlib import Path

import pytest
import yaml

from service.cli import crds
from service.kinds.crd import KINDS, definition, file_name, render


def parsed(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    crds.add_parser(parser.add_subparsers())
    return parser.parse_args(["crds", *words])


def test_prints_all_definitions(capsys: pytest.CaptureFixture[str]) -> None:
    assert crds.run(parsed()) == 0
    assert list(yaml.safe_load_all(capsys.readouterr().out)) == [definition(kind) for kind in KINDS]


def test_writes_one_file_for_each_kind(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"
    assert crds.run(parsed("--output", str(folder))) == 0
    assert {path.name: path.read_text() for path in folder.iterdir()} == {file_name(kind): render(kind) for kind in KINDS}


def test_says_what_to_do_when_it_cannot_write(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert crds.run(parsed("--output", str(tmp_path / "file"))) == 1
    assert "name a folder" in capsys.readouterr().err
