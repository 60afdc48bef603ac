"""The configuration: read, checked, completed, and turned into the list of what runs.

Imports no torch, because every cluster job parses the Snakefile, and the Snakefile starts here. The
structure is checked against ``config.schema.json``, options against what the file that offers a
method, metric, architecture, recipe or data source declares (:mod:`infoadv.registry.plugins`), then names against each other.
"""

from __future__ import annotations

import ast
import difflib
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from infoadv.artifacts import canonical_json
from infoadv.config.flow import Study
from infoadv.config.limits import ConfigError, project_path, require_distinct, require_plain
from infoadv.registry import plugins
from infoadv.registry.source_code import tree

SCHEMA_FILE = Path(__file__).with_name("config.schema.json")

#: Bytes of the largest file that is read as a configuration.
_MAX_FILE = 1 << 20

# JSON schema takes 4.0 for an integer; the command line does not.
_Validator = jsonschema.validators.extend(
    jsonschema.Draft202012Validator,
    type_checker=jsonschema.Draft202012Validator.TYPE_CHECKER.redefine(
        "integer", lambda _, value: isinstance(value, int) and not isinstance(value, bool)
    ),
)


# --- Schemas ---------------------------------------------------------------------------------------------------------


@cache
def structure_schema() -> dict[str, Any]:
    """Return the JSON schema of everything but the options that plugins declare."""
    return json.loads(SCHEMA_FILE.read_text(encoding="utf-8"))


@cache
def common_options(folder: str) -> dict[str, Any]:
    """Return the options that every name of a folder takes: the literal ``COMMON`` of its ``__init__.py``, if any."""
    return plugins.literal(plugins.PACKAGE / folder / "__init__.py", "COMMON")


@cache
def _required_options(folder: str, name: str) -> frozenset[str]:
    """Return the options that have no default: keyword arguments without one in the function's signature, and ``like``."""
    declared = plugins.schemas(folder)[name]
    required = {"like"} & set(declared)
    for node in tree(plugins.source_file(folder, name)).body:
        if isinstance(node, ast.FunctionDef) and node.name == name:
            arguments = zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)
            required |= {argument.arg for argument, default in arguments if default is None} & set(declared)
    return frozenset(required)


def options_schema(folder: str, name: str) -> dict[str, Any]:
    """Return the JSON schema of the options of ``name``, one of what ``folder`` offers."""
    properties = {**common_options(folder), **plugins.schemas(folder)[name]}
    required = sorted(_required_options(folder, name))
    return {"type": "object", "additionalProperties": False, "required": required, "properties": properties}


# --- Errors ----------------------------------------------------------------------------------------------------------


def _shown(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 80 else text[:77] + "..."


def _suggestion(given: str, allowed: Iterable[str]) -> str:
    names = sorted(map(str, allowed))
    near = difflib.get_close_matches(str(given), names, 1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"{hint}allowed: {', '.join(names)}" if names else "nothing is allowed here"


#: What config/README.md calls the types of a JSON schema.
_KINDS = {"object": "mapping", "array": "list"}

_BOUNDS = {
    "minimum": "at least {}",
    "maximum": "at most {}",
    "exclusiveMinimum": "more than {}",
    "exclusiveMaximum": "less than {}",
    "minItems": "at least {} item(s)",
    "maxItems": "at most {} item(s)",
    "minLength": "at least {} character(s)",
    "maxLength": "at most {} character(s)",
    "minProperties": "at least {} entry",
}


def _allowed(error: jsonschema.ValidationError) -> str:
    """Return what is allowed instead of what was given, for the end of a sentence."""
    allowed, given = error.validator_value, error.instance
    kind = str(error.validator)
    if kind == "enum":
        return _suggestion(given, allowed)
    if kind == "const":
        return f"give {allowed!r}"
    if kind == "anyOf":
        # Of the alternatives, those that already fit in type say more than those that do not.
        return " or ".join(dict.fromkeys(_allowed(part) for part in error.context or ()))
    if kind == "type":
        types = [allowed] if isinstance(allowed, str) else allowed
        hint = ""
        if isinstance(given, str) and "number" in types:
            with suppress(ValueError):
                hint = f" (YAML reads this as text, write {float(given)!r})"
        if given is None and "object" in types:
            hint = " ({} is an empty one)"
        return f"give {' or '.join(_article(_KINDS.get(name, name)) for name in types)}{hint}"
    if kind == "pattern" and "$comment" in error.schema:
        return str(error.schema["$comment"])
    if kind in _BOUNDS:
        return f"give {_BOUNDS[kind].format(allowed)}"
    return error.message


def _explain(error: jsonschema.ValidationError, prefix: tuple[str, ...]) -> str:
    path = ".".join(map(str, (*prefix, *error.absolute_path)))
    given = error.instance
    if error.validator == "pattern" and "propertyNames" in error.absolute_schema_path:
        return (
            f"{path or 'names'}: {given!r} is not allowed; use letters, digits, '_', '.' and '-', beginning with a "
            "letter or digit"
        )
    if error.validator == "additionalProperties":
        known = error.schema.get("properties", {})
        unknown = next(str(key) for key in given if key not in known)
        return f"{'.'.join(filter(None, (path, unknown)))}: unknown key; {_suggestion(unknown, known)}"
    if error.validator == "required":
        missing = next(key for key in error.validator_value if key not in given)
        return f"{path or 'the configuration'}: lacks the key {missing!r}"
    return f"{path or 'the configuration'}: {_shown(given)} is not allowed; {_allowed(error)}"


def _article(noun: str) -> str:
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"


def _check(value: Any, schema: dict[str, Any], prefix: tuple[str, ...] = ()) -> None:
    errors = sorted(
        _Validator(schema).iter_errors(value),
        # An unknown key comes before a missing one: the first is usually why the second is missing.
        key=lambda error: (
            [str(part) for part in error.absolute_path],
            error.validator != "additionalProperties",
        ),
    )
    if errors:
        more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
        raise ConfigError(f"{_explain(errors[0], prefix)}{more}.")


def _filled(value: Any, schema: Mapping[str, Any]) -> Any:
    """Return ``value`` with the schema's defaults in the places of keys that are missing, at every depth."""
    if isinstance(value, Mapping):
        properties = schema.get("properties", {})
        result = {}
        for key, given in value.items():
            below = properties.get(key, schema.get("additionalProperties", {}))
            result[key] = _filled(given, below if isinstance(below, Mapping) else {})
        for key, below in properties.items():
            if key not in result and "default" in below:
                result[key] = _filled(deepcopy(below["default"]), below)
        return result
    return deepcopy(value)


def _of_one_method(entry: Mapping[str, Any]) -> str:
    """Return what to write in the place of an attack of method ``mutual_information``, which has become several."""
    options = dict(entry["options"])
    preset, estimator = options.pop("preset", "custom"), options.pop("estimator", "mine")
    method = estimator if preset == "custom" else preset
    if preset == "custom" and method != "mine":
        # The one method searched by bisection unless it was told otherwise; these do not.
        options = {"search": "binary", "steps": 200, **options}
        if options["search"] == "decoupled":
            del options["search"]
    rest = f" and options: {json.dumps(options)}" if options else ""
    return f"'mutual_information' is a method of its own for each estimator now; write method: {method}{rest}."


def _known(name: str, allowed: Iterable[str], path: str, what: str) -> None:
    names = list(allowed)
    if name not in names:
        raise ConfigError(f"{path}: there is no {what} {name!r}; {_suggestion(name, names)}.")


def _complete_options(folder: str, name: str, given: Any, path: tuple[str, ...], what: str) -> dict[str, Any]:
    """Return the options of plugin ``name``, checked and with every default filled in."""
    _known(name, plugins.schemas(folder), ".".join(path[:2]), what)
    schema = options_schema(folder, name)
    _check(given, schema, path)
    given = {
        key: project_path(value, ".".join((*path, key))) if schema["properties"][key].get("format") == "path" else value
        for key, value in given.items()
    }
    return _filled(given, schema)


def _origin(specification: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the networks that one is made from, each with the key that names it."""
    named = [(key, specification[key]) for key in ("start", "teacher") if key in specification]
    return named + [("members", member) for member in specification.get("members", ())]


def _check_origin(models: Mapping[str, Mapping[str, Mapping[str, Any]]], name: str, dataset: str) -> None:
    """Check the networks that ``name`` is made from on one data set; ``models`` holds specifications by name and data set."""
    own = models[name][dataset]
    path = f"models.{name}"
    present = [other for other, specifications in models.items() if dataset in specifications]
    for key, other in _origin(own):
        _known(other, present, f"{path}.{key}", f"network of {dataset} named")
    waiting: list[tuple[str, ...]] = [(name,)]
    above: set[str] = set()
    while waiting:
        chain = waiting.pop()
        for key, other in _origin(models[chain[-1]].get(dataset, {})):
            if other == name:
                circle = " -> ".join((*chain, other))
                raise ConfigError(f"{path}.{key}: {circle} goes in a circle; a network cannot be made from itself.")
            if other not in above and other in models:
                above.add(other)
                waiting.append((*chain, other))
    recipe = own["training"].get("recipe")
    if recipe is None:
        return
    needed = plugins.literals("training", "NEEDS").get(recipe, [])
    for key in needed:
        if key not in own:
            raise ConfigError(f"{path}: training recipe {recipe!r} needs the key {key!r}: the name of a network.")
    if "teacher" in own and "teacher" not in needed:
        raise ConfigError(f"{path}.teacher: training recipe {recipe!r} has no use for one; set recipe: distillation.")
    if recipe == "trimming" and own["architecture"] not in _resizable():
        allowed = ", ".join(_resizable())
        raise ConfigError(f"{path}.architecture: {own['architecture']!r} cannot be trimmed; allowed: {allowed}.")
    if "start" in own:
        first = models[own["start"]][dataset]
        for key in ("architecture", "options"):
            if first.get(key) != own[key]:
                raise ConfigError(
                    f"{path}.start: {own['start']!r} has {key} {_shown(first.get(key))}, this network "
                    f"{_shown(own[key])} on {dataset}; training can only begin from a network like itself."
                )
        if own["training"]["initialization"] != "default":
            raise ConfigError(
                f"{path}.training.initialization: not allowed beside 'start', whose weights training begins from."
            )


def _resizable() -> list[str]:
    """Return the architectures that can be trimmed: those whose file has a function ``resized``."""
    return [name for name in plugins.schemas("models") if _has_function(plugins.source_file("models", name), "resized")]


def _has_function(path: Path, name: str) -> bool:
    return any(isinstance(node, ast.FunctionDef) and node.name == name for node in tree(path).body)


# --- What runs -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Attack:
    """An attack that runs: one of the configuration's, or one value of a sweep.

    ``color_index`` is its place in the configuration, shared by the attack and its sweep, so that it keeps one colour in
    every figure. ``compared`` says whether its failures take an image out of the comparison. ``shards`` is the number of
    jobs that its images are cut into, at most one a chunk.
    """

    name: str
    method: str
    label: str
    target: str
    options: dict[str, dict[str, Any]]
    datasets: tuple[str, ...]
    models: tuple[str, ...]
    compared: bool
    color_index: int
    shards: int
    sweep_of: str | None = None

    def specification(self, dataset: str) -> dict[str, Any]:
        """Return what determines the result: no label and no colour, so that changing those runs nothing again."""
        return {
            "name": self.name,
            "method": self.method,
            "target": self.target,
            "options": self.options[dataset],
        }

    def like(self, dataset: str) -> str | None:
        """Return the attack whose perturbation norms this one copies, if it copies any."""
        return self.options[dataset].get("like")


@dataclass(frozen=True)
class Run:
    """One attack on one network of one data set."""

    dataset: str
    model: str
    attack: str


class Config:
    """A checked and completed configuration, and what follows from it."""

    def __init__(self, raw: Mapping[str, Any]) -> None:
        """Check ``raw``, the mapping that the YAML file holds. Raises ``ConfigError``."""
        require_plain(raw)
        _check(raw, structure_schema())
        self.values: dict[str, Any] = _filled(raw, structure_schema())
        self.seed: int = self.values["seed"]
        self.device: str = self.values["device"]
        self.images: int = self.values["images"]
        self.chunk: int = self.values["chunk"]
        self.threads: dict[str, int] = self.values["threads"]
        self.data_root: str | None = self.values["data_root"]
        self.datasets = self._datasets()
        self.models = self._models()
        self.metrics, self.lpips_reference = self._metrics()
        self.attacks = self._attacks()
        for section in ("datasets", "models", "attacks"):
            require_distinct(getattr(self, section), section)
        self.runs = list(self._runs())
        self.calibration: dict[str, Any] | None = self.values.get("calibration")
        self.statistics = self._statistics()
        self.flow = self._flow()
        self.figures = self._figures()
        self._check_likes()
        for run in self.runs:
            self.looks_through(run.attack, run.dataset)

    # Sections of the configuration, in its order.

    def _datasets(self) -> dict[str, dict[str, Any]]:
        result = {}
        for name, entry in self.values["datasets"].items():
            path = ("datasets", name)
            source = entry["source"]
            given = {key: value for key, value in entry.items() if key != "source"}
            result[name] = {"source": source, **_complete_options("data", source, given, path, "data source")}
        return result

    def _models(self) -> dict[str, dict[str, dict[str, Any]]]:
        """Return, per model and data set, the specification that makes the network."""
        result: dict[str, dict[str, dict[str, Any]]] = {}
        for name, entry in self.values["models"].items():
            path = f"models.{name}"
            datasets = entry.get("datasets", list(self.datasets))
            for dataset in datasets:
                _known(dataset, self.datasets, f"{path}.datasets", "data set")
            for dataset in entry["per_dataset"]:
                _known(dataset, datasets, f"{path}.per_dataset", "data set of this model")
            result[name] = {dataset: self._model(name, entry, dataset) for dataset in datasets}
        for name, specifications in result.items():
            for dataset in specifications:
                _check_origin(result, name, dataset)
        return result

    def _model(self, name: str, entry: Mapping[str, Any], dataset: str) -> dict[str, Any]:
        path = ("models", name)
        kinds = [key for key in ("architecture", "factory", "members") if key in entry]
        if len(kinds) != 1:
            raise ConfigError(
                f"models.{name}: give either 'architecture' (trained here), 'factory' and 'weights' (your own), or "
                "'members' (an ensemble)."
            )
        if ("factory" in entry) != ("weights" in entry):
            raise ConfigError(f"models.{name}: 'factory' and 'weights' go together.")
        if "architecture" not in entry:
            foreign = ["start", "teacher", "per_dataset", *(["options"] if "members" in entry else [])]
            for key in foreign:
                if entry.get(key):
                    raise ConfigError(f"models.{name}.{key}: not allowed beside '{kinds[0]}'; remove one of the two.")
            radius = {"pgd_epsilon": common_options("training")["pgd_epsilon"]}
            schema = {"type": "object", "additionalProperties": False, "properties": radius}
            _check(entry["training"], schema, (*path, "training"))
            if "members" in entry:
                return {"members": entry["members"], "training": _filled(entry["training"], schema)}
            return {
                "factory": entry["factory"],
                "weights": project_path(entry["weights"], f"models.{name}.weights"),
                "options": entry["options"],
                "training": _filled(entry["training"], schema),
            }
        override = entry["per_dataset"].get(dataset, {})
        architecture = override.get("architecture", entry["architecture"])
        # Options of another architecture mean nothing here; those of the same one are completed.
        inherited = entry["options"] if architecture == entry["architecture"] else {}
        options = {**inherited, **override.get("options", {})}
        training = {"recipe": "standard", **entry["training"], **override.get("training", {})}
        recipe = training.pop("recipe")
        return {
            "architecture": architecture,
            "options": _complete_options("models", architecture, options, (*path, "options"), "architecture"),
            "training": {
                "recipe": recipe,
                **_complete_options("training", recipe, training, (*path, "training"), "training recipe"),
            },
            **{key: entry[key] for key in ("start", "teacher") if key in entry},
        }

    def _metrics(self) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
        """Return the options of each metric, and the network of each data set that LPIPS compares features in."""
        result = {}
        references: dict[str, str] = {}
        for name, given in self.values["metrics"].items():
            options = _complete_options("metrics", name, given, ("metrics", name), "metric")
            result[name] = options
            if options.get("backbone") == "reference":
                references = {dataset: self._reference(dataset, options["reference"]) for dataset in self.datasets}
            elif options.get("reference") is not None:
                raise ConfigError(f"metrics.{name}.reference: only with backbone: reference; remove one of the two.")
        return result, references

    def _reference(self, dataset: str, chosen: str | None, path: str = "metrics.lpips.backbone") -> str:
        candidates = [name for name, specifications in self.models.items() if dataset in specifications]
        if chosen is not None:
            _known(chosen, candidates, "metrics.lpips.reference", f"network of {dataset} named")
            if self.values["models"][chosen]["attacked"]:
                raise ConfigError(
                    f"metrics.lpips.reference: {chosen!r} is attacked, so it cannot judge; set models.{chosen}.attacked "
                    "to false or name another."
                )
            return chosen
        spared = [name for name in candidates if not self.values["models"][name]["attacked"]]
        if not spared:
            raise ConfigError(
                f"{path}: 'reference' needs a network of {dataset} that nobody attacks; add a model with "
                "'attacked: false', or name one as metrics.lpips.reference."
            )
        if len(spared) > 1:
            # A choice by order would change with the place of a model in the file.
            raise ConfigError(
                f"{path}: several networks of {dataset} are attacked by nobody ({', '.join(spared)}); name the one that "
                "LPIPS looks through as metrics.lpips.reference."
            )
        return spared[0]

    def looks_through(self, attack: str, dataset: str) -> str | None:
        """Return the network through which an attack with ``backbone: reference`` compares images, if it is one."""
        if self.attacks[attack].options[dataset].get("backbone") != "reference":
            return None
        chosen = self.metrics.get("lpips", {}).get("reference")
        return self._reference(dataset, chosen, f"attacks.{attack}.options.backbone")

    def _attacked(self, dataset: str) -> list[str]:
        models = self.values["models"]
        return [name for name in self.models if models[name]["attacked"] and dataset in self.models[name]]

    def _attacks(self) -> dict[str, Attack]:
        result: dict[str, Attack] = {}
        sweeps = self.values["sweeps"]
        entries = self.values["attacks"]
        for name in sweeps:
            _known(name, entries, "sweeps", "attack")
        for position, (name, entry) in enumerate(entries.items()):
            attack = self._attack(name, entry, position)
            result[name] = attack
            if name in sweeps:
                for step in self._sweep(attack, entry, sweeps[name]):
                    if step.name in entries or step.name in result:
                        raise ConfigError(f"sweeps.{name}: makes {step.name!r}, which is there already; rename one.")
                    result[step.name] = step
        return result

    def _scope(self, path: str, entry: Mapping[str, Any]) -> tuple[tuple[str, ...], tuple[str, ...]]:
        datasets = tuple(entry.get("datasets", self.datasets))
        for dataset in datasets:
            _known(dataset, self.datasets, f"{path}.datasets", "data set")
        attacked = [n for n in self.models if self.values["models"][n]["attacked"]]
        models = tuple(entry.get("models", attacked))
        for model in models:
            _known(model, attacked, f"{path}.models", "attacked model")
        return datasets, models

    def _attack(self, name: str, entry: Mapping[str, Any], position: int) -> Attack:
        path = f"attacks.{name}"
        if entry["method"] == "mutual_information":
            raise ConfigError(f"{path}.method: {_of_one_method(entry)}")
        datasets, models = self._scope(path, entry)
        for dataset in entry["per_dataset"]:
            _known(dataset, self.datasets, f"{path}.per_dataset", "data set")
        options = {}
        for dataset in self.datasets:
            below = entry["per_dataset"].get(dataset)
            where = ("attacks", name, *(("per_dataset", dataset) if below else ("options",)))
            given = {**entry["options"], **(below or {})}
            options[dataset] = _complete_options("attacks", entry["method"], given, where, "attack method")
        return Attack(
            name=name,
            method=entry["method"],
            target=entry["target"],
            label=entry.get("label", name),
            options=options,
            datasets=datasets,
            models=models,
            compared=entry["compared"],
            color_index=position,
            shards=min(entry["shards"], -(-self.images // self.chunk)),
        )

    def _sweep(self, attack: Attack, entry: Mapping[str, Any], sweep: Mapping[str, Any]) -> Iterator[Attack]:
        path = f"sweeps.{attack.name}"
        option = sweep["option"]
        schema = options_schema("attacks", attack.method)
        _known(option, schema["properties"], f"{path}.option", f"option of {attack.method} named")
        for dataset, below in entry["per_dataset"].items():
            if option in below:
                raise ConfigError(
                    f"attacks.{attack.name}.per_dataset.{dataset}.{option}: not allowed beside a sweep over {option}; "
                    "a sweep has one start on every data set."
                )
        datasets, models = self._scope(path, {"datasets": attack.datasets, "models": attack.models, **sweep})
        for position, value in enumerate(sweep["values"]):
            _check(value, schema["properties"][option], ("sweeps", attack.name, "values", str(position)))
            name = f"{attack.name}-{option}-{value}"
            _check({name: {}}, {"propertyNames": structure_schema()["$defs"]["name"]}, ("sweeps", attack.name))
            yield Attack(
                name=name,
                method=attack.method,
                target=attack.target,
                label=f"{attack.label} ({option.replace('_', ' ')} {value})",
                options={dataset: {**given, option: value} for dataset, given in attack.options.items()},
                datasets=datasets,
                models=models,
                compared=False,
                color_index=attack.color_index,
                shards=attack.shards,
                sweep_of=attack.name,
            )

    def _runs(self) -> Iterator[Run]:
        for dataset in self.datasets:
            for model in self._attacked(dataset):
                for attack in self.attacks.values():
                    if dataset in attack.datasets and model in attack.models:
                        yield Run(dataset, model, attack.name)

    def _check_likes(self) -> None:
        present = set(self.runs)
        for run in self.runs:
            like = self.attacks[run.attack].like(run.dataset)
            if like is None:
                continue
            path = f"attacks.{run.attack}.options.like"
            _known(like, (name for name in self.attacks if name != run.attack), path, "other attack")
            if self.attacks[like].like(run.dataset) is not None:
                raise ConfigError(f"{path}: {like!r} itself copies another attack; name that one.")
            if Run(run.dataset, run.model, like) not in present:
                raise ConfigError(
                    f"{path}: {like!r} does not run on {run.dataset}/{run.model}, where {run.attack!r} does; widen its "
                    "datasets and models, or narrow these."
                )

    def _statistics(self) -> dict[str, Any]:
        schema = structure_schema()["properties"]["statistics"]
        first = next(iter(self.attacks))
        statistics = _filled(self.values.get("statistics", {"reference": first}), schema)
        _known(statistics["reference"], self.attacks, "statistics.reference", "attack")
        return statistics

    def _flow(self) -> Study | None:
        if "flow" not in self.values:
            return None
        given = self.values["flow"]
        values = {"dataset": next(iter(self.datasets)), "matched": given["attacks"][0], **given}
        dataset = values["dataset"]
        _known(dataset, self.datasets, "flow.dataset", "data set")
        networks = [name for name, specifications in self.models.items() if dataset in specifications]
        distilled = values.get("distilled", {})
        for key, name in (
            *((key, values.get(key)) for key in ("model", "trimmed", "ensemble", "untrained")),
            *(("transfer", name) for name in values.get("transfer", ())),
            *(("layers", name) for name in values["layers"]),
            ("distilled.model", distilled.get("model")),
        ):
            if name is not None:
                _known(name, networks, f"flow.{key}", f"network of {dataset} named")
        for key, names, allowed in (
            ("jsma", [values["jsma"]], self._of_method("jsma")),
            ("distilled.regular", [distilled[key] for key in ("regular",) if distilled], self._of_method("jsma")),
            ("distilled.adaptive", [distilled[key] for key in ("adaptive",) if distilled], self._of_method("jsma")),
            ("attacks", values["attacks"], list(self.attacks)),
            ("matched", [values["matched"]], values["attacks"]),
        ):
            for name in names:
                _known(name, allowed, f"flow.{key}", "such attack")
        for name in values["attacks"]:
            if self.attacks[name].like(dataset) is not None:
                raise ConfigError(
                    f"flow.attacks: {name!r} is a control; name attacks, the study has controls of its own."
                )
        if "ensemble" in values and "transfer" not in values:
            raise ConfigError("flow.ensemble: goes with 'transfer'; name the other networks there.")
        roles = [values["model"], *values.get("transfer", ())]
        roles += [values[key] for key in ("trimmed", "ensemble", "untrained") if key in values]
        roles += [distilled["model"]] if distilled else []
        twice = sorted({name for name in roles if roles.count(name) > 1})
        if twice:
            raise ConfigError(f"flow: {twice[0]!r} has two roles; a network has one.")
        for name in (
            values["jsma"],
            *values["attacks"],
            *(distilled[key] for key in ("regular", "adaptive") if distilled),
        ):
            if self.attacks[name].target != "untargeted":
                raise ConfigError(
                    f"flow: {name!r} has target: {self.attacks[name].target}; the profiles compare untargeted attacks."
                )
        self._check_roles(values)
        return Study(values)

    def _check_roles(self, values: Mapping[str, Any]) -> None:
        """Refuse networks and attacks that are not what their role says: they would turn a control into none."""
        dataset, model = values["dataset"], values["model"]
        networks = {name: entry[dataset] for name, entry in self.models.items() if dataset in entry}
        if "ensemble" in values:
            members = set(networks[values["ensemble"]].get("members", ()))
            wanted = {model, *values["transfer"]}
            if members != wanted:
                raise ConfigError(
                    f"flow.ensemble: {values['ensemble']!r} consists of {sorted(members)}; give it members: {sorted(wanted)}."
                )
        if "untrained" in values:
            blank, full = networks[values["untrained"]], networks[model]
            same = all(blank.get(key) == full.get(key) for key in ("architecture", "factory", "options"))
            if not same or ("architecture" in blank and blank["training"]["epochs"] > 0):
                raise ConfigError(
                    f"flow.untrained: {values['untrained']!r} must have the architecture and options of {model!r} and "
                    "training.epochs: 0."
                )
        if "trimmed" in values:
            name = values["trimmed"]
            rounds = [name]
            while (start := networks[rounds[-1]].get("start")) is not None:
                rounds.append(start)
            if model not in rounds:
                raise ConfigError(f"flow.trimmed: {name!r} does not come from {model!r}; chain its rounds by 'start'.")
        if "distilled" in values:
            distilled = values["distilled"]
            training = networks[distilled["model"]]["training"]
            adaptive = self.attacks[distilled["adaptive"]].options[dataset]
            if "temperature" in training and (adaptive["outputs"], adaptive["temperature"]) != (
                "softmax",
                training["temperature"],
            ):
                raise ConfigError(
                    f"flow.distilled.adaptive: {distilled['adaptive']!r} must have outputs: softmax and temperature: "
                    f"{training['temperature']}, that of {distilled['model']!r}."
                )

    def _of_method(self, method: str) -> list[str]:
        return [name for name, attack in self.attacks.items() if attack.method == method]

    def _figures(self) -> dict[str, dict[str, Any]]:
        known = structure_schema()["properties"]["figures"]["properties"]
        declared = plugins.schemas("figures")
        result = {}
        for name, given in self.values["figures"].items():
            path = f"figures.{name}"
            _known(name, figures(), "figures", "figure")
            if name not in known:
                # A figure that was added declares its options itself, or has none.
                schema = {"type": "object", "additionalProperties": False, "properties": declared.get(name, {})}
                _check(given, schema, ("figures", name))
                given = _filled(given, schema)
            for key, names, what in (
                ("dataset", self.datasets, "data set"),
                ("model", self.models, "model"),
                ("attack", self.attacks, "attack"),
                ("metric", self.metrics, "metric"),
            ):
                if key in given:
                    _known(given[key], names, f"{path}.{key}", what)
                for item in given.get(f"{key}s", ()):
                    _known(item, names, f"{path}.{key}s", what)
            result[name] = given
            inputs = stage_inputs("figures", name)
            if inputs["stage"] == "flow":
                needed = [key for key in inputs.get("needs", []) if self.flow is None or key not in self.flow.values]
                if self.flow is None or needed:
                    lacking = f"flow.{needed[0]}" if needed else "flow"
                    raise ConfigError(f"figures.{name}: needs {lacking!r}; add it or remove the figure.")
        if "calibration" in result and self.calibration is None:
            raise ConfigError("figures.calibration: needs the section 'calibration'; add it or remove the figure.")
        if "convergence" in result:
            wanted = result["convergence"]
            matching = self.matching_runs(wanted)
            if not matching:
                raise ConfigError(
                    "figures.convergence: no such attack runs; see the datasets and models of that attack."
                )
            drawn = self.attacks[matching[0].attack]
            recording = plugins.literals("attacks", "TRACES")
            if drawn.method not in recording:
                raise ConfigError(
                    f"figures.convergence.attack: {drawn.name!r} is of method {drawn.method}; name an attack that records "
                    f"its run: one of method {', '.join(sorted(recording))}."
                )
            if not 0 <= wanted["image"] < self.images:
                raise ConfigError(
                    f"figures.convergence.image: {wanted['image']} is not allowed; {self.images} images are attacked, "
                    f"give at most {self.images - 1}."
                )
        return result

    def matching_runs(self, wanted: Mapping[str, Any]) -> list[Run]:
        """Return the runs on the ``dataset``, with the ``model`` and the ``attack`` that are wanted, where they are named."""
        return [
            run
            for run in self.runs
            if all(wanted.get(key, getattr(run, key)) == getattr(run, key) for key in ("dataset", "model", "attack"))
        ]

    def grid(self, dataset: str) -> tuple[dict[str, Any], list[Run]]:
        """Return the options of the image grid of a data set, its network named, and the runs that it shows."""
        wanted = dict(self.figures["grid"])
        present = [run.model for run in self.runs if run.dataset == dataset]
        if wanted.get("model") not in present:
            wanted["model"] = present[0]
        shown = wanted.setdefault("attacks", [a.name for a in self.attacks.values() if a.sweep_of is None])
        runs = self.matching_runs({"dataset": dataset, "model": wanted["model"]})
        return wanted, [run for run in runs if run.attack in shown]

    # What the rules ask for.

    @cached_property
    def presentation(self) -> dict[str, Any]:
        """What tables and figures have to know beside their inputs."""
        return {
            "seed": self.seed,
            "statistics": self.statistics,
            "attacks": {
                attack.name: {
                    "label": attack.label,
                    "method": attack.method,
                    "color_index": attack.color_index,
                    "sweep_of": attack.sweep_of,
                    "compared": attack.compared,
                    "control": any("like" in options for options in attack.options.values()),
                    **self._swept(attack),
                }
                for attack in self.attacks.values()
            },
        }

    def presentation_of(self, kind: str, name: str) -> dict[str, Any]:
        """Return ``presentation`` for one table or figure (``kind``), with the section ``flow`` where it draws from that."""
        if stage_inputs(kind, name)["stage"] != "flow":
            return self.presentation
        assert self.flow is not None
        return {**self.presentation, "flow": self.flow.values}

    def tables(self) -> list[str]:
        """Return the tables that are written: those of the information profiles only where the configuration has them."""
        return [name for name in tables() if self.flow is not None or stage_inputs("tables", name)["stage"] != "flow"]

    def flow_runs(self) -> list[Run]:
        """Return the attacks that the information profiles need, also those that are part of the benchmark."""
        if self.flow is None:
            return []
        return [Run(self.flow.dataset, model, attack) for model, attack in self.flow.runs()]

    def _swept(self, attack: Attack) -> dict[str, Any]:
        """Return the swept option and its value: of a point of a sweep, and of the attack that the sweep varies."""
        sweep = self.values["sweeps"].get(attack.sweep_of or attack.name)
        if sweep is None:
            return {}
        option = sweep["option"]
        declared = plugins.schemas("attacks")[attack.method][option]
        point = {"option": option, "value": attack.options[attack.datasets[0]].get(option, declared.get("default"))}
        return point if attack.sweep_of else {"swept": point}

    def trained(self) -> list[tuple[str, str]]:
        """Return the (data set, model) pairs, in the order of the configuration."""
        return [(dataset, model) for dataset in self.datasets for model in self.models if dataset in self.models[model]]

    def origin(self, dataset: str, model: str) -> list[tuple[str, str]]:
        """Return the networks that one is made from, as pairs of a key (start, teacher, members) and a name."""
        return _origin(self.models[model][dataset])

    def factories(self) -> list[str]:
        """Return the functions of the user's that networks are built by: the code that this configuration runs."""
        entries = self.values["models"].values()
        return sorted({entry["factory"] for entry in entries if "factory" in entry})

    def source(self, dataset: str) -> str:
        """Return the data source of a data set."""
        return self.datasets[dataset]["source"]


class _UniqueKeys(yaml.SafeLoader):
    """Refuses a key that stands twice in one mapping, of which YAML readers keep the last and drop the others."""

    def compose_mapping_node(self, anchor: Any) -> Any:
        # Checked before merge keys (<<) are resolved: what they bring in may be overridden.
        node = super().compose_mapping_node(anchor)
        lines: dict[str, int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == "tag:yaml.org,2002:merge":
                continue
            if key.value in lines:
                problem = f"the key {key.value!r} is in line {lines[key.value]} already; rename or remove one"
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark)
            lines[key.value] = key.start_mark.line + 1
        return node


def read(path: str | Path) -> dict[str, Any]:
    """Read a configuration file without checking its keys and values.

    Raises ``ConfigError``, whose message begins with the path, if the file cannot be read, is not YAML, has a key twice
    in one mapping, or holds no mapping.
    """
    try:
        if Path(path).stat().st_size > _MAX_FILE:
            raise ConfigError(f"{path}: larger than {_MAX_FILE >> 20} MiB; no configuration is.")
        text = Path(path).read_text(encoding="utf-8")
        yaml.compose(text, Loader=_UniqueKeys)
        raw = yaml.safe_load(text)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}).") from error
    except yaml.MarkedYAMLError as error:
        line = f": line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ConfigError(f"{path}{line}: not YAML ({error.problem}).") from error
    except ConfigError:
        raise
    except Exception as error:
        # Beside its own errors PyYAML lets through those of whatever it was building: dates, numbers, recursion.
        raise ConfigError(f"{path}: not YAML ({' '.join(str(error).split()) or type(error).__name__}).") from error
    if not isinstance(raw, dict):
        raise ConfigError(f"{path}: holds no mapping; see config/README.md.")
    return raw


def load(path: str | Path) -> Config:
    """Read and check a configuration file. Raises ``ConfigError``, whose message begins with the path."""
    raw = read(path)
    try:
        return Config(raw)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def fetchable() -> list[str]:
    """Return the data sources that can be downloaded: those whose file has a function ``fetch``."""
    return [name for name in plugins.schemas("data") if _has_function(plugins.source_file("data", name), "fetch")]


def stage_inputs(kind: str, name: str) -> dict[str, Any]:
    """Return what a table or figure (``kind``) is made from: ``stage``, and the keys of ``flow`` that it ``needs``.

    Its file says so in a literal ``INPUTS``; without one it is made from the metrics of every attack.
    """
    return {"stage": "metrics", **plugins.literal(plugins.source_file(kind, name), "INPUTS")}


def tables() -> list[str]:
    """Return the tables: one a file of ``infoadv.report.tables``."""
    return plugins.names("tables")


def figures() -> list[str]:
    """Return the figures: one a file of ``infoadv.report.figures``."""
    return plugins.names("figures")


def as_json(specification: Mapping[str, Any]) -> str:
    """Return a specification as it travels on command lines: canonical JSON."""
    return canonical_json(specification)
