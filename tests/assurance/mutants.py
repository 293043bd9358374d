"""Generates the mutants of mutation testing: copies of Solidity files with one small fault each.

The faults are made from the compiler's syntax tree, so that every place is found and every fault is
one expression or statement. Operators: relational replacement in the reduced form that subsumes the
others (Kaminski, Ammann and Offutt 2013, "Improving logic-based testing"); arithmetic, logical,
assignment and unary replacement; conditions negated; constants changed by one; enum members, and
neighbouring arguments of one type, exchanged; statements, initial values and modifiers removed.
"""

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from fl_orchestrator.chain.deployment.compile import Project

Node = dict[str, Any]

#: The replacements of each comparison.
_RELATIONS: Final = {
    "<": ("<=", "!=", "false"),
    ">": (">=", "!=", "false"),
    "<=": ("<", "==", "true"),
    ">=": (">", "==", "true"),
    "==": ("<=", ">=", "false"),
    "!=": ("<", ">", "true"),
}
#: Replacements that change nothing in a comparison of an unsigned number with 0.
_SAME_AT_ZERO: Final = {">": "!=", "==": "<=", "!=": ">"}
_MIRRORED: Final = {"<": ">", ">": "<", "<=": ">=", ">=": "<="}
_ARITHMETIC: Final = {
    "+": "-",
    "-": "+",
    "*": "/",
    "/": "*",
    "%": "*",
    "**": "*",
    "<<": ">>",
    ">>": "<<",
    "&": "|",
    "|": "&",
    "^": "&",
}
_STEPS: Final = {"++": "--", "--": "++"}
_DELETED: Final = frozenset(
    ["Break", "Continue", "EmitStatement", "ExpressionStatement", "Return", "RevertStatement"]
)
_ORDERED: Final = re.compile(r"u?int|bytes\d|address|enum|contract|int_const")
_COMMUTATIVE: Final = frozenset(["max", "min", "addmod", "mulmod"])


@dataclass(frozen=True, slots=True)
class Mutant:
    """``file`` (relative, POSIX) with its bytes ``start``..``end`` replaced."""

    file: str
    start: int
    end: int
    replacement: str
    operator: str

    def apply(self, source: bytes) -> bytes:
        """The mutated text of the file."""
        return source[: self.start] + self.replacement.encode() + source[self.end :]

    def diff(self, source: bytes) -> str:
        """The change as a unified diff without context."""
        old, new = source.decode().splitlines(), self.apply(source).decode().splitlines()
        lines = list(difflib.unified_diff(old, new, self.file, self.file, n=0, lineterm=""))
        return "\n".join(lines[2:])


def mutants_of(root: Path, files: list[Path]) -> list[Mutant]:
    """Every mutant of these files of the checkout at ``root``, in their order.

    ``files`` are relative to ``root``. Raises SolcError if the contracts do not compile.
    """
    project = Project.read(root)
    texts = {
        file.as_posix(): (root / file).read_text(encoding="utf-8")
        for file in project.source_files()
    }
    trees = _syntax_trees(project, texts)
    enums = _enums(trees)
    found: dict[tuple[str, int, int, str], Mutant] = {}
    for name in (file.as_posix() for file in files):
        for mutant in _File(name, texts[name].encode(), trees[name], enums).mutants():
            found.setdefault((name, mutant.start, mutant.end, mutant.replacement), mutant)
    return sorted(found.values(), key=lambda m: (m.file, m.start, m.end, m.replacement))


def _syntax_trees(project: Project, texts: dict[str, str]) -> dict[str, Node]:
    from solcx.main import compile_standard

    request = {
        "language": "Solidity",
        "sources": {name: {"content": text} for name, text in texts.items()},
        "settings": {**project.settings, "outputSelection": {"*": {"": ["ast"]}}},
    }
    output = compile_standard(request, solc_binary=project.compiler(), base_path=project.root)
    return {name: output["sources"][name]["ast"] for name in texts}


def _enums(trees: dict[str, Node]) -> dict[int, str]:
    """The name of the next member of an enum, by the declaration of each member."""
    return {
        member["id"]: members[(i + 1) % len(members)]["name"]
        for tree in trees.values()
        for node in _walk(tree)
        if node["nodeType"] == "EnumDefinition"
        for members in [node["members"]]
        for i, member in enumerate(members)
    }


class _File:
    """One file's text and syntax tree."""

    def __init__(self, name: str, source: bytes, tree: Node, enums: dict[int, str]) -> None:
        self.name, self.source, self.tree, self.enums = name, source, tree, enums
        #: Conditions of counting loops. With steps of one, `i < n` is equivalent to `i != n`.
        self.loops = {
            _span(node["condition"])
            for node in _walk(tree)
            if node["nodeType"] == "ForStatement" and node.get("condition")
        }

    def mutants(self) -> Iterator[Mutant]:
        """Yield mutants in the order of the tree; some occur more than once."""
        for node in _walk(self.tree):
            if rule := getattr(self, f"_{node['nodeType']}", None):
                yield from rule(node)
            if node["nodeType"] in _DELETED:
                yield self._removal(node)
            if condition := node.get("condition"):
                yield from self._negation(condition)

    # -------------------------------------------------------------- by kind of node

    def _BinaryOperation(self, node: Node) -> Iterator[Mutant]:
        operator = node["operator"]
        left, right = node["leftExpression"], node["rightExpression"]
        if operator in _RELATIONS:
            yield from self._relation(node, operator, left, right)
        elif operator in _ARITHMETIC:
            yield self._between(left, right, operator, _ARITHMETIC[operator], "arithmetic")
        else:
            other = "||" if operator == "&&" else "&&"
            yield self._between(left, right, operator, other, "logical")
            yield self._replace(node, self._text(left), "logical")
            yield self._replace(node, self._text(right), "logical")

    def _relation(self, node: Node, operator: str, left: Node, right: Node) -> Iterator[Mutant]:
        kind = left["typeDescriptions"]["typeString"]
        unsigned = not kind.startswith("int")
        same: str | None = None
        if unsigned and right.get("value") == "0":
            same = _SAME_AT_ZERO.get(operator)
        elif unsigned and left.get("value") == "0":
            mirrored = _SAME_AT_ZERO.get(_MIRRORED.get(operator, operator), "")
            same = _MIRRORED.get(mirrored, mirrored)
        for new in _RELATIONS[operator]:
            if new == "!=" and _span(node) in self.loops:
                continue
            if new in ("true", "false"):
                yield self._replace(node, new, "relational")
            elif new != same and (_ORDERED.match(kind) or new in ("==", "!=")):
                yield self._between(left, right, operator, new, "relational")
        if not _ORDERED.match(kind):
            yield self._between(
                left, right, operator, "!=" if operator == "==" else "==", "relational"
            )

    def _Assignment(self, node: Node) -> Iterator[Mutant]:
        operator = node["operator"]
        if operator != "=":
            sides = node["leftHandSide"], node["rightHandSide"]
            for new in (_ARITHMETIC[operator[:-1]] + "=", "="):
                yield self._between(*sides, operator, new, "assignment")

    def _UnaryOperation(self, node: Node) -> Iterator[Mutant]:
        operator, inner = node["operator"], self._text(node["subExpression"])
        if operator in _STEPS:
            new = _STEPS[operator]
            yield self._replace(node, new + inner if node["prefix"] else inner + new, "unary")
        elif operator != "delete":
            yield self._replace(node, inner, "unary")

    def _Literal(self, node: Node) -> Iterator[Mutant]:
        text = self._text(node)
        if node["kind"] == "bool":
            yield self._replace(node, "false" if text == "true" else "true", "constant")
        elif node["kind"] == "number":
            yield self._replace(node, f"({text} + 1)", "constant")
            if node["value"] != "0":
                yield self._replace(node, f"({text} - 1)", "constant")
        elif node["value"]:
            yield self._replace(node, '""', "constant")

    def _MemberAccess(self, node: Node) -> Iterator[Mutant]:
        if other := self.enums.get(node.get("referencedDeclaration", -1)):
            yield self._replace(node, f"{self._text(node['expression'])}.{other}", "constant")

    def _FunctionCall(self, node: Node) -> Iterator[Mutant]:
        called = node["expression"]
        name = called.get("memberName", called.get("name"))
        if node["kind"] == "typeConversion" or node["names"] or name in _COMMUTATIVE:
            return
        for a, b in zip(node["arguments"], node["arguments"][1:], strict=False):
            kinds = [argument["typeDescriptions"]["typeIdentifier"] for argument in (a, b)]
            texts = self._text(a), self._text(b)
            if kinds[0] == kinds[1] and texts[0] != texts[1]:
                (start, _), (_, end) = _span(a), _span(b)
                gap = self.source[_span(a)[1] : _span(b)[0]].decode()
                yield self._mutant(start, end, texts[1] + gap + texts[0], "arguments")

    def _VariableDeclarationStatement(self, node: Node) -> Iterator[Mutant]:
        value, declarations = node.get("initialValue"), node["declarations"]
        if value is None or len(declarations) != 1 or value.get("value") in ("0", "false"):
            return
        if declarations[0]["storageLocation"] in ("default", "memory"):
            yield self._mutant(_span(declarations[0])[1], _span(value)[1], "", "initial value")

    def _FunctionDefinition(self, node: Node) -> Iterator[Mutant]:
        for modifier in node["modifiers"]:
            if modifier.get("kind") == "modifierInvocation":
                yield self._replace(modifier, "", "modifier")

    def _YulAssignment(self, node: Node) -> Iterator[Mutant]:
        yield self._replace(node, "", "statement")

    def _YulExpressionStatement(self, node: Node) -> Iterator[Mutant]:
        yield self._replace(node, "", "statement")

    def _YulLiteral(self, node: Node) -> Iterator[Mutant]:
        if node["kind"] == "number":
            value = int(node["value"], 0)
            for new in {value + 1, max(value - 1, 0)} - {value}:
                yield self._replace(node, hex(new), "constant")

    def _removal(self, statement: Node) -> Mutant:
        start, end = _span(statement)
        if (rest := self.source[end:].lstrip()).startswith(b";"):
            return self._mutant(start, len(self.source) - len(rest) + 1, "{}", "statement")
        return self._mutant(start, end, "", "statement")  # the step of a loop

    def _negation(self, condition: Node) -> Iterator[Mutant]:
        if condition.get("operator") not in {*_RELATIONS, "!"}:
            yield self._replace(condition, f"!({self._text(condition)})", "negation")

    # -------------------------------------------------------------- text

    def _text(self, node: Node) -> str:
        start, end = _span(node)
        return self.source[start:end].decode()

    def _replace(self, node: Node, replacement: str, operator: str) -> Mutant:
        return self._mutant(*_span(node), replacement, operator)

    def _between(self, left: Node, right: Node, old: str, new: str, operator: str) -> Mutant:
        """Replaces the operator between two expressions."""
        start = self.source.index(old.encode(), _span(left)[1], _span(right)[0])
        return self._mutant(start, start + len(old), new, operator)

    def _mutant(self, start: int, end: int, replacement: str, operator: str) -> Mutant:
        return Mutant(self.name, start, end, replacement, operator)


def _span(node: Node) -> tuple[int, int]:
    start, length, _ = map(int, node["src"].split(":"))
    return start, start + length


def _walk(node: Any) -> Iterator[Node]:
    """Every node of a syntax tree, from the root down."""
    if isinstance(node, list):
        for item in node:
            yield from _walk(item)
    elif isinstance(node, dict):
        if "nodeType" in node:
            yield node
        for value in node.values():
            yield from _walk(value)
