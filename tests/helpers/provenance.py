"""Whether a table ``provenance`` is of one run of one commit, and of a configuration as it is now."""

from __future__ import annotations

import hashlib
import re

import pandas as pd

from infoadv import artifacts
from infoadv.config import Config
from infoadv.pipeline import layout, report_inputs


def problems(provenance: pd.DataFrame, settings: Config) -> list[str]:
    """Return what is wrong with a table ``provenance``, read without NaN, for ``settings``; nothing if it is theirs."""
    found = []
    commits = sorted(provenance["commit"].unique())
    if len(commits) != 1 or provenance["version"].nunique() != 1:
        found.append(f"artefacts of several commits or versions: {', '.join(commits)}")
    # Neither "none" nor a checkout with changes.
    found += [f"commit {commit!r} is no commit" for commit in commits if not re.fullmatch("[0-9a-f]{40}", commit)]
    wanted = {*report_inputs.artefacts(settings), *map(layout.attack_file, layout.attacked(settings))}
    found += [f"{file}: not there" for file in sorted(wanted - set(provenance["file"]))]
    found += [f"{file}: not asked for" for file in sorted(set(provenance["file"]) - wanted)]
    made = dict(zip(provenance["file"], provenance["specification_sha256"], strict=True))
    asked = {
        layout.attack_file(run): settings.attacks[run.attack].specification(run.dataset)
        for run in layout.attacked(settings)
    }
    asked |= {
        layout.model_file(dataset, model): settings.models[model][dataset] for dataset, model in settings.trained()
    }
    for file, specification in asked.items():
        digest = hashlib.sha256(artifacts.canonical_json(specification).encode()).hexdigest()
        if made.get(file, digest) != digest:
            found.append(f"{file}: older than its configuration")
    return found
