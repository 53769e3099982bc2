"""The command line's fixtures: a call in an empty folder, a tiny model as a directory."""

from tests.cli.conftest import elsewhere, run  # noqa: F401
