"""Fills the section Results of README.md from the tables: `make findings`."""

from __future__ import annotations

from pathlib import Path

from infoadv.report.findings import render

ROOT = Path(__file__).parent.parent
START, END = "<!-- results -->", "<!-- end of results -->"


def filled(readme: str) -> str:
    """Return the README with what the tables say between its two markers."""
    before, start, rest = readme.partition(START)
    _, end, after = rest.partition(END)
    if not (start and end):
        raise SystemExit(f"README.md: lacks {START} or {END}; put both back.")
    return (
        f"{before}{START}\n{render(ROOT / 'docs' / 'results.template.md', ROOT / 'results' / 'reference')}{END}{after}"
    )


if __name__ == "__main__":
    path = ROOT / "README.md"
    path.write_text(filled(path.read_text(encoding="utf-8")), encoding="utf-8")
