"""Single changes of a module's source that could silently give wrong figures: `changes`.

    a < b     → a <= b, a >= b        f(a, b, k=c) → f(b, a, k=c), f(a, b)
    a + b     → a - b                 a and b      → a or b, a, b
    3, True   → 4, 2, False           [a, b]       → [b, a]
    min, sum  → max, mean             {k: v}       → {}
    not a, -a → a                     a.b = c, f() → pass
    x if c else y → x, y              if c:        → if not (c):
    x[a:b]    → x[:b], x[a:]          return a     → return b
    break     → continue

Parts that no figure depends on are left out: docstrings, annotations and type aliases, messages and
f-strings, logging, layout. A change replaces a piece of the source, so that all other lines keep
their numbers.
"""

import ast
import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

COMPARISONS = {
    ast.Lt: ("<", "<=", ">="),
    ast.LtE: ("<=", "<", ">"),
    ast.Gt: (">", ">=", "<="),
    ast.GtE: (">=", ">", "<"),
    ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="),
    ast.Is: ("is", "is not"),
    ast.IsNot: ("is not", "is"),
    ast.In: ("in", "not in"),
    ast.NotIn: ("not in", "in"),
}
OPERATORS = {
    ast.Add: ("+", "-"),
    ast.Sub: ("-", "+"),
    ast.Mult: ("*", "/"),
    ast.Div: ("/", "*"),
    ast.FloorDiv: ("//", "*"),
    ast.Mod: ("%", "//"),
    ast.Pow: ("**", "*"),
    ast.BitXor: ("^", "|"),
    ast.BitAnd: ("&", "|"),
}
FUNCTIONS = {
    "sum": "max",
    "max": "min",
    "min": "max",
    "any": "all",
    "all": "any",
    "ceil": "int",
    "round": "int",
    "cos": "abs",
}
METHODS = {
    "sum": "mean",
    "mean": "sum",
    "max": "min",
    "min": "max",
    "any": "all",
    "all": "any",
    "argmax": "argmin",
    "std": "var",
    "add_": "sub_",
    "sub_": "add_",
    "mul_": "div_",
    "div_": "mul_",
    "clamp_min_": "clamp_max_",
    "eval": "train",
    "clamp_max_": "clamp_min_",
    "minimum": "maximum",
    "maximum": "minimum",
    "gt_": "ge_",
    "cummin": "cummax",
    "cummax": "cummin",
    "idxmin": "idxmax",
    "idxmax": "idxmin",
    "head": "tail",
}
OPTIONAL = {
    "flatten",
    "get",
    "getattr",
    "round",
    "clamp",
    "range",
    "sum",
    "mean",
    "split",
    "sorted",
    "reshape",
    "any",
    "all",
}
ANY_ORDER = {
    "min",
    "max",
    "isinstance",
    "promote_types",
    "endswith",
    "startswith",
    "isdisjoint",
    "isfile",
}
A_PATH = re.compile(r"folder|path|place|root|file|Path|['\"]", re.IGNORECASE)
SILENT = {
    "say",
    "print",
    "debug",
    "info",
    "warning",
    "error",
    "cast",
    "isinstance",
    "add_section",
    "add_column",
}
LOOK = {
    "color",
    "width",
    "dash",
    "symbol",
    "size",
    "thickness",
    "mode",
    "shape",
    "opacity",
    "justify",
    "style",
    "no_wrap",
    "title_justify",
    "highlight",
    "soft_wrap",
    "prefix",
    "strict",
    "tickformat",
    "exponentformat",
    "hovertemplate",
    "encoding",
    "line",
    "marker",
    "height",
    "gap",
    "title",
    "columns",
    "colorbar",
    "name",
}
TEXT = (str, bytes)


@dataclass(frozen=True)
class Change:
    """A replacement of bytes `start` to `end` of a module's source by `text`.

    They are on lines `first` to `last`, in the function `where`.
    """

    where: str
    first: int
    last: int
    start: int
    end: int
    text: str

    def applied(self, source: str) -> str:
        raw = source.encode()
        return (raw[: self.start] + self.text.encode() + raw[self.end :]).decode()

    def differs(self, source: str) -> bool:
        """Return whether the result is valid Python and another program."""
        try:
            return ast.dump(ast.parse(self.applied(source))) != ast.dump(ast.parse(source))
        except SyntaxError:
            return False


def changes(source: str) -> dict[str, Change]:
    """Return all changes of a module, by a name that is stable while the changed lines are."""
    raw = source.encode()
    found: dict[str, Change] = {}
    seen: Counter[str] = Counter()
    for change in _Source(source).all():
        start, end = raw.rfind(b"\n", 0, change.start) + 1, raw.find(b"\n", change.end)
        before = raw[start:end].decode()
        after = f"{raw[start : change.start].decode()}{change.text}{raw[change.end : end].decode()}"
        words = f"{change.where}\n{before}\n{after}"
        seen[words] += 1
        found[hashlib.sha256(f"{words}\n{seen[words]}".encode()).hexdigest()[:8]] = change
    return found


class _Source:
    """A module's source as a tree whose nodes know their bytes."""

    def __init__(self, source: str) -> None:
        self._raw = source.encode()
        self._tree = ast.parse(source)
        lengths = [len(line) for line in self._raw.splitlines(keepends=True)]
        self._begins = [sum(lengths[:number]) for number in range(len(lengths) + 1)]
        self._sets: set[ast.AST] = set()  # tuples and lists whose order has no effect

    def all(self) -> Iterator[Change]:
        yield from self._below(self._tree, "", [])

    def _below(self, node: ast.AST, where: str, names: list[str]) -> Iterator[Change]:
        """Yield the changes of a node and of all nodes below it.

        `names` are those that the function has assigned so far.
        """
        if _left_out(node):
            return
        self._note_sets(node)
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            where = f"{where}.{node.name}".lstrip(".")
        if isinstance(node, ast.FunctionDef):
            names = [argument.arg for argument in node.args.args if argument.arg != "self"]
        for start, end, text in self._of(node, names):
            first, last = (1 + self._raw[:place].count(b"\n") for place in (start, end))
            yield Change(where, first, last, start, end, text)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.append(node.id)
        if not isinstance(node, ast.Raise):
            for child in _parts(node):
                yield from self._below(child, where, names)

    def _note_sets(self, node: ast.AST) -> None:
        """Add the tuples and lists of a node whose order has no effect."""
        if isinstance(node, ast.Compare) and isinstance(node.ops[-1], ast.In | ast.NotIn):
            self._sets.update(node.comparators)
        if isinstance(node, ast.ExceptHandler) and node.type:
            self._sets.add(node.type)
        if isinstance(node, ast.Call) and _called(node) in ANY_ORDER:
            self._sets.update(node.args)

    def _span(self, node: ast.AST) -> tuple[int, int]:
        begins = self._begins
        return begins[node.lineno - 1] + node.col_offset, begins[
            node.end_lineno - 1
        ] + node.end_col_offset  # type: ignore[attr-defined]

    def _text(self, node: ast.AST) -> str:
        start, end = self._span(node)
        return self._raw[start:end].decode()

    def _between(self, left: ast.AST, right: ast.AST, old: str, new: str) -> tuple[int, int, str]:
        """Return a change of the operator between two operands; brackets around them stay."""
        start, end = self._span(left)[1], self._span(right)[0]
        return start, end, self._raw[start:end].decode().replace(old, new, 1)

    def _of(self, node: ast.AST, names: list[str]) -> Iterator[tuple[int, int, str]]:
        """Yield the changes of a node itself, whatever kind it is of."""
        whole = self._span(node) if hasattr(node, "lineno") else (0, 0)
        yield from self._of_operator(node, whole)
        yield from self._of_expression(node, whole)
        yield from self._of_statement(node, whole, names)

    def _of_operator(self, node: ast.AST, whole: tuple[int, int]) -> Iterator[tuple[int, int, str]]:
        match node:
            case ast.Compare():
                for left, op, right in zip(
                    [node.left, *node.comparators], node.ops, node.comparators, strict=False
                ):
                    old, *others = COMPARISONS[type(op)]
                    yield from (self._between(left, right, old, new) for new in others)
            case ast.BinOp(op=ast.BitOr()):  # of dicts, sets or types: one operand alone
                yield from ((*whole, f"({self._text(side)})") for side in (node.left, node.right))
            case ast.BinOp() if type(node.op) in OPERATORS and not any(
                map(_is_text, (node.left, node.right))
            ):
                if isinstance(node.op, ast.Div) and A_PATH.search(self._text(node)):
                    return
                yield self._between(node.left, node.right, *OPERATORS[type(node.op)])
            case ast.UnaryOp():
                yield (*whole, f"({self._text(node.operand)})")
            case ast.BoolOp():
                old, new = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
                yield self._between(node.values[0], node.values[1], old, new)
                for left_out in node.values:
                    rest = [
                        f"({self._text(value)})" for value in node.values if value is not left_out
                    ]
                    yield (*whole, f"({f' {old} '.join(rest)})")

    def _of_expression(
        self, node: ast.AST, whole: tuple[int, int]
    ) -> Iterator[tuple[int, int, str]]:
        match node:
            case ast.Constant(value=bool()):
                yield (*whole, str(not node.value))
            case ast.Constant(value=int() as number):
                yield from ((*whole, str(other)) for other in (number + 1, number - 1))
            case ast.Constant(value=float() as number):
                yield from (
                    (*whole, f"({other!r})")
                    for other in ((2 * number, -number) if number else (1.0,))
                )
            case ast.Call():
                yield from self._of_call(node)
            case ast.IfExp():
                yield from ((*whole, f"({self._text(side)})") for side in (node.body, node.orelse))
            case ast.comprehension():
                yield from ((*self._span(condition), "True") for condition in node.ifs)
            case ast.Slice():
                yield from self._of_slice(node)
            case ast.Tuple(ctx=ast.Load()) | ast.List(ctx=ast.Load()) if node not in self._sets:
                yield from self._exchanged(node.elts)
            case ast.Dict():
                yield from self._of_dict(node)

    def _of_slice(self, node: ast.Slice) -> Iterator[tuple[int, int, str]]:
        parts = (node.lower, node.upper, node.step)
        lower, upper, step = (self._text(part) if part else "" for part in parts)
        if lower:
            yield (*self._span(node), f":{upper}:{step}")
        if upper:
            yield (*self._span(node), f"{lower}::{step}")

    def _of_dict(self, node: ast.Dict) -> Iterator[tuple[int, int, str]]:
        for key, value in zip(node.keys, node.values, strict=True):
            if key and not (isinstance(key, ast.Constant) and key.value in LOOK):
                yield self._span(key)[0], self._span(value)[1], "**{}"

    def _of_statement(
        self, node: ast.AST, whole: tuple[int, int], names: list[str]
    ) -> Iterator[tuple[int, int, str]]:
        match node:
            case ast.AugAssign():
                if type(node.op) in OPERATORS and not _is_text(node.value):
                    yield self._between(node.target, node.value, *OPERATORS[type(node.op)])
                yield (*whole, "pass")
            case ast.If() | ast.While() if not isinstance(node.test, ast.Compare | ast.UnaryOp):
                yield (*self._span(node.test), f"not ({self._text(node.test)})")
            case ast.Expr(value=ast.Call() as call) if _called(call) not in SILENT:
                yield (*whole, "pass")
            case (
                ast.Assign(targets=[ast.Attribute() | ast.Subscript()]) | ast.Delete() | ast.Raise()
            ):
                yield (*whole, "pass")
            case ast.Return(value=ast.Name() as name):
                others = [other for other in names if other != name.id]
                yield from ((*self._span(name), other) for other in others[-1:])
            case ast.Break() | ast.Continue():
                yield (*whole, "continue" if isinstance(node, ast.Break) else "break")

    def _of_call(self, node: ast.Call) -> Iterator[tuple[int, int, str]]:
        """Yield changes of a call.

        Another function of its kind, neighbouring arguments exchanged, the last or a keyword left
        out.
        """
        end = self._span(node)[1] - 1
        match node.func:
            case ast.Attribute(attr=name) if name in METHODS:
                yield self._span(node.func)[1] - len(name), self._span(node.func)[1], METHODS[name]
            case ast.Name(id=name) if name in FUNCTIONS:
                yield (*self._span(node.func), FUNCTIONS[name])
        if _called(node) not in SILENT | ANY_ORDER:
            yield from self._exchanged(node.args)
        if _called(node) in OPTIONAL and node.args and not node.keywords:
            start = self._span(node.args[-2])[1] if node.args[1:] else self._span(node.func)[1] + 1
            yield start, end, ""
        for at, keyword in enumerate(node.keywords):
            if keyword.arg and keyword.arg not in LOOK:
                start, stop = self._span(keyword)
                following = re.match(rb"\s*,\s*", self._raw[stop:end])
                before = re.search(rb",\s*$", self._raw[:start])
                if following:
                    yield start, stop + following.end(), ""
                elif before and (at or node.args):
                    yield before.start(), stop, ""
                else:
                    yield start, stop, ""

    def _exchanged(self, nodes: Sequence[ast.AST]) -> Iterator[tuple[int, int, str]]:
        """Yield exchanges of neighbours of one kind: two names, two numbers, two calls."""
        for left, right in pairwise(nodes):
            if type(left) is type(right) and not isinstance(left, ast.Starred):
                (start, middle), (second, end) = self._span(left), self._span(right)
                yield (
                    start,
                    end,
                    f"{self._text(right)}{self._raw[middle:second].decode()}{self._text(left)}",
                )


def _called(node: ast.Call) -> str:
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def _is_text(node: ast.AST) -> bool:
    constant = isinstance(node, ast.Constant) and isinstance(node.value, TEXT)
    return constant or isinstance(node, ast.JoinedStr | ast.List | ast.Tuple)


def _left_out(node: ast.AST) -> bool:
    """Return whether nothing below a node is changed."""
    if isinstance(node, ast.FunctionDef):
        return node.name in ("__repr__", "extra_repr")
    if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
        return bool(re.match("__all__|[A-Z][a-z]", node.targets[0].id))  # exports and type aliases
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        return _called(node.value) in SILENT
    if isinstance(node, ast.keyword):
        return node.arg in LOOK
    is_typing = (
        isinstance(node, ast.If)
        and isinstance(node.test, ast.Name)
        and node.test.id == "TYPE_CHECKING"
    )
    return is_typing or isinstance(node, ast.JoinedStr)


def _parts(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes directly below one.

    Left out are annotations, decorators, operators, and parts that only affect layout.
    """
    for field, value in ast.iter_fields(node):
        if field in ("annotation", "returns", "decorator_list", "bases", "type_comment"):
            continue
        if isinstance(node, ast.Dict) and field == "values":
            pairs = zip(node.keys, node.values, strict=True)
            yield from (
                part
                for key, part in pairs
                if not (isinstance(key, ast.Constant) and key.value in LOOK)
            )
        else:
            yield from (
                part
                for part in (value if isinstance(value, list) else [value])
                if isinstance(part, ast.AST)
            )
