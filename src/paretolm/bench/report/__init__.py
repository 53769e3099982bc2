"""The report: one HTML file that needs nothing else."""

from .render import render, write

__all__ = ["render", "write"]
