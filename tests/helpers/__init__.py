"""What several tests build on; ``ROOT`` is the folder of the repository."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
