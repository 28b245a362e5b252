"""Definitions in files: YAML in, and what ships in config/scans."""

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
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise DefinitionError(f"this is no YAML: {' '.join(str(error).split())[:300]}") from None


def shipped(folder: Path) -> dict[str, Path]:
    """The files of a folder by the name of their definition, which is that of the file."""
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}
