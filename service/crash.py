"""Named crash points: a test kills the process at an exact step of the flow and looks at what is left.

`SLUICE_CRASH_AT=run.opened` kills at the first pass of that point, `run.opened:3` at the third. Without the variable a point costs one
comparison. SIGKILL, because what is to be proven is that nothing depends on a clean exit.
"""

import os
import signal
from collections.abc import Iterator
from itertools import count

_NAME, _, _NTH = os.environ.get("SLUICE_CRASH_AT", "").partition(":")
_passes: Iterator[int] = count(1)


def point(name: str) -> None:
    """Die here if the environment says so."""
    if _NAME and name == _NAME and next(_passes) >= int(_NTH or 1):
        os.kill(os.getpid(), signal.SIGKILL)
