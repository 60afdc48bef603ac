"""What a configuration would run, and which code of the user's, for `infoadv check`."""

from __future__ import annotations

from pathlib import Path

from infoadv.config.configuration import Config
from infoadv.config.outside import module_file


def text(settings: Config, directory: Path) -> str:
    """Return what a run in ``directory`` would do, a line a subject; at the end the code that is called."""
    attacked = list(dict.fromkeys((run.dataset, run.model) for run in settings.runs))
    lines = [
        f"data sets  {len(settings.datasets)}: {', '.join(settings.datasets)}",
        f"networks   {len(settings.trained())}, of which {len(attacked)} are attacked",
    ]
    for dataset, model in attacked:
        attacks = [
            settings.attacks[run.attack] for run in settings.runs if (run.dataset, run.model) == (dataset, model)
        ]
        fewer = sum(attack.images < settings.images for attack in attacks)
        note = f", {fewer} of them on fewer" if fewer else ""
        lines.append(f"           {dataset}/{model}: {len(attacks)} attacks on {settings.images} images{note}")
    lines += [
        f"chunk      {settings.chunk} images at once",
        f"attacks    {len(settings.attacks)}: {', '.join(settings.attacks)}",
        f"metrics    {len(settings.metrics)}: {', '.join(settings.metrics)}",
    ]
    if settings.flow is not None:
        lines.append(f"profiles   {settings.flow.dataset}: {', '.join(settings.flow.parts())}")
    lines += [
        f"tables     {', '.join(settings.tables())}",
        f"figures    {', '.join(settings.figures)}",
    ]
    code = [f"{factory} ({_file(factory, directory)})" for factory in settings.factories()]
    code += [f"{folder} ({_listed(directory / folder)})" for folder in settings.values["plugins"]]
    lines.append(f"runs code  {', '.join(code) or 'none but that of infoadv'}")
    return "\n".join(lines) + "\n"


def _file(factory: str, directory: Path) -> str:
    try:
        return str(module_file(factory.partition(":")[0], directory) or "not Python source")
    except LookupError:
        return "not found"


def _listed(folder: Path) -> str:
    """Return the files of a plugin folder."""
    files = [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*.py"))]
    return ", ".join(files) or "no files"
