"""Terms from text, as scans and strategies write them: `close > sma(close, 100) & adx(14) > 20`. Read, never run.

`and`, `or` and `not` say the same as `&`, `|` and `~`; `close[1]` is the close one bar ago; `10 < x < 20` is two comparisons.
"""

import ast
import inspect
from collections.abc import Callable

from bridge.scanner.terms.library import FIELD_TERMS, FUNCTIONS, equal, lag
from bridge.scanner.terms.own import Factors
from bridge.scanner.terms.term import Term, TermError, numeric, verdict

LONGEST_TEXT = 2_000  # characters; the shipped scans need about a hundred
_WORDS = {"&": " and ", "|": " or ", "~": " not "}

_ARITHMETIC: dict[type[ast.operator], Callable[[Term, Term], Term]] = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.Div: lambda a, b: a / b,
}
_COMPARISONS: dict[type[ast.cmpop], Callable[[Term, Term], Term]] = {
    ast.Gt: lambda a, b: a > b,
    ast.GtE: lambda a, b: a >= b,
    ast.Lt: lambda a, b: a < b,
    ast.LtE: lambda a, b: a <= b,
    ast.Eq: equal,
    ast.NotEq: lambda a, b: ~equal(a, b),
}
Value = Term | int | float


def parse(text: str, factors: Factors | None = None) -> Term:
    """The term that `text` writes; raises TermError with the column and a caret under what is wrong."""
    return _Reader(text, factors or Factors()).read()


def parse_verdict(text: str, factors: Factors | None = None) -> Term:
    """The same for a filter or a rule, which has to say yes or no."""
    return verdict(parse(text, factors))


class _Reader:
    """One text. Our symbols bind looser than comparisons, Python's do not: they become words before the text is read."""

    def __init__(self, text: str, factors: Factors):
        self._text, self._factors = " ".join(text.split()), factors
        self._columns: list[int] = []

    def read(self) -> Term:
        if len(self._text) > LONGEST_TEXT:
            raise TermError(f"an expression of {len(self._text)} characters; at most {LONGEST_TEXT} are read")
        if not self._text.isascii():
            column = next(at for at, each in enumerate(self._text) if not each.isascii())
            raise self._error(column, f"{self._text[column]!r} has no meaning here")
        try:
            tree = ast.parse(self._in_words(), mode="eval")
            return self._term(tree.body)
        except SyntaxError as error:
            at = (error.offset or len(self._columns)) - 1  # no offset: it ended too soon
            raise self._error(self._columns[min(at, len(self._columns) - 1)], "this cannot be read as an expression") from None
        except (RecursionError, MemoryError, ValueError):
            raise self._error(0, "this is nested too deeply, or is no text") from None

    def _in_words(self) -> str:
        pieces = list[str]()
        for column, each in enumerate(self._text):
            word = _WORDS.get(each, each)
            pieces.append(word)
            self._columns += [column] * len(word)
        self._columns.append(len(self._text))
        written = "".join(pieces)
        # Python reads no expression that begins with a space.
        self._columns = self._columns[len(written) - len(written.lstrip()) :]
        return written.lstrip()

    def _error(self, column: int, message: str) -> TermError:
        return TermError(f"column {column + 1}: {message}\n  {self._text}\n  {' ' * column}^")

    def _placed(self, node: ast.expr, error: TermError) -> TermError:
        """The error with the column of its node, unless a part of the node has told its own."""
        if str(error).startswith("column "):
            return error
        return self._error(self._columns[min(node.col_offset, len(self._columns) - 1)], str(error))

    def _term(self, node: ast.expr) -> Term:
        try:
            return numeric(value) if not isinstance(value := self._value(node), Term) else value
        except TermError as error:
            raise self._placed(node, error) from None

    def _value(self, node: ast.expr) -> Value:
        """A term, or a plain number, which may also be a parameter."""
        try:
            return self._read_node(node)
        except TermError as error:
            raise self._placed(node, error) from None

    def _read_node(self, node: ast.expr) -> Value:
        match node:
            case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
                return number
            case ast.Name(id=name):
                return self._field(name)
            case ast.UnaryOp(op=ast.Not() | ast.USub()):
                value = self._value(node.operand)
                return -value if isinstance(node.op, ast.USub) else ~verdict(value)
            case ast.BoolOp():
                return self._joined(node)
            case ast.BinOp(op=op) if type(op) in _ARITHMETIC:
                return _ARITHMETIC[type(op)](self._term(node.left), self._term(node.right))
            case ast.Compare():
                return self._compared(node)
            case ast.Subscript(value=of, slice=ast.Constant(value=int() as back)) if not isinstance(back, bool):
                return lag(self._term(of), back)
            case ast.Call(func=ast.Name(id=name)):
                return self._called(node, name)
        raise TermError("only terms, numbers, + - * /, comparisons and & | ~ may stand here")

    def _field(self, name: str) -> Term:
        if name in FIELD_TERMS:
            return FIELD_TERMS[name]
        if name in FUNCTIONS or self._factors.get(name):
            raise TermError(f"{name} wants its inputs in parentheses")
        raise TermError(f"{name} is not known; there are {', '.join(FIELD_TERMS)} and functions such as sma(close, 20)")

    def _joined(self, node: ast.BoolOp) -> Term:
        terms = [self._term(each) for each in node.values]
        joined = terms[0]
        for each in terms[1:]:
            joined = joined & each if isinstance(node.op, ast.And) else joined | each
        return joined

    def _compared(self, node: ast.Compare) -> Term:
        sides = [self._term(each) for each in (node.left, *node.comparators)]
        compared = list[Term]()
        for op, left, right in zip(node.ops, sides, sides[1:], strict=False):
            if type(op) not in _COMPARISONS:
                raise TermError("only > >= < <= == != compare")
            compared.append(_COMPARISONS[type(op)](left, right))
        joined = compared[0]
        for each in compared[1:]:
            joined = joined & each
        return joined

    def _called(self, node: ast.Call, name: str) -> Term:
        function = FUNCTIONS.get(name) or self._factors.get(name)
        if function is None:
            raise TermError(f"{name} is not a function that is known")
        if any(isinstance(each, ast.Starred) for each in node.args) or any(each.arg is None for each in node.keywords):
            raise TermError("* has no meaning here")
        given = [self._value(each) for each in node.args]
        named = {str(each.arg): self._value(each.value) for each in node.keywords}
        signature = inspect.signature(function)
        try:
            signature.bind(*given, **named)
        except TypeError as error:
            raise TermError(f"{name}{_told(signature)}: {error}") from None
        return function(*given, **named)


def _told(signature: inspect.Signature) -> str:
    """The parameters as a user writes them, without types."""
    told = [name if each.default is each.empty else f"{name}={each.default}" for name, each in signature.parameters.items()]
    return f"({', '.join(told)})"
