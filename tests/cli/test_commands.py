"""The list of commands says of each what it says of itself, and a command imports no other."""

import argparse
import subprocess
import sys
from importlib import import_module

import pytest

from service.cli import COMMANDS, main


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_is_listed_with_its_own_words(name: str) -> None:
    commands = argparse.ArgumentParser().add_subparsers()
    import_module(f"service.cli.{name}").add_parser(commands)
    (action,) = commands._choices_actions
    assert (action.dest, action.help) == (name, COMMANDS[name])


def test_without_a_command_the_list_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    shown = capsys.readouterr().out
    assert all(name in shown for name in COMMANDS)


def test_build_imports_no_other_command() -> None:
    code = (
        "import sys; from service.cli import main\ntry: main(['build', '--help'])\nexcept SystemExit: pass\nprint('asyncio' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"
