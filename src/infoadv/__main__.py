"""``python -m infoadv``: the command line, run from the code that this interpreter finds first."""

from __future__ import annotations

import sys

from infoadv.cli import main

if __name__ == "__main__":
    sys.exit(main())
