"""`sluice build`: kustomize's output, one clear line for what does not build, and a quick start."""

import subprocess
import sys
from pathlib import Path

import pytest

from service.cli import main

CASES = Path(__file__).parent.parent / "kustomize" / "cases"


def test_build_prints_what_kustomize_prints(capsys: pytest.CaptureFixture[str]) -> None:
    case = CASES / "shop-prod"
    assert main(["build", str(case / "input/overlays/prod")]) == 0
    assert capsys.readouterr() == ((case / "expected.yaml").read_text(), "")


def test_build_writes_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    case = CASES / "yaml-oddities"
    assert main(["build", str(case / "input"), "-o", str(tmp_path / "out.yaml")]) == 0
    assert (tmp_path / "out.yaml").read_text() == (case / "expected.yaml").read_text()
    assert capsys.readouterr() == ("", "")


def test_build_says_in_one_line_what_is_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["build", str(CASES / "error-unknown-field/input/o")]) == 1
    output, error = capsys.readouterr()
    assert output == ""
    assert error.count("\n") == 1
    assert error.startswith("error: ")
    assert "b/kustomization.yaml:3: " in error
    assert 'unknown field "resource"' in error


def test_build_of_nothing_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["build", str(tmp_path / "nope")]) == 1
    assert main(["build", str(tmp_path)]) == 1
    assert "unable to find one of" in capsys.readouterr().err


def test_load_restrictor_is_lifted_by_the_flag(capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(CASES / "file-outside-root-allowed/input/o")
    assert main(["build", folder]) == 1
    assert "security" in capsys.readouterr().err
    assert main(["build", "--load-restrictor", "LoadRestrictionsNone", folder]) == 0


def test_reads_lists_what_the_build_depends_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "kustomization.yaml").write_text("configMapGenerator: [{name: a, files: [f]}]\n")
    (tmp_path / "f").write_text("x")
    assert main(["build", "--reads", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert f"file {tmp_path}/f" in lines
    assert f"kind {tmp_path}/Kustomization" in lines


def test_engine_imports_neither_aiohttp_nor_a_kubernetes_client() -> None:
    heavy = ("aiohttp", "kubernetes_asyncio", "asyncio")
    check = f"import sys, service.kustomize.build; print([name for name in {heavy} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
