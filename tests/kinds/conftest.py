"""Lets the tests of this folder import kinds_samples.py, which is no package (tests have no __init__.py)."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
