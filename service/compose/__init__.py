"""Builds every room, wires them together, runs them and drains them. The only place that constructs."""

from service.compose.running import CannotStart
from service.compose.serving import serve

__all__ = ["CannotStart", "serve"]
