"""The error that every other one derives from."""

from __future__ import annotations


class InfoadvError(Exception):
    """An error a user can act on: the command line prints it as one line and exits with status 2."""
