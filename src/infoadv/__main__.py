"""``python -m infoadv``: the command line, run from the code that this interpreter finds first."""

from __future__ import annotations

import gc
import sys

from infoadv.execution import forkserver

if __name__ == "__main__":
    status = forkserver.hand_over(sys.argv[1:])
    if status is None:
        from infoadv.cli import main

        status = main()
        # The process ends: to look through all that was imported for cycles would take half a second after torch.
        gc.freeze()
    sys.exit(status)
