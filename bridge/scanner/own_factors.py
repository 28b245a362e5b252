"""Own factors: a Python file of this machine that registers functions which definitions may name; never code from elsewhere.

```python
def register(factors):
    factors.add("mid", lookback=1, compute=lambda highs, lows: (highs[-1] + lows[-1]) / 2)
```

`mid(high, low)` is a term then. What the file says is part of the version of every definition that uses it.
"""

import hashlib
import importlib.util
from pathlib import Path

from bridge.scanner.definition import DefinitionError
from bridge.scanner.terms import Factors


def load_factors(path: Path | None) -> Factors:
    """The factors of a file, none for no file; DefinitionError says what is wrong with it."""
    if path is None:
        return Factors()
    try:
        factors = Factors(hashlib.sha256(path.read_bytes()).hexdigest())
        spec = importlib.util.spec_from_file_location("own_factors", path)
        if spec is None or spec.loader is None:
            raise DefinitionError(f"factors: {path} is no Python file")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        module.register(factors)
    except DefinitionError:
        raise
    except Exception as error:
        # The file is the user's own program: whatever it raises is its fault, and is told as such.
        raise DefinitionError(f"factors: {path}: {type(error).__name__}: {error}") from error
    return factors
