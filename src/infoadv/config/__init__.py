"""The configuration: read, checked, completed, and turned into the list of what runs.

Imports no torch, because every cluster job parses the Snakefile, and the Snakefile starts here. The structure is checked
first, then options against what the file that offers a method or metric declares, then names against each other. What is
named outside the file (data, weights, functions) is another question: :mod:`infoadv.config.outside`.
"""

from infoadv.config.attacks import PlannedAttack
from infoadv.config.configuration import Config, load
from infoadv.config.errors import ConfigError
from infoadv.config.offered import fetchable, stage_inputs
from infoadv.config.reading import read
from infoadv.config.runs import Run, matching, transferable
from infoadv.config.schema import common_options, options_schema, structure_schema

__all__ = [
    "Config",
    "ConfigError",
    "PlannedAttack",
    "Run",
    "common_options",
    "fetchable",
    "load",
    "matching",
    "options_schema",
    "read",
    "stage_inputs",
    "structure_schema",
    "transferable",
]
