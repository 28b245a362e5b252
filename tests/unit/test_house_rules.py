"""The house rules: import directions, budgets and banned calls, held by reading the source.

The tables come first and are meant to be edited; each allowance says why it is one. Then the checks, then the
tests of the repository, then the tests that each check can fail.
"""

import ast
import builtins
import math
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# --- the tables ---------------------------------------------------------------------------------------------

# Violations that are there already, by Violation.key. The list may only shrink: lower the ceiling with it.
KNOWN_SINS: frozenset[str] = frozenset()
KNOWN_SINS_CEILING = 0

CORE = "bridge.core"
CLOCK = "bridge.core.clock"
IDS = "bridge.core.ids"
ANYWHERE = ("bridge",)

# Packages that are steps of an alert's way: what passes between them is a value of core.
STEPS = ("intake", "risk", "execution", "portfolio", "scanner", "reports")

# Concrete brokers, and who may name them besides themselves.
ADAPTERS = ("bridge.brokers.paper", "bridge.brokers.kite", "bridge.brokers.venue")
# The venue is the paper book behind HTTP, a program of its own, and speaks as its adapter does; a backfill of bars is a
# program of its own too, so that no order waits for it.
ADAPTER_USERS = ("bridge.bootstrap", "bridge.kite_wiring", "bridge.venue", "bridge.commands.venue", "bridge.commands.history")

# Values that only one place may make.
MAKERS = {"Approved": ("bridge.risk",)}

# Parts of the standard library that touch the world, and so have no place in core.
CORE_BANNED = frozenset(
    {
        *("asyncio", "multiprocessing", "select", "selectors", "signal", "subprocess", "threading", "queue"),
        *("ftplib", "http", "socket", "socketserver", "ssl", "urllib"),
        *("glob", "io", "mmap", "os", "pathlib", "shutil", "sqlite3", "tempfile"),
        *("logging", "sys", "time"),
    }
)

# Each outside library (and sqlite3) with the places that may import it. ANYWHERE is still not core.
LIBRARY_HOMES: dict[str, tuple[str, ...]] = {
    "alembic": ("bridge.store",),
    "anyio": ("bridge.web", "bridge.app"),
    "apprise": ("bridge.notify",),
    "argon2": ("bridge.web.auth", "bridge.vault"),
    "cryptography": ("bridge.vault", "bridge.intake"),
    "httpx": ("bridge.cli", "bridge.commands", "bridge.brokers", "bridge.notify"),
    "jinja2": ("bridge.web", "bridge.notify"),
    "kiteconnect": ("bridge.brokers.kite",),
    "requests": ("bridge.brokers.kite.client",),  # what the vendor's client speaks by
    "urllib3": ("bridge.brokers.kite.client",),
    "markupsafe": ("bridge.web",),
    "numpy": ("bridge.scanner", "bridge.replay", "bridge.reports", "bridge.market.bars"),
    "orjson": ("bridge.store",),
    "prometheus_client": ANYWHERE,  # one module only, see ONE_PLACE
    "psycopg": ("bridge.store",),
    "pydantic": ("bridge.settings",),
    "pydantic_settings": ("bridge.settings",),
    "pyotp": ("bridge.web.auth",),
    "sqlalchemy": ("bridge.store",),
    # Lists of instruments and bars are files of their own: the store's database has no part in them.
    "sqlite3": ("bridge.store", "bridge.market.listing", "bridge.market.lists", "bridge.market.bars"),
    "sqlmodel": ("bridge.store",),
    "starlette": ("bridge.web", "bridge.app", "bridge.venue", "bridge.sandbox"),
    "structlog": ANYWHERE,
    "tenacity": ("bridge.execution.retry", "bridge.notify"),
    "twisted": ("bridge.brokers.kite",),  # kiteconnect's own reactor
    "uvicorn": ("bridge.cli", "bridge.commands", "bridge.sandbox"),
    "uvloop": ("bridge.cli", "bridge.commands"),
    "yaml": ("bridge.settings", "bridge.market", "bridge.scanner.files"),
}
ONE_PLACE = ("prometheus_client",)

# Sources of wall-clock time and chance, who may use them, and what everybody else does instead.
TAKE_A_CLOCK = "take a Clock and ask it"
DERIVE_IT = "derive it from content, or ask bridge.core.ids"
BANNED_REFERENCES: dict[str, tuple[tuple[str, ...], str]] = {
    "datetime.date.today": ((CLOCK,), TAKE_A_CLOCK),
    "datetime.datetime.now": ((CLOCK,), TAKE_A_CLOCK),
    "datetime.datetime.today": ((CLOCK,), TAKE_A_CLOCK),
    "datetime.datetime.utcnow": ((), TAKE_A_CLOCK),
    "time.gmtime": ((CLOCK,), TAKE_A_CLOCK),
    "time.localtime": ((CLOCK,), TAKE_A_CLOCK),
    "time.time": ((CLOCK,), TAKE_A_CLOCK),
    "time.time_ns": ((CLOCK,), TAKE_A_CLOCK),
    "os.urandom": ((IDS,), DERIVE_IT),
    "random": ((IDS,), DERIVE_IT),
    # Keys and tokens are the one thing that must not be derivable.
    "secrets": ((IDS, "bridge.vault", "bridge.intake.tokens"), DERIVE_IT),
    "uuid.uuid1": ((), DERIVE_IT),
    "uuid.uuid4": ((IDS,), DERIVE_IT),
}

PRINTERS = ("bridge.cli", "bridge.commands", "bridge.demo", "bridge.docs")

# Money and quantities are Decimal here. Seconds for asyncio are not money: where SECONDS says so, a float
# may be the value of a name that ends in _s (RETRY_BASE_S = 0.25, wait(timeout_s=0.5)). Others are listed.
FLOAT_FREE = ("bridge.core", "bridge.risk", "bridge.execution", "bridge.portfolio")
SECONDS = ("bridge.execution",)
FLOAT_ALLOWANCES: dict[tuple[str, str], str] = {}  # (module, literal or "float()"): reason

# Loop edges, where one bad item must not end the loop; the code counts and logs it. "module:function": reason
BROAD_EXCEPTS: dict[str, str] = {
    "bridge.scanner.own_factors:load_factors": "the user's own program may raise anything, and is told of it",
    "bridge.bootstrap:Bridge.ready": "whatever a driver says, that part is not ready",
    "bridge.brokers.kite.stream:KiteStream._run": "a stream outlives a fault of whoever listens to it; counted",
    "bridge.brokers.paper.delivery:Delivery._hand_over": "a stream's edge: the reports are still to be told, and counted",
    "bridge.brokers.handing:hand_over": "a stream's edge: the reports are still to be told; logged",
    "bridge.feed:Feed._run": "one turn's fault must not be the end of prices; counted",
    "bridge.brokers.venue.adapter:VenueBroker._follow": "without its news nothing is followed; logged, shown in the status",
    "bridge.execution.outbox:Lane._is_denied": "a question about margin that fails must not keep an entry here; counted",
    "bridge.execution.outbox:Lane._run": "a lane outlives a fault with one order; it is counted and tried again",
    "bridge.execution.guard:GuardedBroker._command": "an adapter that raises has proved nothing: the outcome is unknown",
    "bridge.execution.guard:GuardedBroker._call": "an adapter that raises has read nothing; counted, and the reader is told",
    "bridge.notify.channel:Channel._run": "one fault must not be the end of notifications; counted",
    "bridge.notify.channel:Channel._in_thread.run": "handed to the waiter in the loop, who raises it",
    "bridge.notify.link:Link.send": "a plugin's own fault, whose words may name a secret; told as not sent, and tried again",
    "bridge.market.bands:Bands._ask": "a quote that fails leaves bands unknown and must not end the asking; counted",
    "bridge.market.keeper:ListKeeper._run": "a fault with one list must not end the watch for the next; counted",
    "bridge.queueing:Queue._carry": "a fault in processing never costs the acknowledgement; counted, tried three times",
    "bridge.execution.reconcile:Reconciler._look": "a fault in one look must neither vanish nor be the last; counted",
    "bridge.execution.reconcile:Reconciler._settle_all": "a fault in one pass must not end the look-up; counted",
    "bridge.replay.loop:VirtualLoop.run_in_executor": "handed to the waiter, as a thread would hand it",
    "bridge.runner.runner:Runner._run": "one turn's fault must not be the end of all scans; counted",
    "bridge.runner.runner:Runner._ask": "a definition that fails stops no other; counted, and told on its line",
    "bridge.scanner.terms.events:make_own.run": "a user's factor that fails is unknown at that bar; its words are kept",
    "bridge.store.writer:Writer._begin": "begun again in the thread, which meets the same fault and tells of it",
    "bridge.store.writer:Writer._commit_surely": "the writer outlives any fault: the group is told, memory is read again",
    "bridge.store.writer:Writer._tell": "whoever listens, the waiters of the group must hear of their commit",
    "bridge.store.writer:Writer._connect": "a row that cannot be decoded is a database that cannot be read; raised on, named",
    "bridge.store.writer:Writer._try_group": "whatever went wrong, memory goes back to what is on disk; raised on, named",
    "bridge.store.writer:Writer._run_one": "one command's fault must not take its neighbours down; handed to its waiter",
    "bridge.web.guard:Guard.__call__": "the last edge of a page: counted, answered without a traceback",
    "bridge.web.webhook:Webhook.__call__": "the sender must learn that nothing was stored, whatever went wrong",
    "bridge.worker:Worker.on_events": "a fault over one event must not lose the others of its commit; counted",
    "bridge.worker:Worker._run": "the worker outlives a fault of one pass; counted",
    "bridge.worker:Worker._guard": "a fault in the background must not vanish with its task; counted",
}

MAX_FUNCTION_LINES, P95_FUNCTION_LINES = 70, 35
MAX_FILE_LINES, P95_FILE_LINES = 600, 400
MAX_LEVELS = 2
P95_SAMPLE = 20  # below this a percentile is only the maximum by another name
# Straight lists of statements, frozen once shipped: no budget for their functions.
MIGRATIONS = "bridge.store.migrations"
DEEPER_FOLDERS = ("bridge/store/migrations/versions",)  # the layout is Alembic's

DOCUMENTED = ("bridge.core", "bridge.brokers.base", "bridge.settings")

# Spelt in parts, since this file is searched too.
FORBIDDEN_HOSTS = (
    *("pypi~org", "pythonhosted~org", "npmjs~org", "yarnpkg~com", "crates~io/api"),
    *("conda~anaconda~org", "proxy~golang~org", "rubygems~org"),
)
FORBIDDEN_TEXT = (*(host.replace("~", ".") for host in FORBIDDEN_HOSTS), "~work~".replace("~", "/"))
LOCK_OPTION = re.compile(r"^\s*--(index-url|extra-index-url|find-links|trusted-host)\b")
UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX)\b")


# --- what the checks work on --------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Violation:
    """One broken rule; `subject` names the thing and not its line, so that the key outlives an edit."""

    rule: str
    path: str
    line: int
    subject: str
    message: str

    @property
    def key(self) -> str:
        return f"{self.rule} {self.path} {self.subject}"

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.message}"


@dataclass(frozen=True)
class Module:
    """One source file of the package."""

    name: str
    path: str
    source: str
    is_package: bool = False

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.source, self.path)

    @cached_property
    def line_count(self) -> int:
        return len(self.source.splitlines())

    def lies_in(self, places: Sequence[str]) -> bool:
        return any(lies_in(self.name, place) for place in places)

    def violates(self, rule: str, line: int, subject: str, message: str) -> Violation:
        return Violation(rule=rule, path=self.path, line=line, subject=subject, message=message)


FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef
Check = Callable[[Sequence[Module]], Iterator[Violation]]


def lies_in(name: str, place: str) -> bool:
    return name == place or name.startswith(place + ".")


def read_modules(root: Path) -> list[Module]:
    modules = []
    for path in sorted((root / "bridge").rglob("*.py")):
        relative = path.relative_to(root)
        is_package = path.name == "__init__.py"
        dotted = relative.parent if is_package else relative.with_suffix("")
        modules.append(Module(".".join(dotted.parts), relative.as_posix(), path.read_text(encoding="utf-8"), is_package))
    return modules


def imports_of(module: Module) -> Iterator[tuple[str, int]]:
    """Everything imported, at any depth, as (dotted name, line); `from a import b` gives `a.b`."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            base = import_base(module, node)
            for alias in node.names:
                yield (base if alias.name == "*" else f"{base}.{alias.name}"), node.lineno


def import_base(module: Module, node: ast.ImportFrom) -> str:
    if node.level == 0:
        return node.module or ""
    parts = module.name.split(".")
    package = parts[: len(parts) - node.level + (1 if module.is_package else 0)]
    return ".".join([*package, *([node.module] if node.module else [])])


def references_of(module: Module) -> Iterator[tuple[str, int]]:
    """Uses of imported names and builtins, each by its true dotted name, whatever it is called here."""
    origins = {name: name for name in dir(builtins)}
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                origins[alias.asname or alias.name.split(".")[0]] = alias.name if alias.asname else alias.name.split(".")[0]
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                origins[alias.asname or alias.name] = f"{import_base(module, node)}.{alias.name}"
    pending: list[ast.AST] = [module.tree]
    while pending:
        node = pending.pop()
        dotted = dotted_name(node)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            continue  # a name that is given is not used: a bar has a field `open`
        if dotted is not None:
            root, _, rest = dotted.partition(".")
            if root in origins:
                yield f"{origins[root]}.{rest}" if rest else origins[root], getattr(node, "lineno", 0)
            continue
        pending.extend(ast.iter_child_nodes(node))


def dotted_name(node: ast.AST) -> str | None:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        base = dotted_name(node.value)
        return None if base is None else f"{base}.{node.attr}"
    return None


def scoped_nodes(tree: ast.AST, scope: str = "") -> Iterator[tuple[ast.AST, str]]:
    """Every node with the dotted name of the class or function it is in; a definition counts as in itself."""
    for node in ast.iter_child_nodes(tree):
        inner = scope
        if isinstance(node, FunctionNode | ast.ClassDef):
            inner = f"{scope}.{node.name}" if scope else node.name
        yield node, inner
        yield from scoped_nodes(node, inner)


def percentile_95(values: Sequence[int]) -> int:
    """Nearest rank."""
    return sorted(values)[math.ceil(0.95 * len(values)) - 1]


# --- the checks: directions ---------------------------------------------------------------------------------


def check_core_is_pure(modules: Sequence[Module]) -> Iterator[Violation]:
    """core imports the standard library and itself; no I/O, no await, no clock outside core/clock."""
    rule = "core-is-pure"
    for module in modules:
        if not lies_in(module.name, CORE):
            continue
        for target, line in imports_of(module):
            root = target.split(".")[0]
            if root == "bridge":
                allowed = lies_in(target, CORE)
            else:
                allowed = root in sys.stdlib_module_names and root not in CORE_BANNED
                allowed = allowed or (module.name == CLOCK and root == "time")
            if not allowed:
                yield module.violates(rule, line, target, f"core may not import {target}")
        for node in ast.walk(module.tree):
            if isinstance(node, ast.AsyncFunctionDef | ast.AsyncFor | ast.AsyncWith | ast.Await):
                yield module.violates(rule, node.lineno, "await", "core may not wait for anything")
        for name, line in references_of(module):
            if name in ("open", "input"):
                yield module.violates(rule, line, name, f"core may not call {name}()")


def check_steps_are_apart(modules: Sequence[Module]) -> Iterator[Violation]:
    """Step packages never import one another; what passes between them is a core value."""
    for module in modules:
        own = next((step for step in STEPS if lies_in(module.name, f"bridge.{step}")), None)
        if own is None:
            continue
        for target, line in imports_of(module):
            other = next((step for step in STEPS if lies_in(target, f"bridge.{step}")), None)
            if other not in (None, own):
                message = f"{own} may not import {other}: pass a core value through the pipeline"
                yield module.violates("steps-are-apart", line, target, message)


def check_makers(modules: Sequence[Module]) -> Iterator[Violation]:
    """Only risk makes an Approved."""
    for module in modules:
        for node in ast.walk(module.tree):
            if not isinstance(node, ast.Call):
                continue
            name = (dotted_name(node.func) or "").split(".")[-1]
            if name in MAKERS and not module.lies_in(MAKERS[name]):
                message = f"only {' and '.join(MAKERS[name])} may make {name}"
                yield module.violates("makers", node.lineno, name, message)


def check_adapters(modules: Sequence[Module]) -> Iterator[Violation]:
    """Only bootstrap names concrete brokers."""
    for module in modules:
        for target, line in imports_of(module):
            adapter = next((adapter for adapter in ADAPTERS if lies_in(target, adapter)), None)
            if adapter is not None and not module.lies_in((adapter, *ADAPTER_USERS)):
                message = f"only {', '.join(ADAPTER_USERS)} may import {adapter}: use the port bridge.brokers.base"
                yield module.violates("adapters", line, target, message)


def check_library_homes(modules: Sequence[Module]) -> Iterator[Violation]:
    """Each outside library is imported only where it lives (LIBRARY_HOMES)."""
    rule = "library-homes"
    first_user: dict[str, str] = {}
    for module in modules:
        for target, line in imports_of(module):
            root = target.split(".")[0]
            homes = LIBRARY_HOMES.get(root)
            if homes is None:
                if root != "bridge" and root not in sys.stdlib_module_names:
                    message = f"{root} has no home yet: give it one in LIBRARY_HOMES"
                    yield module.violates(rule, line, root, message)
            elif not module.lies_in(homes):
                message = f"{root} may be imported only in {', '.join(homes)}"
                yield module.violates(rule, line, root, message)
            elif root in ONE_PLACE and first_user.setdefault(root, module.name) != module.name:
                message = f"{root} is for one module, and {first_user[root]} has it"
                yield module.violates(rule, line, root, message)


def check_cycles(modules: Sequence[Module]) -> Iterator[Violation]:
    """No import cycles, be they in a function or for types only."""
    by_name = {module.name: module for module in modules}
    edges = {module.name: sorted(inner_imports(module, by_name)) for module in modules}
    done: set[str] = set()
    for start in sorted(by_name):
        cycle = find_cycle(start, edges, done)
        if cycle is not None:
            shown = " -> ".join(cycle)
            yield by_name[start].violates("cycles", 1, shown, f"import cycle: {shown}")


def inner_imports(module: Module, by_name: dict[str, Module]) -> set[str]:
    found = set()
    for name, _ in imports_of(module):
        target = name
        while target and target not in by_name:
            target = target.rpartition(".")[0]
        found.add(target)
    return found - {"", module.name}


def find_cycle(start: str, edges: dict[str, list[str]], done: set[str]) -> list[str] | None:
    """The first cycle reachable from `start`, depth first; modules already cleared are not entered again."""
    path: list[str] = []
    pending = [(start, 0)]
    while pending:
        name, depth = pending.pop()
        while len(path) > depth:
            done.add(path.pop())
        if name in path:
            done.update(path)
            return [*path[path.index(name) :], name]
        if name in done:
            continue
        path.append(name)
        pending.extend((target, depth + 1) for target in edges[name])
    done.update(path)
    return None


# --- the checks: budgets ------------------------------------------------------------------------------------


def check_function_length(modules: Sequence[Module]) -> Iterator[Violation]:
    """A function fits on a screen."""
    rule = "function-length"
    lengths = []
    for module in modules:
        if lies_in(module.name, MIGRATIONS):
            continue
        for node, name in scoped_nodes(module.tree):
            if isinstance(node, FunctionNode):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                lengths.append((length, module, name, node.lineno))
                if length > MAX_FUNCTION_LINES:
                    message = f"{name} has {length} lines; at most {MAX_FUNCTION_LINES}"
                    yield module.violates(rule, node.lineno, name, message)
    yield from check_percentile(rule, "functions", P95_FUNCTION_LINES, lengths)


def check_file_length(modules: Sequence[Module]) -> Iterator[Violation]:
    """A file is read in one sitting."""
    rule = "file-length"
    lengths = []
    for module in modules:
        lengths.append((module.line_count, module, module.name, 1))
        if module.line_count > MAX_FILE_LINES:
            message = f"{module.line_count} lines; at most {MAX_FILE_LINES}"
            yield module.violates(rule, 1, module.name, message)
    yield from check_percentile(rule, "files", P95_FILE_LINES, lengths)


def check_percentile(rule: str, things: str, limit: int, lengths: list[tuple[int, Module, str, int]]) -> Iterator[Violation]:
    if len(lengths) < P95_SAMPLE:
        return
    reached = percentile_95([length for length, *_ in lengths])
    if reached > limit:
        longest = sorted(lengths, key=lambda entry: entry[0], reverse=True)[:10]
        shown = ", ".join(f"{module.path}:{line} {name} ({length})" for length, module, name, line in longest)
        message = f"95 % of {things} should have at most {limit} lines, it is {reached}; the longest: {shown}"
        yield Violation(rule=rule, path="bridge", line=0, subject="p95", message=message)


def check_levels(modules: Sequence[Module]) -> Iterator[Violation]:
    """At most two folders deep under bridge/."""
    for module in modules:
        folder = Path(module.path).parent
        if len(folder.parts) - 1 > MAX_LEVELS and folder.as_posix() not in DEEPER_FOLDERS:
            message = f"lies {len(folder.parts) - 1} folders under bridge/; at most {MAX_LEVELS}"
            yield module.violates("levels", 1, module.name, message)


# --- the checks: banned things ------------------------------------------------------------------------------


def check_clock_and_chance(modules: Sequence[Module]) -> Iterator[Violation]:
    """Time, chance and identity are inputs; only core/clock and core/ids make them."""
    for module in modules:
        for name, line in references_of(module):
            banned = next((banned for banned in BANNED_REFERENCES if lies_in(name, banned)), None)
            if banned is None:
                continue
            homes, instead = BANNED_REFERENCES[banned]
            if not module.lies_in(homes):
                yield module.violates("clock-and-chance", line, name, f"{name} is banned here: {instead}")


def check_floats(modules: Sequence[Module]) -> Iterator[Violation]:
    """No floats where money and quantities are."""
    for module in modules:
        if not module.lies_in(FLOAT_FREE):
            continue
        seconds = set(seconds_literals(module.tree)) if module.lies_in(SECONDS) else set()
        for node in ast.walk(module.tree):
            found = None
            if isinstance(node, ast.Call) and dotted_name(node.func) == "float":
                found = "float()"
            elif isinstance(node, ast.Constant) and isinstance(node.value, float | complex):
                found = None if node in seconds else repr(node.value)
            if found is not None and (module.name, found) not in FLOAT_ALLOWANCES:
                line = getattr(node, "lineno", 0)
                message = f"{found}: money and quantities are Decimal; see FLOAT_ALLOWANCES for what is neither"
                yield module.violates("floats", line, found, message)


def seconds_literals(tree: ast.AST) -> Iterator[ast.Constant]:
    """Literals that are the value of a name ending in _s: assigned, a default, or a keyword argument."""
    for node in ast.walk(tree):
        named: list[tuple[str, ast.AST | None]] = []
        if isinstance(node, ast.Assign):
            named = [(dotted_name(target) or "", node.value) for target in node.targets]
        elif isinstance(node, ast.AnnAssign):
            named = [(dotted_name(node.target) or "", node.value)]
        elif isinstance(node, ast.keyword):
            named = [(node.arg or "", node.value)]
        elif isinstance(node, ast.arguments):
            positional = [*node.posonlyargs, *node.args]
            first = len(positional) - len(node.defaults)
            named = [(arg.arg, value) for arg, value in zip(positional[first:], node.defaults, strict=True)]
            named += [(arg.arg, value) for arg, value in zip(node.kwonlyargs, node.kw_defaults, strict=True)]
        for name, value in named:
            if name.lower().endswith("_s") and value is not None:
                yield from (leaf for leaf in ast.walk(value) if isinstance(leaf, ast.Constant))


def check_prints(modules: Sequence[Module]) -> Iterator[Violation]:
    """Only commands speak to the terminal."""
    for module in modules:
        if module.lies_in(PRINTERS):
            continue
        for name, line in references_of(module):
            if name in ("print", "pprint.pprint"):
                yield module.violates("prints", line, name, f"{name}: log an event, or let a command print")


def check_broad_excepts(modules: Sequence[Module]) -> Iterator[Violation]:
    """Broad excepts only at the loop edges, or to clean up and raise on."""
    for module in modules:
        for line, scope in broad_excepts(module):
            place = f"{module.name}:{scope}"
            if place not in BROAD_EXCEPTS:
                message = f"broad except: name the errors, or list {place!r} in BROAD_EXCEPTS with its why"
                yield module.violates("broad-excepts", line, place, message)


def broad_excepts(module: Module) -> Iterator[tuple[int, str]]:
    for node, scope in scoped_nodes(module.tree):
        if isinstance(node, ast.ExceptHandler):
            last = node.body[-1]
            raises_on = isinstance(last, ast.Raise) and last.exc is None
            if is_broad(node.type) and not raises_on:
                yield node.lineno, scope
        elif isinstance(node, ast.Call) and dotted_name(node.func) in ("suppress", "contextlib.suppress"):
            yield from ((node.lineno, scope) for argument in node.args if is_broad(argument))


def is_broad(caught: ast.expr | None) -> bool:
    if caught is None:
        return True
    names = caught.elts if isinstance(caught, ast.Tuple) else [caught]
    return any(dotted_name(name) in ("Exception", "BaseException") for name in names)


def check_unfinished(modules: Sequence[Module]) -> Iterator[Violation]:
    """Nothing is half done."""
    for module in modules:
        for number, text in enumerate(module.source.splitlines(), start=1):
            for found in UNFINISHED.finditer(text):
                message = f"{found.group()}: do it, or open an issue"
                yield module.violates("unfinished", number, found.group(), message)
        for name, line in references_of(module):
            if name == "NotImplementedError":
                yield module.violates("unfinished", line, name, f"{name}: ports are Protocols, and code is finished")


# --- the checks: documentation ------------------------------------------------------------------------------


def check_module_docstrings(modules: Sequence[Module]) -> Iterator[Violation]:
    """Every module says its place in one line."""
    for module in modules:
        if module.tree.body and not ast.get_docstring(module.tree):
            message = "the module has no docstring that says its place"
            yield module.violates("module-docstrings", 1, module.name, message)


def check_docstrings(modules: Sequence[Module]) -> Iterator[Violation]:
    """Public names of core, the ports and settings are documented."""
    for module in modules:
        if not module.lies_in(DOCUMENTED):
            continue
        for node, name in public_definitions(module.tree):
            if not ast.get_docstring(node):
                yield module.violates("docstrings", node.lineno, name, f"{name} is public and has no docstring")


def public_definitions(tree: ast.AST, scope: str = "") -> Iterator[tuple[FunctionNode | ast.ClassDef, str]]:
    """Public classes, functions and methods; setters and overloads are documented by their first form."""
    for node in ast.iter_child_nodes(tree):
        if not isinstance(node, FunctionNode | ast.ClassDef) or node.name.startswith("_"):
            continue
        decorators = [(dotted_name(decorator) or "").split(".")[-1] for decorator in node.decorator_list]
        if {"overload", "setter", "override"} & set(decorators):
            continue
        name = f"{scope}.{node.name}" if scope else node.name
        yield node, name
        if isinstance(node, ast.ClassDef):
            yield from public_definitions(node, name)


CHECKS: dict[str, Check] = {
    "core-is-pure": check_core_is_pure,
    "steps-are-apart": check_steps_are_apart,
    "makers": check_makers,
    "adapters": check_adapters,
    "library-homes": check_library_homes,
    "cycles": check_cycles,
    "function-length": check_function_length,
    "file-length": check_file_length,
    "levels": check_levels,
    "clock-and-chance": check_clock_and_chance,
    "floats": check_floats,
    "prints": check_prints,
    "broad-excepts": check_broad_excepts,
    "unfinished": check_unfinished,
    "module-docstrings": check_module_docstrings,
    "docstrings": check_docstrings,
}


def check_text(path: str, text: str) -> Iterator[Violation]:
    """Nothing names a package registry or a folder of one developer's machine."""
    for number, line in enumerate(text.splitlines(), start=1):
        for forbidden in FORBIDDEN_TEXT:
            if forbidden in line:
                message = f"names {forbidden!r}, which holds on one machine only"
                yield Violation(rule="text", path=path, line=number, subject=forbidden, message=message)
        if path.endswith((".lock", ".txt")) and LOCK_OPTION.match(line):
            message = f"{line.strip().split()[0]} ties the lock to one index"
            yield Violation(rule="text", path=path, line=number, subject="option", message=message)


# --- the repository -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def modules() -> list[Module]:
    return read_modules(ROOT)


def repository_files() -> list[Path]:
    """What is in git or about to be."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout
    paths = [ROOT / name.decode() for name in listed.split(b"\0") if name]
    return [path for path in paths if path.is_file()]


@pytest.mark.parametrize("rule", CHECKS)
def test_bridge_keeps_the_rule(rule, modules):
    """Each rule holds for every module, but for the sins that are known."""
    report([violation for violation in CHECKS[rule](modules) if violation.key not in KNOWN_SINS], CHECKS[rule])


def report(violations: Sequence[Violation], check: Callable[..., object]) -> None:
    if violations:
        lines = [f"{check.__doc__} {len(violations)} broken:", *sorted(map(str, violations))]
        pytest.fail("\n  ".join(lines), pytrace=False)


def test_known_sins_only_shrink(modules):
    """A sin that is gone leaves the list, and the list never grows."""
    found = {violation.key for check in CHECKS.values() for violation in check(modules)}
    gone = KNOWN_SINS - found
    assert not gone, f"no longer true, take them out of KNOWN_SINS: {sorted(gone)}"
    assert len(KNOWN_SINS) <= KNOWN_SINS_CEILING, "KNOWN_SINS may only shrink: mend the new one instead"


def test_allowances_are_used_and_explained(modules):
    """An allowance nobody needs is taken back; each has its reason."""
    allowances = [*BROAD_EXCEPTS.items(), *FLOAT_ALLOWANCES.items()]
    assert all(reason for _, reason in allowances)
    used = {f"{module.name}:{scope}" for module in modules for _, scope in broad_excepts(module)}
    unused = set(BROAD_EXCEPTS) - used
    assert not unused, f"take them out of BROAD_EXCEPTS: {sorted(unused)}"
    sources = {module.name: ast.dump(module.tree) for module in modules}
    for name, literal in FLOAT_ALLOWANCES:
        sought = "id='float'" if literal == "float()" else f"value={literal})"
        assert sought in sources.get(name, ""), f"take {(name, literal)} out of FLOAT_ALLOWANCES"


def test_repository_names_no_registry_and_no_machine():
    """A clone works anywhere: no file names a package registry's host or a path of one machine."""
    found = [
        violation
        for path in repository_files()
        for violation in check_text(path.relative_to(ROOT).as_posix(), path.read_bytes().decode(errors="ignore"))
    ]
    report(found, check_text)


# --- the checks can fail ------------------------------------------------------------------------------------


def make(name: str, source: str) -> Module:
    return Module(name, name.replace(".", "/") + ".py", source)


def lines(count: int) -> str:
    return "def long():\n" + "    pass\n" * (count - 1)


BROKEN = [
    ("core-is-pure", "bridge.core.x", "import bridge.store"),
    ("core-is-pure", "bridge.core.x", "from bridge import settings"),
    ("core-is-pure", "bridge.core.x", "from ..store import writer"),
    ("core-is-pure", "bridge.core.x", "import structlog"),
    ("core-is-pure", "bridge.core.x", "import os"),
    ("core-is-pure", "bridge.core.x", "import time"),
    ("core-is-pure", "bridge.core.x", "def f():\n    from pathlib import Path"),
    ("core-is-pure", "bridge.core.clock", "async def f(): ..."),
    ("core-is-pure", "bridge.core.x", "f = open('x')"),
    ("steps-are-apart", "bridge.risk.engine", "from bridge.portfolio import book"),
    ("steps-are-apart", "bridge.intake.verify", "import bridge.execution.orders as orders"),
    ("steps-are-apart", "bridge.scanner.runner", "def f():\n    from bridge.reports.daily import x"),
    ("makers", "bridge.execution.orders", "Approved(intent=1)"),
    ("makers", "bridge.pipeline", "decision.Approved(intent=1)"),
    ("adapters", "bridge.pipeline", "from bridge.brokers.paper import PaperBroker"),
    ("adapters", "bridge.cli", "from bridge.brokers import kite"),
    ("adapters", "bridge.brokers.kite.orders", "import bridge.brokers.paper.book"),
    ("library-homes", "bridge.risk.engine", "import sqlalchemy"),
    ("library-homes", "bridge.web.pages", "import sqlite3"),
    ("library-homes", "bridge.pipeline", "from starlette.responses import JSONResponse"),
    ("library-homes", "bridge.web_extra", "import jinja2"),
    ("library-homes", "bridge.execution.orders", "from tenacity import retry"),
    ("library-homes", "bridge.store.tables", "import pandas"),
    ("levels", "bridge.a.b.c.d", "x = 1"),
    ("clock-and-chance", "bridge.worker", "import datetime\ndatetime.datetime.now()"),
    ("clock-and-chance", "bridge.worker", "from datetime import datetime as d\nd.utcnow()"),
    ("clock-and-chance", "bridge.worker", "import datetime as dt\nf = dt.date.today"),
    ("clock-and-chance", "bridge.worker", "from time import time\ntime()"),
    ("clock-and-chance", "bridge.worker", "import time\nfield(default_factory=time.time_ns)"),
    ("clock-and-chance", "bridge.worker", "import random\nrandom.random()"),
    ("clock-and-chance", "bridge.worker", "from uuid import uuid4\nuuid4()"),
    ("clock-and-chance", "bridge.worker", "import secrets\nsecrets.token_hex()"),
    ("clock-and-chance", "bridge.intake.verify", "from secrets import token_bytes\ntoken_bytes(8)"),
    ("clock-and-chance", "bridge.core.clock", "import random\nrandom.random()"),
    ("floats", "bridge.core.money", "x = float('1')"),
    ("floats", "bridge.risk.rules", "LIMIT = 0.5"),
    ("floats", "bridge.risk.rules", "WAIT_S = 0.5"),
    ("floats", "bridge.execution.outbox", "share = 0.5"),
    ("floats", "bridge.portfolio.pnl", "def f(x=1e3): ..."),
    ("prints", "bridge.worker", "print('x')"),
    ("prints", "bridge.client", "print('x')"),
    ("prints", "bridge.worker", "log = print"),
    ("broad-excepts", "bridge.worker", "try:\n    f()\nexcept:\n    pass"),
    ("broad-excepts", "bridge.worker", "try:\n    f()\nexcept Exception as error:\n    log(error)"),
    ("broad-excepts", "bridge.worker", "try:\n    f()\nexcept (OSError, BaseException):\n    pass"),
    (
        "broad-excepts",
        "bridge.worker",
        "try:\n    f()\nexcept Exception as e:\n    raise StoreError() from e",
    ),
    ("broad-excepts", "bridge.worker", "with contextlib.suppress(Exception):\n    f()"),
    ("unfinished", "bridge.worker", f"x = 1  # {'TO' + 'DO'}: more"),
    ("unfinished", "bridge.worker", "def f():\n    raise NotImplementedError"),
    ("module-docstrings", "bridge.worker", "x = 1"),
    ("docstrings", "bridge.core.money", "def f(): ..."),
    ("docstrings", "bridge.core.money", "class A:\n    'Doc.'\n    def f(self): ..."),
    ("docstrings", "bridge.brokers.base", "class Port:\n    async def place(self): ..."),
    ("docstrings", "bridge.settings", "class Settings: ..."),
    ("function-length", "bridge.worker", lines(MAX_FUNCTION_LINES + 1)),
    ("file-length", "bridge.worker", "x = 1\n" * (MAX_FILE_LINES + 1)),
]

CLEAN = [
    ("core-is-pure", "bridge.core.x", "from bridge.core.money import ZERO\nfrom decimal import Decimal"),
    ("core-is-pure", "bridge.core.x", "class Bar:\n    open: int"),
    ("core-is-pure", "bridge.core.x", "from . import money\nfrom .money import ZERO"),
    ("core-is-pure", "bridge.core.clock", "import time"),
    ("core-is-pure", "bridge.coreless", "import os"),
    ("steps-are-apart", "bridge.risk.engine", "from bridge.core import order\nfrom bridge.risk import rules"),
    (
        "steps-are-apart",
        "bridge.pipeline",
        "from bridge.risk import engine\nfrom bridge.execution import orders",
    ),
    ("steps-are-apart", "bridge.risk.engine", "import bridge.risky"),
    ("makers", "bridge.risk.engine", "Approved(intent=1)"),
    ("makers", "bridge.execution.orders", "isinstance(decision, Approved)"),
    ("adapters", "bridge.bootstrap", "from bridge.brokers.paper import PaperBroker"),
    ("adapters", "bridge.brokers.paper.broker", "from bridge.brokers.paper.book import Book"),
    ("adapters", "bridge.execution.router", "from bridge.brokers.base import Broker"),
    ("library-homes", "bridge.store.tables", "import sqlalchemy.orm\nfrom sqlmodel import Field"),
    ("library-homes", "bridge.execution.retry", "from tenacity import retry"),
    ("library-homes", "bridge.worker", "import asyncio\nimport structlog\nfrom bridge.core import order"),
    ("levels", "bridge.a.b.c", "x = 1"),
    ("levels", "bridge.store.migrations.versions.one", "x = 1"),
    ("clock-and-chance", "bridge.core.clock", "import datetime\ndatetime.datetime.now(datetime.UTC)"),
    ("clock-and-chance", "bridge.core.ids", "import secrets\nsecrets.token_hex()"),
    ("clock-and-chance", "bridge.vault", "import secrets\nsecrets.token_hex()"),
    (
        "clock-and-chance",
        "bridge.worker",
        "def f(clock, time, random):\n    clock.now()\n    time.time()\n    random.x()",
    ),
    ("clock-and-chance", "bridge.worker", "from datetime import datetime\ndatetime.fromisoformat('x')"),
    ("floats", "bridge.core.money", "def f(x: float) -> float:\n    return x if isinstance(x, float) else 1"),
    ("floats", "bridge.web.pages", "x = float(0.5)"),
    (
        "floats",
        "bridge.execution.outbox",
        "BASE_S = 0.25\ndef f(a, wait_s=0.5, *, cap_s: float = 2.0): g(timeout_s=1.5)",
    ),
    ("prints", "bridge.commands.check", "print('x')"),
    ("prints", "bridge.worker", "blueprint('x')\nself.print('x')"),
    ("broad-excepts", "bridge.worker", "try:\n    f()\nexcept (OSError, ValueError):\n    pass"),
    ("broad-excepts", "bridge.worker", "try:\n    f()\nexcept BaseException:\n    undo()\n    raise"),
    ("unfinished", "bridge.worker", "x = NotImplemented"),
    ("module-docstrings", "bridge.core", ""),
    (
        "docstrings",
        "bridge.core.money",
        "def _f(): ...\nclass _A:\n    def f(self): ...\ndef g():\n    'Doc.'\n    def h(): ...",
    ),
    ("docstrings", "bridge.worker", "def f(): ..."),
    ("function-length", "bridge.worker", lines(MAX_FUNCTION_LINES)),
    ("function-length", "bridge.store.migrations.versions.one", lines(500)),
    ("file-length", "bridge.worker", "x = 1\n" * MAX_FILE_LINES),
]


@pytest.mark.parametrize(("rule", "name", "source"), BROKEN)
def test_check_finds_a_broken_rule(rule, name, source):
    """Each rule can fail."""
    assert [violation.rule for violation in CHECKS[rule]([make(name, source)])] != []


@pytest.mark.parametrize(("rule", "name", "source"), CLEAN)
def test_check_lets_clean_code_pass(rule, name, source):
    """No rule cries wolf."""
    assert list(map(str, CHECKS[rule]([make(name, source)]))) == []


def test_every_rule_has_an_example_of_each_kind():
    """A rule without an example is not known to work; cycles have tests of their own."""
    rules = set(CHECKS) - {"cycles"}
    assert {rule for rule, *_ in BROKEN} == rules
    assert {rule for rule, *_ in CLEAN} == rules


def test_a_cycle_is_shown_with_its_way():
    """The message names the modules in the order they import one another."""
    ring = [
        make("bridge.a", "from bridge.b import x"),
        make("bridge.b", "def f():\n    from bridge import c"),
        make("bridge.c", "import bridge.a"),
        make("bridge.d", "import bridge.a"),
    ]
    assert [str(violation) for violation in check_cycles(ring)] == [
        "bridge/a.py:1: import cycle: bridge.a -> bridge.b -> bridge.c -> bridge.a"
    ]


def test_a_diamond_is_no_cycle():
    """Two ways to the same module are fine, and so is a package that imports its parts."""
    diamond = [
        Module(
            "bridge.p",
            "bridge/p/__init__.py",
            "from .one import x\nfrom bridge.p import two",
            is_package=True,
        ),
        make("bridge.p.one", "from bridge.base import x"),
        make("bridge.p.two", "from bridge.base import y\nfrom bridge.p.one import x"),
        make("bridge.base", "import json"),
    ]
    assert list(check_cycles(diamond)) == []


def test_a_library_for_one_module_is_refused_to_a_second():
    """prometheus_client is imported in one module, wherever that is."""
    users = [
        make("bridge.metrics", "import prometheus_client"),
        make("bridge.web.api", "import prometheus_client"),
    ]
    assert [violation.path for violation in check_library_homes(users)] == ["bridge/web/api.py"]


@pytest.mark.parametrize(("long", "broken"), [(1, 0), (3, 1)])
def test_the_percentile_budget_allows_one_in_twenty(long, broken):
    """Ninety-five in a hundred functions keep the smaller budget."""
    functions = [lines(P95_FUNCTION_LINES + 1)] * long + [lines(5)] * (40 - long)
    modules = [make(f"bridge.m{number}", source) for number, source in enumerate(functions)]
    assert len(list(check_function_length(modules))) == broken


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("README.md", "see https://" + FORBIDDEN_TEXT[0] + "/project"),
        ("Makefile", "cd " + FORBIDDEN_TEXT[-1] + "main"),
        ("requirements.lock", "--index-url https://example.org/simple"),
    ],
)
def test_text_that_ties_to_one_machine_is_found(path, text):
    """Registry hosts, index options and absolute paths are found in any file."""
    assert len(list(check_text(path, text))) == 1


def test_a_key_survives_an_edit_above_it():
    """A known sin is known by what it is, not by its line."""
    before, after = (next(check_prints([make("bridge.worker", padding + "print('x')")])) for padding in ("", "\n\n"))
    assert before.line != after.line
    assert before.key == after.key
