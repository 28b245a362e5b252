"""Definitions in files: YAML in and out, where in it something stands, and what ships in config/scans."""

from pathlib import Path
from typing import Any

import yaml

from bridge.scanner.definition import DefinitionError

MAX_TEXT = 64 * 1024


def read_text(text: str) -> Any:
    """What a definition's YAML says; DefinitionError says where it cannot be read."""
    if len(text) > MAX_TEXT:
        raise DefinitionError(f"the text has {len(text)} characters; at most {MAX_TEXT} are read")
    try:
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, yaml.SafeLoader)):
            raise DefinitionError("this is no YAML for us: *aliases are not read; write it out")
        return yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise DefinitionError(f"this is no YAML: {error.problem or error.context}{place}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise DefinitionError(f"this is no YAML: {' '.join(str(error).split())[:300]}") from None


def shipped(folder: Path) -> dict[str, Path]:
    """The files of a folder by the name of their definition, which is that of the file."""
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


class _Dumper(yaml.SafeDumper):
    """Writes as the shipped files are written: lists and mappings of plain numbers in one line, the rest line by line."""


def _is_short(mapping: dict[str, Any]) -> bool:
    return bool(mapping) and all(isinstance(value, int | float) for value in mapping.values())


_LIST, _MAP = "tag:yaml.org,2002:seq", "tag:yaml.org,2002:map"
_Dumper.add_representer(list, lambda dumper, each: dumper.represent_sequence(_LIST, each, flow_style=True))
_Dumper.add_representer(dict, lambda dumper, each: dumper.represent_mapping(_MAP, each, flow_style=_is_short(each)))


def write_text(source: Any) -> str:
    """A definition as YAML; what was saved keeps the order of its keys, and no comments."""
    return yaml.dump(source, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)


def locate(text: str, key: str) -> tuple[int, int] | None:
    """Where the value of `filters.trend` or its like stands, as (line, column) from 1; of a key that is missing, None."""
    try:
        node = yaml.compose(text, yaml.SafeLoader)
    except yaml.YAMLError:
        return None
    for name in key.split("."):
        pairs = node.value if isinstance(node, yaml.MappingNode) else []
        node = next((value for known, value in pairs if known.value == name), None)
        if node is None:
            return None
    quote = isinstance(node, yaml.ScalarNode) and node.style in ("'", '"')
    return (node.start_mark.line + 1, node.start_mark.column + 1 + quote) if node else None
