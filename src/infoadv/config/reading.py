"""Reads a configuration file: YAML of at most a megabyte, in which no key stands twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from infoadv.config.errors import ConfigError

#: Bytes of the largest file that is read as a configuration.
_MAX_FILE = 1 << 20


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
        loader = _UniqueKeys(text)
        try:
            raw = loader.get_single_data()
        finally:
            loader.dispose()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); correct the path.") from error
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
