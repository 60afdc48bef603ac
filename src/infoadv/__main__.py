"""``python -m infoadv``: the command line, run from the code that this interpreter finds first."""

from __future__ import annotations

import gc
import sys

from infoadv.cli import main

if __name__ == "__main__":
    status = main()
    # The process ends: to look through all that was imported for cycles would take half a second after torch.
    gc.freeze()
    sys.exit(status)
