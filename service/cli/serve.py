"""`sluice serve`: the service, until SIGTERM or SIGINT."""

import argparse
import asyncio
import logging
import os
import sys

from service import settings


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the command and its flags."""
    parser = commands.add_parser(
        "serve", help="run the service", description="Run the service. Each flag can be set in the environment too."
    )
    settings.add_arguments(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Serve; 0 after a clean stop, 1 when a room ended by itself, 2 for settings or a state folder that cannot be used."""
    try:
        chosen = settings.read(arguments)
    except settings.BadSettings as error:
        print(f"sluice serve: {error}", file=sys.stderr)
        return 2
    from service import log
    from service.compose import CannotStart, serve

    os.umask(0o077)  # what the state folder holds (clones of private repositories, events) is for this user alone
    log.configure(chosen.log_format, getattr(logging, chosen.log_level.upper()))
    try:
        code = asyncio.run(serve(chosen))
    except CannotStart as error:
        print(f"sluice serve: {error}", file=sys.stderr)
        code = 2
    except OSError as error:  # a folder or file that the start needs
        named = f"{error.filename}: " if error.filename else ""
        print(f"sluice serve: {named}{error.strerror or error}; look at the rights and the disk space there", file=sys.stderr)
        code = 2
    logging.shutdown()
    sys.stderr.flush()
    os._exit(code)  # a thread that a dead Git host holds must not hold the exit
