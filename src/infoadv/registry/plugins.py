"""Finds what there is to choose from (attacks, metrics, architectures, ...) without importing it.

Each is one file in one folder: of this package, or of a folder of the user's that the configuration names under ``plugins``.
The file names what it offers in a literal ``SCHEMA``: a mapping from the name used in the configuration to what the signature
of the function of that name does not say of its options (:mod:`infoadv.registry.signatures`). Reading both with :mod:`ast`
keeps torch out of the Snakefile, which every cluster job parses again, and makes adding one a matter of adding one file.
"""

from __future__ import annotations

import ast
import difflib
import hashlib
import importlib
import os
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from infoadv.execution.errors import InfoadvError
from infoadv.registry import signatures
from infoadv.registry.source_code import (
    PACKAGE,
    bound,
    code,
    function_of,
    import_from_working_directory,
    origin,
    shown,
    tree,
)

#: Environment variable with the user's plugin folders, separated as in PATH: jobs of the workflow know them by it.
VARIABLE = "INFOADV_PLUGINS"
#: How the function of a file is called, by the folder that the file lies in; its further keyword arguments are options.
SIGNATURES = {
    "attacks": "(model, images, labels, *, targets=None, indices=None, seed=0)",
    "metrics": "(clean, adversarial, *, context)",
    "models": "(shape, classes)",
    "data": "(root)",
    "training": "(model, images, labels, *, smoothing, generator)",
    "tables": "(inputs, specification)",
    "figures": "(inputs, specification)",
}
#: What a stage passes to every function of a folder: no options.
PASSED = {
    "attacks": ("indices", "seed", "targets"),
    "metrics": ("context",),
    "training": ("smoothing", "generator", "teacher"),
}
#: Where the package keeps what a plugin folder has in a folder of the same name.
_ROOMS = {"tables": "report/tables", "figures": "report/figures"}
#: What a metric has to say of each of its columns, in a literal ``ABOUT`` (:mod:`infoadv.metrics`).
_ABOUT_METRIC = {"label", "better", "group", "description"}
#: The function of a file that is named by the file and not by a literal.
_FUNCTIONS = {"tables": "build", "figures": "draw"}


# --- Plugin folders --------------------------------------------------------------------------------------------------


def use(folders: Iterable[str | Path]) -> None:
    """Take ``folders`` as the user's plugin folders, in this process and those that it starts; their files are code.

    Each has folders like those of this package: ``attacks``, ``metrics``, ``models``, ``data``, ``training``, ``tables``,
    ``figures``. Nothing in them is run before it is asked for by name.

    Raises
    ------
    InfoadvError
        A folder is none, a file in it does not offer what its folder asks for, or a name is there already; the message names
        file and line.
    """
    before = os.environ.get(VARIABLE)
    places = [Path(folder).absolute() for folder in folders]
    try:
        os.environ[VARIABLE] = os.pathsep.join(map(str, places))
        for place in places:
            _check_folder(place)
        for folder in SIGNATURES:
            _offered(folder)
    except InfoadvError:
        os.environ.pop(VARIABLE)
        if before is not None:
            os.environ[VARIABLE] = before
        raise


def folders() -> tuple[Path, ...]:
    """Return the user's plugin folders. Raises ``InfoadvError`` where one that the environment names is not there."""
    found = tuple(Path(part).absolute() for part in os.environ.get(VARIABLE, "").split(os.pathsep) if part)
    for place in found:
        if not place.is_dir():
            raise InfoadvError(f"{VARIABLE}: {place}: no such folder; correct or unset the variable.")
    return found


def place_of(folder: str, base: Path) -> Path:
    """Return where the package, or a plugin folder, keeps the files of ``folder``."""
    return base / (_ROOMS.get(folder, folder) if base == PACKAGE else folder)


def _check_folder(place: Path) -> None:
    """Raise ``InfoadvError`` unless ``place`` is a plugin folder all of whose files can be used; runs none of them."""
    if os.pathsep in str(place):
        raise InfoadvError(f"{place}: holds {os.pathsep!r}, which separates plugin folders; rename it.")
    if not place.is_dir():
        raise InfoadvError(f"{shown(place)}: no such folder; make it with `infoadv new`, or correct the name.")
    if not any((place / folder).is_dir() for folder in SIGNATURES):
        raise InfoadvError(f"{shown(place)}: has none of the folders {', '.join(SIGNATURES)}; see docs/extending.md.")
    for folder in SIGNATURES:
        for path in sorted((place / folder).glob("*.py")):
            for part in code(path, without=(PACKAGE,)):
                tree(part)
            if not path.name.startswith("_"):
                _check_file(path, folder)


def _check_file(path: Path, folder: str) -> None:
    """Raise ``InfoadvError`` unless a file of the user's offers what its folder asks for."""
    if not (path.stem.isidentifier() and path.stem[0].islower()):
        raise InfoadvError(f"{shown(path)}: name it by letters, digits and '_', beginning with a lower-case letter.")
    declared = literal(path, "SCHEMA")
    for name, options in declared.items():
        _check_options(path, name, options)
    if folder in _FUNCTIONS:
        _check_function(path, folder, _FUNCTIONS[folder])
        other = next((name for name in declared if name != path.stem), None)
        if other is not None:
            raise InfoadvError(f"{shown(path)}: SCHEMA: {other!r} is not the name of the file; write {path.stem!r}.")
        return
    if not declared:
        raise InfoadvError(
            f'{shown(path)}: declares nothing; write SCHEMA = {{"{path.stem}": {{}}}}, or begin the name of a file that only '
            "helps others with '_'."
        )
    for name in declared:
        _check_function(path, folder, name)
    if folder == "metrics":
        about = literal(path, "ABOUT")
        for name in declared:
            columns = [column for column in about if column == name or column.startswith(f"{name}_")]
            said = [about[column] if isinstance(about[column], dict) else {} for column in columns]
            if not said or not all(entry.keys() >= _ABOUT_METRIC for entry in said):
                needed = ", ".join(sorted(_ABOUT_METRIC))
                raise InfoadvError(f"{shown(path)}: ABOUT has to say of {name!r}: {needed}.")


def _check_options(path: Path, name: str, options: Any) -> None:
    """Raise ``InfoadvError`` unless what ``SCHEMA`` says of ``name`` is a mapping from options to JSON schemas."""
    import jsonschema

    if not isinstance(options, dict) or not all(isinstance(schema, dict) for schema in options.values()):
        raise InfoadvError(f"{shown(path)}: SCHEMA: {name!r} is no mapping of options to what is said of each.")
    for option, schema in options.items():
        try:
            jsonschema.Draft202012Validator.check_schema(schema)
        except jsonschema.SchemaError as error:
            raise InfoadvError(f"{shown(path)}: SCHEMA: {name}.{option}: no JSON schema ({error.message}).") from error


def _check_function(path: Path, folder: str, name: str) -> None:
    """Raise ``InfoadvError`` unless a file has the function ``name``, called as those of its folder are."""
    function = function_of(path, name)
    if function is None:
        if {name, "*"}.isdisjoint(bound(tree(path))):
            raise InfoadvError(f"{shown(path)}: has no function {name!r}; write def {name}{SIGNATURES[folder]}.")
        # Imported or made by another function: its signature is not in this file.
        return
    (wanted,) = ast.parse(f"def {name}{SIGNATURES[folder]}: ...").body
    assert isinstance(wanted, ast.FunctionDef)
    arguments = function.args
    by_place = len(arguments.posonlyargs) + len(arguments.args)
    passed = _keywords(wanted)
    taken = {**(passed if arguments.kwarg else {}), **_keywords(function)}
    missing = [key for key in passed if key not in taken]
    bare = [key for key, default in passed.items() if default and not taken.get(key)]
    if by_place != len(wanted.args.args) and arguments.vararg is None:
        problem = f"takes {by_place} arguments by place and not {len(wanted.args.args)}"
    elif missing:
        problem = f"takes no argument {missing[0]!r}"
    elif bare:
        problem = f"has no default for {bare[0]!r}"
    else:
        return
    raise InfoadvError(
        f"{shown(path)}: line {function.lineno}: {name} {problem}; write def {name}{SIGNATURES[folder]}, options as keyword "
        "arguments with defaults."
    )


def _keywords(function: ast.FunctionDef) -> dict[str, bool]:
    """Return the keyword-only arguments of a function, and whether each has a default."""
    pairs = zip(function.args.kwonlyargs, function.args.kw_defaults, strict=True)
    return {argument.arg: default is not None for argument, default in pairs}


# --- What there is to choose from ------------------------------------------------------------------------------------


def files(folder: str) -> list[Path]:
    """Return the Python files of one folder, the package's before the user's."""
    places = [place_of(folder, base) for base in (PACKAGE, *folders())]
    return [path for place in places for path in sorted(place.glob("[a-z]*.py"))]


@cache
def _literals(paths: tuple[Path, ...], folder: str, variable: str) -> dict[str, tuple[Path, Any]]:
    found: dict[str, tuple[Path, Any]] = {}
    for path in paths:
        for name, value in literal(path, variable).items():
            if name in found:
                raise _taken(path, folder, name, found[name][0])
            found[name] = (path, value)
    return found


def _taken(path: Path, folder: str, name: str, by: Path) -> InfoadvError:
    return InfoadvError(f"{shown(path)}: {folder} already has {name!r} ({shown(by)}); choose another name.")


def _declared(folder: str, variable: str) -> dict[str, tuple[Path, Any]]:
    return _literals(tuple(files(folder)), folder, variable)


def _offered(folder: str) -> dict[str, Path]:
    """Return the file of every name that a folder offers: of its literals, of tables and figures the names of the files."""
    if folder not in _FUNCTIONS:
        return {name: path for name, (path, _) in _declared(folder, "SCHEMA").items()}
    found: dict[str, Path] = {}
    for path in files(folder):
        if path.stem in found:
            raise _taken(path, folder, path.stem, found[path.stem])
        found[path.stem] = path
    return found


def literal(path: Path, variable: str) -> dict[str, Any]:
    """Return the literal mapping that a file assigns to ``variable`` at its top, {} if it assigns none.

    Raises ``InfoadvError``, whose message names file and line, where the file is not Python or the value no literal mapping.
    """
    for node in tree(path).body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if [getattr(target, "id", None) for target in targets] == [variable]:
                where = f"{shown(path)}: line {node.lineno}: {variable}"
                try:
                    value = ast.literal_eval(node.value)
                except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError) as error:
                    raise InfoadvError(f"{where} is no literal; it is read without running the file.") from error
                if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
                    raise InfoadvError(f"{where} is no mapping of names.")
                return value
    return {}


def literals(folder: str, variable: str) -> dict[str, Any]:
    """Return the union of the literal mappings called ``variable`` in the files of a folder; none is imported."""
    return {name: value for name, (_, value) in _declared(folder, variable).items()}


def schemas(folder: str) -> dict[str, dict[str, Any]]:
    """Return, for every name that a folder offers, the JSON schema of each of its options."""
    return _schemas(tuple(files(folder)), folder)


@cache
def _schemas(paths: tuple[Path, ...], folder: str) -> dict[str, dict[str, Any]]:
    shared = literal(PACKAGE / folder / "options.py", "SHARED")
    found = {}
    for name, (path, declared) in _literals(paths, folder, "SCHEMA").items():
        function = function_of(path, name)
        found[name] = (
            dict(declared)
            if function is None
            else signatures.options(function, declared, shared, PASSED.get(folder, ()))
        )
    return found


def earlier_values(folder: str, name: str) -> dict[str, Any]:
    """Return the options that came after ``name`` itself, each with the value that a specification without it stands for."""
    return {option: schema["before"] for option, schema in schemas(folder).get(name, {}).items() if "before" in schema}


def names(folder: str) -> list[str]:
    """Return what a folder offers, sorted: the names of its literals, of tables and figures those of its files."""
    return sorted(_offered(folder))


def source_file(folder: str, name: str) -> Path:
    """Return the file that offers ``name``: a rule's input, so that editing it reruns its users alone.

    Raises ``InfoadvError`` where there is none of this name.
    """
    offered = _offered(folder)
    if name not in offered:
        near = difflib.get_close_matches(name, offered, 1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise InfoadvError(f"{folder} has no {name!r}; {hint}it has: {', '.join(sorted(offered))}.")
    return offered[name]


# --- Running them ----------------------------------------------------------------------------------------------------


def module(folder: str, name: str) -> ModuleType:
    """Import the file that offers ``name``; say on stderr that a file of the user's is run.

    Raises ``InfoadvError`` where a file of the user's cannot be imported.
    """
    path = source_file(folder, name)
    if path.is_relative_to(PACKAGE):
        return importlib.import_module(".".join(("infoadv", *path.relative_to(PACKAGE).with_suffix("").parts)))
    # A package of its own for each plugin folder: its files import each other by `from .other import ...`, and two folders
    # may have files of one name.
    base = path.parents[1]
    package = f"infoadv_plugins_{hashlib.sha256(str(base).encode()).hexdigest()[:12]}"
    key = f"{package}.{folder}.{path.stem}"
    if key in sys.modules:
        return sys.modules[key]
    if package not in sys.modules:
        sys.modules[package] = ModuleType(package)
        sys.modules[package].__path__ = [str(base)]
    print(f"running code: {path}", file=sys.stderr, flush=True)
    import_from_working_directory()
    importlib.invalidate_caches()
    try:
        return importlib.import_module(key)
    except Exception as error:
        where = origin(error) or shown(path)
        raise InfoadvError(f"{where}: cannot be imported ({type(error).__name__}: {error}).") from error


def load(folder: str, name: str) -> Any:
    """Import the file that offers ``name`` and return the function of that name."""
    function = getattr(module(folder, name), name, None)
    if function is None:
        raise InfoadvError(
            f"{source_file(folder, name)}: declares {name!r} in SCHEMA and has no function of that name."
        )
    return function
