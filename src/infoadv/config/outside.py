"""What a configuration names outside itself: files, functions of the user's, and as many images as a data set has.

Looked for without running or importing anything of the user's, so that a stranger's configuration can be asked as well.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import sys
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from infoadv.config.configuration import Config
from infoadv.config.errors import suggestion
from infoadv.config.schema import PATHS, options_schema
from infoadv.registry import plugins
from infoadv.registry.source_code import bound


def problems(settings: Config, directory: Path) -> list[str]:
    """Return what a run in ``directory`` would lack: sentences that name the key, the file and the way out."""
    return [
        *missing_files(settings, directory),
        *missing_code(settings, directory),
        *missing_architectures(settings),
        *missing_images(settings, directory),
    ]


# --- Files -----------------------------------------------------------------------------------------------------------


def missing_files(settings: Config, directory: Path) -> list[str]:
    """Return what is to be said of the data sets and weights that are not there."""
    named = {
        f"datasets.{name}.{option}": (specification[option], kind)
        for name, specification in settings.datasets.items()
        for option, kind in _paths(specification["source"]).items()
        if option in specification
    }
    for name, entry in settings.values["models"].items():
        if "weights" in entry:
            named[f"models.{name}.weights"] = (entry["weights"], "file")
    if settings.networks is not None:
        named["networks"] = (settings.networks, "folder")
    found = [
        f"{key}: {path}: no such {kind} in {_shown(directory)}; put or link (ln -s) it there, or correct the path."
        for key, (path, kind) in named.items()
        if not ((directory / path).is_dir() if kind == "folder" else (directory / path).is_file())
    ]
    root = settings.data_root
    if root is not None and not (directory / root).is_dir():
        found.append(f"data_root: {root}: no such folder; correct it, or set it to null to download.")
    return found


def _paths(source: str) -> dict[str, str]:
    """Return the options of a data source that are paths, and whether of a "file" or of a "folder"."""
    properties = options_schema("data", source)["properties"]
    return {name: PATHS[schema["format"]] for name, schema in properties.items() if schema.get("format") in PATHS}


def _shown(directory: Path) -> str:
    return "the working directory" if directory == Path() else str(directory)


# --- Code ------------------------------------------------------------------------------------------------------------


def missing_code(settings: Config, directory: Path) -> list[str]:
    """Return what is to be said of the factories whose module or function is not there."""
    found = []
    for name, entry in settings.values["models"].items():
        if "factory" in entry:
            problem = _problem_of_factory(entry["factory"], directory)
            if problem:
                found.append(f"models.{name}.factory: {problem}")
    return found


def missing_architectures(settings: Config) -> list[str]:
    """Return what is to be said of the networks that torchvision, where it is installed, does not have.

    It is imported to be asked, which takes seconds: only under a configuration that names it, and by ``infoadv check`` alone.
    """
    wanted = {
        name: entry["options"]["name"]
        for name, entry in settings.values["models"].items()
        if entry.get("architecture") == "torchvision"
    }
    if wanted:
        with suppress(ImportError):
            from torchvision import models

            offered = models.list_models(module=models)
            return [
                f"models.{name}.options.name: torchvision has no classification network {given!r}; "
                f"{suggestion(given, offered)}."
                for name, given in wanted.items()
                if given not in offered
            ]
    return []


def module_file(module: str, directory: Path) -> Path | None:
    """Return the file that a job in ``directory`` runs when it imports ``module``, None where that is no Python source.

    Raises ``LookupError`` where there is no such module.
    """
    importlib.invalidate_caches()
    # As `python -m infoadv` searches, which a job is started by.
    places = [str(directory.absolute()), *sys.path]
    top, *below = module.split(".")
    specification = PathFinder.find_spec(top, places)
    if specification is None:
        # Built in, or from a package that was installed to be edited.
        with suppress(ImportError, ValueError):
            specification = importlib.util.find_spec(top)
    for part in below:
        if specification is None or specification.submodule_search_locations is None:
            raise LookupError(module)
        # Found by the last part of its name alone: by its whole name the packages above would be imported.
        specification = PathFinder.find_spec(part, list(specification.submodule_search_locations))
    if specification is None:
        raise LookupError(module)
    file = Path(specification.origin or "")
    return file if file.suffix == ".py" and file.is_file() else None


def _problem_of_factory(factory: str, directory: Path) -> str:
    """Return what is wrong with a factory, "" where its module has the function or cannot tell without being run."""
    module, _, function = factory.partition(":")
    try:
        file = module_file(module, directory)
    except LookupError:
        expected = f"{module.replace('.', '/')}.py"
        return (
            f"there is no module {module!r}; put {expected} into {_shown(directory)}, install what holds it, or correct "
            "the name."
        )
    if file is None:
        return ""
    shown = file.relative_to(directory.absolute()) if file.is_relative_to(directory.absolute()) else file
    try:
        tree = ast.parse(file.read_bytes())
    except SyntaxError as error:
        line = f"line {error.lineno}: " if error.lineno else ""
        return f"{shown}: {line}not Python ({error.msg}); correct it."
    except (OSError, ValueError, RecursionError, MemoryError) as error:
        return f"{shown}: cannot be read as Python ({type(error).__name__}); correct it."
    names = set(bound(tree))
    if function in names or not {"*", "__getattr__"}.isdisjoint(names):
        return ""
    offered = [node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    return f"{shown} has no function {function!r}; {suggestion(function, offered)}."


# --- Images ----------------------------------------------------------------------------------------------------------


def missing_images(settings: Config, directory: Path) -> list[str]:
    """Return what is to be said of data sets with fewer test images than are to be attacked."""
    found = []
    for name in dict.fromkeys(run.dataset for run in [*settings.runs, *settings.flow_runs()]):
        specification = settings.datasets[name]
        # A literal: how many there are, the option that says so, or the option that names a folder of pictures or an .npz whose
        # y_test has them.
        said = plugins.literals("data", "TEST_IMAGES").get(specification["source"])
        option = said if isinstance(said, str) else None
        count = said if option is None else specification.get(option)
        if isinstance(count, str):
            path, option = directory / count, None
            count = _pictures(path, specification) if path.is_dir() else _length(path, "y_test")
        first = settings.first_images[name]
        if count is not None and first + settings.images > count:
            raised = f", or raise datasets.{name}.{option}" if option else ""
            start = f" from place {first:,} on" if first else ""
            found.append(
                f"images: {settings.images:,} are to be attacked{start}, datasets.{name} has {count:,} test images; "
                f"ask for fewer (what a network misclassifies is not attacked){raised}."
            )
    return found


def _pictures(path: Path, specification: Mapping[str, Any]) -> int | None:
    """Return how many pictures of a folder are to test with, None where the stage that reads it has more to say."""
    from infoadv.data import DataError, image_folder

    split = {option: specification[option] for option in ("test", "split_seed") if option in specification}
    try:
        return image_folder.pictures_to_test(path, **split)
    except DataError:
        return None


def _length(path: Path, array: str) -> int | None:
    """Return the length of one array of an .npz from its header, None where the stage that reads it has more to say."""
    import numpy as np

    try:
        with zipfile.ZipFile(path) as archive, archive.open(f"{array}.npy") as member:
            version = np.lib.format.read_magic(member)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, _, _ = read(member)
            return shape[0]
    except Exception:
        # Whatever zipfile and numpy raise: a broken file is refused by the job that reads all of it, in its own words.
        return None
