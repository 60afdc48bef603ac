"""Makes the figures of a folder small enough to be tracked: `make reference`.

A png above the limit gets a palette of 256 colours. A pdf above it is removed; its png stays.
"""

from __future__ import annotations

import sys
from pathlib import Path

from PIL import Image

LIMIT = 1_500_000  # bytes


def main(folder: Path) -> None:
    for path in sorted(folder.rglob("*.png")):
        if path.stat().st_size > LIMIT:
            with Image.open(path) as image:
                small = image.convert("RGB").quantize(256)
            small.save(path, optimize=True)
        if path.stat().st_size > LIMIT:
            raise SystemExit(f"{path}: {path.stat().st_size} bytes, more than {LIMIT} also with 256 colours.")
    for path in sorted(folder.rglob("*.pdf")):
        if path.stat().st_size > LIMIT:
            path.unlink()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
