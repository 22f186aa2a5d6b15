import json
import os
import random
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.sources.ignore import make_ignore

CASES = json.loads((Path(__file__).parent / "ignore" / "cases.json").read_text())


def kept(files: dict[str, str], spec_ignore: str | None) -> list[str]:
    rules = [(path.rpartition("/")[0], text) for path, text in files.items() if path.rpartition("/")[2] == ".sourceignore"]
    ignore = make_ignore(rules, spec_ignore)
    return sorted(path for path in files if not ignore.ignored(path, False))


@pytest.mark.parametrize("number", range(len(CASES)))
def test_verdicts_are_those_of_flux(number):
    case = CASES[number]
    assert kept(case["files"], case["ignore"]) == sorted(case["kept"])


def test_a_directory_left_out_takes_all_below_it_unless_taken_back():
    ignore = make_ignore([], "/*\n!/apps/staging\n")
    assert ignore.ignored("apps", True)
    assert ignore.ignored("apps/base/a.yaml", False)
    assert not ignore.ignored("apps/staging/deep/a.yaml", False)
    assert ignore.can_keep
    assert not make_ignore([], "/*\n").can_keep


def test_extras_drop_with_the_first_real_pattern():
    assert make_ignore([], None).ignored("logo.png", False)
    assert make_ignore([("a", "# words\n\n")], "  \n").ignored("logo.png", False)
    assert not make_ignore([("a", "x\n")], None).ignored("logo.png", False)
    assert make_ignore([("a", "x\n")], None).ignored("deep/.gitignore", False)


SEGMENTS = ["a", "b", "*", "a*", "?", "*.md", "[ab]", "[a-c]*", "a?c", "x.y", ".*", "**"]
NAMES = ["a", "b", "ab", "abc", "c.md", "x.y", ".h", "axc"]


def pattern(pick: random.Random) -> str:
    segments = [pick.choice(SEGMENTS[:-1])]
    while pick.random() < 0.5:
        segments.insert(0, pick.choice(SEGMENTS))
    text = "/".join(segments)
    return pick.choice(["", "", "/"]) * (segments[0] != "**") + text + pick.choice(["", "", "/"])


@pytest.mark.parametrize("seed", range(6))
def test_patterns_without_exceptions_mean_what_git_says(tmp_path, seed):
    pick = random.Random(seed)
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    paths: set[str] = set()
    for _ in range(60):
        path = "/".join(pick.choice(NAMES) for _ in range(pick.randint(1, 4)))
        if not any(path == other or path.startswith(f"{other}/") or other.startswith(f"{path}/") for other in paths):
            paths.add(path)
    for path in paths:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    for _ in range(12):
        text = "".join(f"{pattern(pick)}\n" for _ in range(pick.randint(1, 3)))
        (tmp_path / ".git" / "info" / "exclude").write_text(text)
        asked = subprocess.run(
            ["git", "check-ignore", "--stdin", "--no-index"],
            cwd=tmp_path,
            input="\n".join(sorted(paths)),
            capture_output=True,
            text=True,
            env={**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null"},
        )
        ours = {path for path in paths if make_ignore([], text).ignored(path, False)}
        assert ours == set(asked.stdout.split()), text


@given(st.text(max_size=30), st.lists(st.text(min_size=1, max_size=5).filter(lambda name: "/" not in name), min_size=1, max_size=4))
def test_any_text_gives_a_verdict(text, parts):
    ignore = make_ignore([("a", text)], text)
    path = "/".join(parts)
    if ignore.ignored(path, True) and not ignore.can_keep:
        assert ignore.ignored(f"{path}/below", False)
