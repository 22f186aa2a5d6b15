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


def _repository(folder: Path) -> None:
    """Two commits: v1 (a tag) with one ConfigMap, then another value."""
    for index, value in enumerate(("one", "two")):
        (folder / "app").mkdir(parents=True, exist_ok=True)
        (folder / "app/kustomization.yaml").write_text(
            f"generatorOptions: {{disableNameSuffixHash: true}}\nconfigMapGenerator: [{{name: a, literals: [v={value}]}}]\n"
        )
        if index == 0:
            subprocess.run(["git", "init", "-q", "-b", "main", str(folder)], check=True)
        git = ["git", "-C", str(folder), "-c", "user.name=t", "-c", "user.email=t@t"]
        subprocess.run([*git, "add", "."], check=True)
        subprocess.run([*git, "commit", "-q", "-m", value], check=True)
        if index == 0:
            subprocess.run([*git, "tag", "v1"], check=True)


def test_build_of_a_revision_needs_no_checkout(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _repository(tmp_path)
    (tmp_path / "app/kustomization.yaml").unlink()
    for revision, value in (("v1", "one"), ("main", "two"), ("HEAD~1", "one")):
        assert main(["build", "--revision", revision, str(tmp_path / "app")]) == 0
        assert f"v: {value}\n" in capsys.readouterr().out
    assert main(["build", "--revision", "nope", str(tmp_path / "app")]) == 1
    assert "no such commit, tag or branch" in capsys.readouterr().err
    assert main(["build", "--revision", "v1", str(tmp_path)]) == 1
    assert "unable to find one of" in capsys.readouterr().err


def test_build_fetches_bases_over_git(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _repository(tmp_path / "far")
    near = tmp_path / "near"
    near.mkdir()
    commit = subprocess.run(
        ["git", "-C", str(tmp_path / "far"), "rev-parse", "v1"], check=True, capture_output=True, text=True
    ).stdout.strip()
    for query, value in (("?ref=v1", "one"), ("?ref=main", "two"), ("", "two"), (f"?ref={commit}", "one")):
        (near / "kustomization.yaml").write_text(f"namePrefix: my-\nresources: ['file://{tmp_path}/far//app{query}']\n")
        assert main(["build", str(near)]) == 0
        output = capsys.readouterr().out
        assert "name: my-a\n" in output
        assert f"v: {value}\n" in output
    assert main(["build", "--reads", str(near)]) == 0
    assert f"remote file://{tmp_path}/far//app\n" in capsys.readouterr().out
    assert main(["build", "--no-remote-bases", str(near)]) == 1
    assert "remote bases are off" in capsys.readouterr().err
    assert main(["build", f"file://{tmp_path}/far//app?ref=v1"]) == 0
    assert "v: one\n" in capsys.readouterr().out
    assert main(["build", f"file://{tmp_path}/far//app?ref=nope"]) == 1
    assert "it has no tag, branch or commit 'nope'" in capsys.readouterr().err


def test_output_to_a_folder_is_a_file_for_each_object(tmp_path: Path) -> None:
    assert main(["build", str(CASES / "namespace-rbac/input/overlay"), "-o", str(tmp_path)]) == 0
    names = {path.name for path in tmp_path.iterdir()}
    assert {"rbac.authorization.k8s.io_v1_clusterrole_a-operator.yaml", "example.com_v1_clusterthing_a-t.yaml"} < names
    assert "kind: ClusterRole\n" in (tmp_path / "rbac.authorization.k8s.io_v1_clusterrole_a-operator.yaml").read_text()


def test_explain_says_which_file_changed_which_field(capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(CASES / "shop-prod/input/overlays/prod")
    assert main(["build", "--explain", "deployment/shop", folder]) == 0
    output = capsys.readouterr().out
    assert "overlays/prod/kustomization.yaml:14: replicas[0]: spec.replicas: 1 -> 6\n" in output
    assert main(["build", "--explain", "Deployment/shop/shop", folder]) == 0
    assert capsys.readouterr().out == output
    assert main(["build", "--explain", "Deployment/nope", folder]) == 1
    assert "there are Deployment/shop/shop" in capsys.readouterr().err


def test_flags_for_foreign_code_are_refused_or_said_to_do_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(CASES / "shop-prod/input/overlays/prod")
    assert main(["build", "--enable-exec", folder]) == 1
    assert main(["build", "--enable-helm", folder]) == 1
    assert "need the Helm renderer" in capsys.readouterr().err
    assert main(["build", "--enable-alpha-plugins", "--network", "-e", "A=b", folder]) == 0
    assert capsys.readouterr().err.count("never run here") == 2


def test_command_imports_neither_aiohttp_nor_a_kubernetes_client() -> None:
    heavy = ("aiohttp", "kubernetes_asyncio", "asyncio", "pygit2", "urllib.request")
    folder = str(CASES / "shop-prod/input/overlays/prod")
    check = (
        f"import sys; from service.cli import main; main(['build', {folder!r}]); print([name for name in {heavy} if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert found.stdout.splitlines()[-1] == "[]"
