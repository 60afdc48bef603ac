"""Turns a table into a web page for the report: one file that asks for nothing else, with a filter for its rows."""

from __future__ import annotations

from html import escape
from string import Template

from markdown_it import MarkdownIt

_PAGE = Template("""\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>$title</title>
<style>
body { margin: 0; padding: 0 1.5rem 3rem; font: 14px/1.45 system-ui, sans-serif; color: #1e293b; background: white; }
h1 { font-size: 1.3rem; margin: 1rem 0 0.5rem; }
h2 { font-size: 1.15rem; margin: 2rem 0 0.5rem; }
h3 { font-size: 1rem; margin: 1.5rem 0 0.4rem; }
p { max-width: 65rem; }
label { display: inline-block; padding: 0.3rem 0; color: #475569; }
input { font: inherit; width: 18rem; margin: 0 0.6rem; padding: 0.15rem 0.4rem; }
table { border-collapse: collapse; margin: 0.4rem 0 1rem; font-variant-numeric: tabular-nums; }
th, td { padding: 0.2rem 1rem 0.2rem 0; text-align: left; vertical-align: top; }
th { border-bottom: 2px solid #94a3b8; background: white; position: sticky; top: 0; vertical-align: bottom; }
td { border-bottom: 1px solid #e2e8f0; }
tbody tr:hover { background: #f1f5f9; }
[hidden] { display: none; }
</style>
</head>
<body>
<h1>$title</h1>
<label>Filter rows<input type="search" placeholder="data set, model, attack"><output></output></label>
$body
<script>
"use strict";
// A row stays if it and the headings above it hold every word; a table or heading without a row goes.
const input = document.querySelector("input");
const sections = [];
let headings = [];
for (const part of document.body.children) {
  if (part.matches("h2, h3")) {
    headings = headings.filter(other => other.tagName < part.tagName).concat(part);
  } else if (part.matches("table")) {
    sections.push({ table: part, headings: headings, rows: [...part.tBodies[0].rows] });
  }
}
function filter() {
  const words = input.value.toLowerCase().split(/\\s+/);
  const kept = new Set();
  let count = 0, all = 0;
  for (const { table, headings, rows } of sections) {
    const above = headings.map(heading => heading.textContent).join(" ");
    for (const row of rows) {
      const text = (above + " " + [...row.cells].map(cell => cell.textContent).join(" ")).toLowerCase();
      row.hidden = !words.every(word => text.includes(word));
    }
    const left = rows.filter(row => !row.hidden).length;
    table.hidden = left === 0;
    if (left) headings.forEach(heading => kept.add(heading));
    count += left;
    all += rows.length;
  }
  for (const { headings } of sections) headings.forEach(heading => { heading.hidden = !kept.has(heading); });
  document.querySelector("output").textContent = count === all ? all + " rows" : count + " of " + all + " rows";
}
input.addEventListener("input", filter);
filter();
</script>
</body>
</html>
""")


def html(title: str, markdown: str) -> str:
    """Return the page of a table: the Markdown with tables that :mod:`infoadv.report.rendering` writes, as HTML.

    HTML inside the Markdown is shown, not run.
    """
    body = MarkdownIt("commonmark", {"html": False}).enable("table").render(markdown)
    return _PAGE.substitute(title=escape(title), body=body)
