"""`sluice demo`: the main job on this machine, with nothing else installed."""

import argparse
import asyncio
import shutil
import sys
import tempfile
from pathlib import Path


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the command and its flags."""
    parser = commands.add_parser("demo", help="one push, from the webhook to Slack, on this machine")
    parser.add_argument("--once", action="store_true", help="exit after the first round; non-zero if any step did not happen")
    parser.add_argument("--folder", help="where everything is kept (default: a temporary folder, removed at the end)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Returns 0 when every step was seen."""
    from service.demo.show import Demo, DemoFailed

    folder = Path(arguments.folder).resolve() if arguments.folder else Path(tempfile.mkdtemp(prefix="sluice-demo-"))
    if any(folder.glob("*")):
        print(f"sluice demo: {folder} is not empty; choose another --folder", file=sys.stderr)
        return 2
    try:
        asyncio.run(Demo(folder).run(once=arguments.once))
    except BaseExceptionGroup as group:
        failed, others = group.split(DemoFailed)
        if others is not None:
            raise
        assert failed is not None
        for error in failed.exceptions:
            print(f"sluice demo: {error}", file=sys.stderr)
        return 1
    except DemoFailed as error:
        print(f"sluice demo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nended; nothing is left behind")
    finally:
        if not arguments.folder:
            shutil.rmtree(folder, ignore_errors=True)
    return 0
