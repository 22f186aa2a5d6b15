"""The CEL library (https://github.com/hardbyte/python-common-expression-language) without its command line.

Its package imports that too, with a terminal toolkit: 250 ms and 20 MiB in every process, for what nobody here calls.
"""

import sys
from types import ModuleType

sys.modules.setdefault("cel.cli", ModuleType("cel.cli"))

import cel  # noqa: E402 - after the line that it is about

__all__ = ["cel"]
