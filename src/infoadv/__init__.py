"""A reproducible benchmark of information-theoretic adversarial examples."""

from infoadv.execution.errors import InfoadvError
from infoadv.execution.version import __version__

__all__ = ["InfoadvError", "__version__"]
