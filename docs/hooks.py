"""What MkDocs adds to the pages of docs/: a page for each attack and metric, and for each file of the repository linked to.

Attacks and metrics are found as the pipeline finds them, by reading their files, so that a new one has its page. A page of
docs/ links to a file of the repository by its relative path, which works on any page that shows the repository; on the site
the link leads to a page that shows the file.
"""

from __future__ import annotations

import ast
import posixpath
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from infoadv.registry import plugins
from infoadv.registry.source_code import function_of

# MkDocs loads this file by its path, and not its neighbours.
sys.path.insert(0, str(Path(__file__).parent))
from docstrings import object_of, page_objects, without_roles

ROOT = Path(__file__).parent.parent
#: Files of the repository that are pages of the navigation.
PAGES = {"README.md": "index.md", "config/README.md": "configuration.md", "CHANGELOG.md": "changelog.md"}
_OVERVIEWS = {
    "attacks": (
        "# Attacks\n\nAn attack takes a network, images and labels, and returns adversarial images. "
        "`infoadv.attack(model, images, labels, NAME)` runs one and rounds its images to 8 bits; "
        "`from infoadv.attacks import NAME` is the bare function. Options are keyword arguments.\n\n"
    ),
    "metrics": (
        "# Metrics\n\nA metric compares an image with its adversarial copy, and gives one value an image. "
        "`infoadv.measure(clean, adversarial, metrics=[NAME])` returns a data frame with a row an image.\n\n"
    ),
}
_BETTER = {
    "higher": "Higher is more similar.",
    "lower": "Lower is more similar.",
    "none": "It does not order images by similarity.",
}
_LANGUAGES = {".py": "python", ".yaml": "yaml", ".json": "json", ".toml": "toml", "": "text"}
_LINK = re.compile(r"(?<=\]\()(?P<path>[^)\s#:]+)(?P<rest>#[^)\s]*)?(?=\))")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are no files of docs/."""
    for origin, place in PAGES.items():
        files.append(File.generated(config, place, content=(ROOT / origin).read_text(encoding="utf-8")))
    for room in ("attacks", "metrics"):
        pages = {name: _about(room, name) for name in plugins.names(room)}
        for name, text in pages.items():
            files.append(File.generated(config, f"{room}/{name}.md", content=text))
        files.append(File.generated(config, f"{room}/index.md", content=_overview(room)))
        for section in config.nav or ():
            if isinstance(section, dict) and room in {name.lower() for name in section}:
                section[room.capitalize()] = [f"{room}/index.md", *(f"{room}/{name}.md" for name in pages)]
    waiting = [file for file in files if file.is_documentation_page()]
    while waiting:
        page = waiting.pop()
        for path in _linked(page):
            place = _place(path)
            if files.get_file_from_path(place) is None:
                shown = _shown(config, path, place)
                files.append(shown)
                waiting += [shown] if shown.is_documentation_page() else []
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Let links to files of the repository lead to their pages."""
    folder = posixpath.dirname(page.file.src_uri)

    def turned(link: re.Match[str]) -> str:
        path = _target(page.file, link["path"])
        if path is None:
            return link[0]
        return posixpath.relpath(_place(path), folder or ".") + (link["rest"] or "")

    return _LINK.sub(turned, markdown)


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Let a dotted key in a table break at its dots, and the tables of options stack on a phone: both then fit the page."""
    html = re.sub(r"(?<=<td><code>)[^<]+", lambda key: key[0].replace(".", ".<wbr>"), html)
    return f'<div class="stacked">{html}</div>' if page.file.src_uri == PAGES["config/README.md"] else html


def _origin(file: File) -> str | None:
    """Return the path of the repository that a page was made from, None for a page of an attack or a metric."""
    origins = {place: origin for origin, place in PAGES.items()}
    if file.generated_by is None:
        return f"docs/{file.src_uri}"
    return origins.get(file.src_uri) or (
        file.src_uri.removeprefix("repository/") if file.src_uri.startswith("repository/") else None
    )


def _target(file: File, link: str) -> str | None:
    """Return the path of the repository that a link of this page leads to, None for a link that MkDocs resolves itself."""
    origin = _origin(file)
    if origin is None:
        return None
    path = posixpath.normpath(posixpath.join(posixpath.dirname(origin), link))
    return path if (ROOT / path).is_file() else None


def _linked(file: File) -> Iterator[str]:
    for link in _LINK.finditer(file.content_string):
        path = _target(file, link["path"])
        if path is not None:
            yield path


def _place(path: str) -> str:
    """Return where a file of the repository is on the site."""
    if path in PAGES:
        return PAGES[path]
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    shown_as_it_is = path.endswith((".md", ".png", ".pdf", ".csv", ".svg"))
    return f"repository/{path}" if shown_as_it_is else f"repository/{path}.md"


def _shown(config: MkDocsConfig, path: str, place: str) -> File:
    if not place.endswith(".md"):
        return File.generated(config, place, abs_src_path=str(ROOT / path))
    text = (ROOT / path).read_text(encoding="utf-8")
    if not path.endswith(".md"):
        text = f"# {path}\n\n````{_LANGUAGES.get(Path(path).suffix, 'text')}\n{text}\n````\n"
    elif not text.lstrip().startswith("# "):
        text = f"# {path}\n\n{text}"
    return File.generated(config, place, content=text)


def _summary(room: str, name: str) -> str:
    """Return the first sentence of a docstring."""
    function = function_of(plugins.source_file(room, name), name)
    text = ast.get_docstring(function) if function is not None else None
    if not text:
        raise PluginError(f"{room}/{name}: its function has no docstring.")
    return without_roles(text.partition("\n\n")[0].replace("\n", " "), page_objects())


def _columns(name: str) -> dict[str, dict[str, str]]:
    """Return ``ABOUT`` of the columns that a metric fills."""
    path = plugins.source_file("metrics", name)
    own = plugins.literal(path, "ABOUT")
    return {column: about for column, about in own.items() if column == name or column.startswith(f"{name}_")}


def _picture(room: str, name: str, text: str) -> str:
    place = f"pictures/{room}/{name}.png"
    return f"![{name}: {text}](../{place})\n\n*{text}*\n\n" if (ROOT / "docs" / place).is_file() else ""


def _about(room: str, name: str) -> str:
    """Return the page of an attack or a metric."""
    return _about_attack(name) if room == "attacks" else _about_metric(name)


def _about_attack(name: str) -> str:
    picture = _picture(
        "attacks", name, "Digits and a small network. Above: clean; middle: adversarial; below: the change, x 5."
    )
    own = plugins.literal(plugins.source_file("attacks", name), "OPTIMISES").get(name, [])
    optimised = (
        f"It optimises {', '.join(f'`{metric}`' for metric in own)}: do not judge it by these.\n\n" if own else ""
    )
    return (
        f"# {name}\n\n{_summary('attacks', name)}\n\n{picture}{optimised}"
        f'```python\nresult = infoadv.attack(model, images, labels, "{name}")\n```\n\n'
        f"{_configured('attacks', name)}{_function('attacks', name)}"
    )


def _about_metric(name: str) -> str:
    picture = _picture("metrics", name, "One image with changes of the same L2 norm, and the value of each.")
    columns = "\n".join(
        f"- Column `{column}`, {about['label']}. {_BETTER[about['better']]} {about['description']}"
        for column, about in _columns(name).items()
    )
    return (
        f"# {name}\n\n{columns}\n\n{picture}"
        f'```python\nframe = infoadv.measure(clean, adversarial, metrics=["{name}"])\n```\n\n'
        f"{_configured('metrics', name)}{_function('metrics', name)}"
    )


def _configured(room: str, name: str) -> str:
    """Return where the options are listed with their bounds, if there are any."""
    if not plugins.schemas(room)[name]:
        return ""
    return f"Types and bounds of the options: [Configuration](../configuration.md#{name}).\n\n"


def _function(room: str, name: str) -> str:
    """Return the section that mkdocstrings fills from the docstring."""
    return f"::: {object_of(room, name)}\n\nPapers: [list](../papers.md).\n"


def _overview(room: str) -> str:
    """Return the page that lists the attacks or the metrics."""
    rows = [f"| [{name}]({name}.md) | {_summary(room, name)} |" for name in plugins.names(room)]
    return _OVERVIEWS[room] + "\n".join(["| name | in one sentence |", "| --- | --- |", *rows]) + "\n"
