"""Work of libraries that make connections themselves, in a process that can reach and read nothing it should not.

In: a function with its arguments. Out: its result, or what was refused to it. The interpreter's own audit events are asked (PEP 578),
which no library gets around by accident: each address is judged when the connection is made, after every redirect and resolution, by the
same policy as all other requests of tenants. Files are read where programs and authorities lie only, nothing is written, no program is
started. https://docs.python.org/3/library/audit_events.html
"""

import ipaddress
import os
import socket
import sys
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

from providers.contract import Busy, Misconfigured, Rejected
from service.outbound import Policy, problem_of
from service.workers import Workers, bound_memory

T = TypeVar("T")

PROCESSES = 2
IDLE = timedelta(minutes=5)
DATA_BYTES, STACK_BYTES = 256 * 1024 * 1024, 1024 * 1024
_FOLDERS = ("/usr/", "/lib/", "/lib64/", "/etc/", "/dev/null", "/dev/urandom")
_CODE = (".py", ".pyc", ".so")
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_NEVER = (
    "subprocess.", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "pty.", "syslog.", "shutil.", "os.remove", "os.rename",
    "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.chmod", "os.chown", "os.truncate", "os.listdir", "os.scandir",
)  # fmt: skip

_refusals: list[str] = []  # of the work that this process does now


class _Refused(PermissionError):
    """What a library gets to see; the words are ours."""


class Confined:
    """A few processes for each library, started when they are needed first; one that overruns is ended, and all when they are idle."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._workers: dict[str, Workers] = {}

    async def run(self, function: Callable[..., T], *args: object, timeout: timedelta) -> T:
        """Return `function(*args)`. Raises Misconfigured, Busy, and the Rejected or Busy that the function raises."""
        workers = self._workers.setdefault(function.__module__, Workers(PROCESSES, idle=IDLE))
        try:
            found: tuple[T | Exception, tuple[str, ...]] = await workers.run(_run, self._policy, function, args, timeout=timeout)
        except TimeoutError as error:
            raise Busy(f"no answer within {timeout.total_seconds():g} s") from error
        except ChildProcessError as error:
            raise Busy("the process that was to send it has died") from error
        result, refusals = found
        if isinstance(result, Exception):
            raise Misconfigured(f"refused: {'; '.join(refusals)}") if refusals else result
        return result

    async def close(self) -> None:
        """End the processes."""
        for workers in self._workers.values():
            await workers.close()


def _run(policy: Policy, function: Callable[..., T], args: tuple[object, ...]) -> tuple[T | Exception, tuple[str, ...]]:
    """In the process. What fails because something was refused to it is told as that, whatever the library made of it."""
    _confine(policy)
    _refusals.clear()
    try:
        result: T | Exception = function(*args)
    except TimeoutError:
        raise
    except _Refused as error:
        result = Misconfigured(f"refused: {error}")
    except (Rejected, Busy) as error:
        result = error
    except Exception as error:  # noqa: BLE001 - a library may raise anything, also what does not pickle; its words may hold secrets
        result = Busy(f"the library failed: {type(error).__name__}")
    return result, tuple(dict.fromkeys(_refusals))[:3]


def _confine(policy: Policy) -> None:
    """Once for a process: an audit hook cannot be taken away."""
    if getattr(sys, "_sluice_confined", False):
        return
    sys._sluice_confined = True  # type: ignore[attr-defined]  # must outlive a second import of this module
    sys.dont_write_bytecode = True
    roots = (sys.prefix, sys.base_prefix, *(each for each in sys.path if each.endswith("-packages")))
    folders = (*_FOLDERS, *(f"{os.path.realpath(each)}/" for each in roots))

    def hook(event: str, args: tuple[object, ...]) -> None:
        problem = ""
        if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
            problem = _address_problem(args, policy)
        elif event == "open":
            problem = _file_problem(args, folders)
        elif event.startswith(_NEVER) and not (event in ("os.listdir", "os.scandir") and _is_below(args[0], folders)):
            problem = f"{event} is not for messages"
        if problem:
            if event != "open":  # libraries look for files that may be missing, such as ~/.netrc
                _refusals.append(problem)
            raise _Refused(problem)

    bound_memory(DATA_BYTES)  # what a target sends may be as long as it likes
    threading.stack_size(STACK_BYTES)  # a thread counts with all that its stack may grow to
    sys.addaudithook(hook)


def _address_problem(args: tuple[object, ...], policy: Policy) -> str:
    """Why a socket must not reach an address; other families than the two of the Internet reach programs of this machine."""
    link, address = args[0], args[1]
    if not isinstance(link, socket.socket) or link.family not in (socket.AF_INET, socket.AF_INET6):
        return "an address of this machine"
    if not isinstance(address, tuple) or len(address) < 2:
        return ""  # a connected one: `connect` has asked
    try:
        found = ipaddress.ip_address(str(address[0]).partition("%")[0])
    except ValueError:
        return "a name that was not resolved"
    problem = problem_of(found, int(address[1]), policy)
    return f"{found} is {problem}" if problem else ""


def _file_problem(args: tuple[object, ...], folders: tuple[str, ...]) -> str:
    path, flags = args[0], args[2]
    if isinstance(path, int):
        return ""
    if isinstance(flags, int) and flags & _WRITES and path != os.devnull:
        return "writing a file"
    shown = os.fsdecode(path) if isinstance(path, (str, bytes)) else ""
    return "" if shown.endswith(_CODE) or _is_below(shown, folders) else "reading a file of this machine"


def _is_below(path: object, folders: tuple[str, ...]) -> bool:
    """Whether a path, with its links and dots followed, lies where programs and authorities lie."""
    return isinstance(path, (str, bytes)) and f"{Path(os.path.realpath(os.fsdecode(path)))}/".startswith(folders)
