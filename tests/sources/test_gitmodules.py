"""What is read of .gitmodules is what Git itself reads of it."""

import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.sources.gitmodules import BadModules, Module, module_url, read_modules

USUAL = """
# made by git submodule add
[submodule "vendor/lib"]
\tpath = vendor/lib
\turl = ../lib.git
\tbranch = main
[submodule "a \\"quoted\\" one"] path = "with blank" ; behind
  URL = https://example.com/"o r g"/x.git # words
[core] path = not/a/module
[submodule.old]
path = old
"""


def git_reads(text: str, folder: Path) -> dict[str, str] | None:
    """The paths and addresses that Git reads; None where it refuses the file."""
    (folder / "modules").write_bytes(text.encode())
    done = subprocess.run(("git", "config", "-z", "-f", str(folder / "modules"), "--list"), capture_output=True, cwd=folder)
    if done.returncode:
        return None
    found: dict[str, dict[str, str]] = {}
    for entry in done.stdout.decode().split("\0")[:-1]:
        name, _, value = entry.partition("\n")
        section, _, rest = name.partition(".")
        module, _, key = rest.rpartition(".")
        if section == "submodule" and module:
            found.setdefault(module, {})[key] = value
    return {each["path"]: each.get("url", "") for each in found.values() if each.get("path")}


def test_the_usual_forms(tmp_path):
    assert read_modules(USUAL) == (
        Module(path="vendor/lib", url="../lib.git"),
        Module(path="with blank", url="https://example.com/o r g/x.git"),
        Module(path="old", url=""),
    )
    assert {each.path: each.url for each in read_modules(USUAL)} == git_reads(USUAL, tmp_path)


PIECES = [
    "[submodule",
    ' "',
    "a",
    "b c",
    '"]',
    "]",
    "\n",
    "path",
    "url",
    "=",
    " = ",
    '"',
    "\\",
    "\\\\",
    "#x",
    ";",
    "\t",
    "x/y",
    "[core]",
    ".",
]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lines=st.lists(st.lists(st.sampled_from(PIECES), max_size=7).map("".join), max_size=4))
def test_any_text_is_read_as_git_reads_it_or_refused(lines, tmp_path):
    text = '[submodule "m"]\n\tpath = p\n' + "\n".join(lines)
    expected = git_reads(text, tmp_path)
    try:
        found = {each.path: each.url for each in read_modules(text)}
    except BadModules:
        assert expected is None, "Git reads it"
        return
    if expected is not None:
        assert found == {path.rstrip("/"): url for path, url in expected.items()}


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("../lib.git", "https://h:8443/org/lib.git"),
        ("./lib.git", "https://h:8443/org/repo.git/lib.git"),
        ("../../other/lib", "https://h:8443/other/lib"),
        ("ssh://git@other/x.git", "ssh://git@other/x.git"),
        ("git@other:org/x.git", "ssh://git@other/org/x.git"),
        ("other:x.git", "ssh://other/x.git"),
        ("https://other/x", "https://other/x"),
    ],
)
def test_addresses(url, found):
    assert module_url(url, "https://h:8443/org/repo.git/") == found


@pytest.mark.parametrize(
    "url", ["../../../x", "./a/../../x", "/srv/git/x", "file:///srv/x", "git://h/x", "ext::sh -c x", "https:///x", "", "-x"]
)
def test_addresses_that_are_refused(url):
    with pytest.raises(BadModules):
        module_url(url, "https://h/org/repo.git")
