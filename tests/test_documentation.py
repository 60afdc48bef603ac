"""The documentation: it builds without a warning, its links lead somewhere, its code runs, its numbers are the tables'."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from calendar import month_name
from html.parser import HTMLParser
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from urllib.parse import unquote, urlsplit

import numpy as np
import pytest
from PIL import Image

import infoadv
from helpers import ROOT, shared

EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


def code_of_readme():
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.S)
    return code


def run(arguments, folder):
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src"), "MPLBACKEND": "Agg", "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


class Page(HTMLParser):
    """What one page of the site loads, links to, and can be linked to at."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.loaded, self.links, self.anchors = set(), set(), {""}
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        known = dict(attrs)
        self.anchors |= {known[name] for name in ("id", "name") if known.get(name)}
        if tag == "a" and known.get("href"):
            self.links.add(known["href"])
        elif tag == "link" and known.get("rel") not in ("canonical", "prev", "next"):
            self.loaded.add(known.get("href"))
        elif tag in ("script", "img", "iframe", "source") and known.get("src"):
            self.loaded.add(known["src"])


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Return the folder of the site and its pages; the build fails on a warning, as in `make docs`."""
    pytest.importorskip("mkdocs")
    build = ["-m", "mkdocs", "build", "--strict", "--site-dir"]
    folder = shared.once(tmp_path_factory, "site", lambda folder: run([*build, str(folder)], ROOT))
    return folder, {path: Page(path) for path in folder.rglob("*.html") if path.name != "404.html"}


def test_every_attack_and_metric_has_a_page_with_a_small_picture(site):
    folder, _ = site
    pictures = []
    for room, names in (("attacks", infoadv.attacks.names()), ("metrics", infoadv.metrics.names())):
        for name in names:
            assert (folder / room / f"{name}.html").is_file(), f"{room}/{name}: no page"
            picture = ROOT / "docs" / "pictures" / room / f"{name}.png"
            assert picture.is_file(), f"{picture}: missing; draw it: python docs/pictures.py {name}"
            pictures.append(picture.stat().st_size)
    assert max(pictures) < 60_000
    assert sum(pictures) < 1_000_000


def test_internal_links_resolve(site):
    _, pages = site
    for path, page in pages.items():
        for link in page.links | page.loaded:
            address = urlsplit(link)
            if address.scheme:
                continue
            target = (path.parent / unquote(address.path)).resolve() if address.path else path
            assert target.is_file(), f"{path.name}: {link}"
            if target in pages:
                assert unquote(address.fragment) in pages[target].anchors, f"{path.name}: {link}"


def test_pages_load_nothing_from_elsewhere(site):
    for path, page in site[1].items():
        assert not [link for link in page.loaded if re.match(r"(https?:)?//", link)], path.name


def test_every_page_is_reached_from_the_home_page(site):
    folder, pages = site
    seen, waiting = set(), [folder / "index.html"]
    while waiting:
        path = waiting.pop()
        if path not in seen:
            seen.add(path)
            links = (urlsplit(link) for link in pages[path].links)
            reached = {(path.parent / unquote(link.path)).resolve() for link in links if link.path and not link.scheme}
            waiting += [target for target in reached if target in pages]
    assert seen == set(pages)


def test_the_script_of_the_readme_runs_as_written(tmp_path):
    code = code_of_readme()
    assert len(code.splitlines()) <= 12
    (tmp_path / "script.py").write_text(code, encoding="utf-8")
    printed = re.fullmatch(r"16 of 16 succeed, SSIM (0\.\d+)\n", run(["script.py"], tmp_path))
    assert printed
    assert float(printed[1]) > 0.9


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_short_and_runs(path, tmp_path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 30
    assert run([str(path)], tmp_path)


def script(name):
    """Return a script of docs/ as a module."""
    specification = spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    module = module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_the_results_in_the_readme_are_those_of_the_tables():
    written = (ROOT / "README.md").read_text(encoding="utf-8")
    assert script("fill_readme").filled(written) == written, "run `make findings`"


def test_results_that_are_tracked_are_small(tmp_path):
    small = script("small_figures")
    for folder in ("results/reference", "results/networks", "figures/reference"):
        for path in (ROOT / folder).rglob("*.*"):
            assert path.stat().st_size <= small.LIMIT, path
    noise = np.random.default_rng(0).integers(0, 256, (800, 800, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "large.png")
    Image.fromarray(noise[:10]).save(tmp_path / "small.png")
    (tmp_path / "large.pdf").write_bytes(bytes(small.LIMIT + 1))
    kept = (tmp_path / "small.png").read_bytes()
    small.main(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["large.png", "small.png"]
    assert (tmp_path / "small.png").read_bytes() == kept
    assert (tmp_path / "large.png").stat().st_size <= small.LIMIT
    with Image.open(tmp_path / "large.png") as image:
        error = np.abs(np.asarray(image.convert("RGB"), dtype=float) - noise).mean()
    assert error < 30
    Image.fromarray(np.tile(noise, (4, 1, 1))).save(tmp_path / "huge.png")
    with pytest.raises(SystemExit, match=r"huge\.png: .* more than"):
        small.main(tmp_path)


def named(reference):
    """Return what a dotted name stands for; raise ``AttributeError`` or ``ImportError`` where it stands for nothing."""
    module, *rest = reference.split(".")
    found = import_module(module)
    for name in rest:
        module = f"{module}.{name}"
        found = getattr(found, name) if hasattr(found, name) else import_module(module)
    return found


def test_docstrings_name_what_there_is():
    for path in sorted((ROOT / "src").rglob("*.py")):
        for reference in re.findall(r":(?:mod|func|class):`(infoadv[\w.]*)`", path.read_text(encoding="utf-8")):
            assert named(reference) is not None, f"{path.name}: {reference}"


def test_links_between_files_of_the_repository_resolve():
    for path in (ROOT / "README.md", ROOT / "config" / "README.md", *(ROOT / "docs").glob("*.md")):
        for link in re.findall(r"\]\(([^)\s#]+)", path.read_text(encoding="utf-8")):
            if not urlsplit(link).scheme and not path.name.endswith(".template.md"):
                assert (path.parent / link).exists(), f"{path.name}: {link}"


def test_every_paper_that_is_named_is_listed():
    listed = (ROOT / "docs/papers.md").read_text(encoding="utf-8")
    # An author, others or none, and a year: "Hsu, Chen and Yu (2020". A date is no paper, an abbreviation no author.
    named = re.compile(r"([A-Z][a-z][\w-]*)(?:(?:, [A-Z][\w-]+)* and [A-Z][\w-]+| et al\.)? \(?((?:19|20)\d\d)\b")
    files = [*ROOT.glob("src/**/*.py"), *ROOT.glob("docs/*.md"), *ROOT.glob("config/*.*"), ROOT / "README.md"]
    texts = [" ".join(file.read_text(encoding="utf-8").split()) for file in files]
    found = {pair for text in texts for pair in named.findall(text) if pair[0] not in month_name}
    missing = [pair for pair in found if not re.search(rf"\b{pair[0]}\b.* {pair[1]}\b", listed)]
    assert len(found) > 60
    assert not missing
