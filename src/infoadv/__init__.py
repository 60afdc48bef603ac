"""A reproducible benchmark of information-theoretic adversarial examples.

The package holds the stages of the pipeline (see the Snakefile): data sets, target models and their training,
mutual-information estimators, attacks, metrics and the report. Every stage reads and writes artefacts
(:mod:`infoadv.artifacts`), so each can be used, replaced and checked alone.
"""

__version__ = "0.1.0"


class InfoadvError(Exception):
    """An error a user can act on: the command line prints it as one line and exits with status 2."""
