"""Nuke's expressions, on numbers and on whole pictures: a small recursive-descent parser."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np

_TOKEN = re.compile(r"\s*(?:(\d+\.?\d*(?:[eE][-+]?\d+)?|\.\d+)|([A-Za-z_][\w.]*)|(&&|\|\||[<>=!]=|[-+*/%<>?:(),!]))")
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "min": np.minimum,
    "max": np.maximum,
    "abs": np.abs,
    "floor": np.floor,
    "rint": np.rint,
    "clamp": lambda value, low=0.0, high=1.0: np.clip(value, low, high),
}
_LEVELS: list[dict[str, Callable[[Any, Any], Any]]] = [
    {"||": np.logical_or},
    {"&&": np.logical_and},
    {"==": np.equal, "!=": np.not_equal},
    {"<": np.less, ">": np.greater, "<=": np.less_equal, ">=": np.greater_equal},
    {"+": np.add, "-": np.subtract},
    {"*": np.multiply, "/": np.divide, "%": np.mod},
]

Lookup = Callable[[str], Any]


class ExpressionError(RuntimeError):
    """What Nuke says about an expression that it cannot evaluate."""


class _Parser:
    def __init__(self, text: str, lookup: Lookup) -> None:
        self.tokens: list[tuple[str, str]] = []
        self.lookup = lookup
        at = 0
        while text[at:].strip():
            match = _TOKEN.match(text, at)
            if not match:
                raise ExpressionError(f"syntax error in expression {text!r} at {text[at:]!r}")
            kind = ("number", "name", "sign")[match.lastindex - 1]  # type: ignore[operator]
            self.tokens.append((kind, match[match.lastindex]))  # type: ignore[index]
            at = match.end()

    def peek(self) -> str:
        return self.tokens[0][1] if self.tokens else ""

    def take(self, wanted: str = "") -> str:
        if not self.tokens or (wanted and self.tokens[0][1] != wanted):
            raise ExpressionError(f"expected {wanted or 'more'}, found {self.peek() or 'the end'}")
        return self.tokens.pop(0)[1]

    def ternary(self) -> Any:
        condition = self.level(0)
        if self.peek() != "?":
            return condition
        self.take("?")
        yes = self.ternary()
        self.take(":")
        return np.where(condition, yes, self.ternary())

    def level(self, depth: int) -> Any:
        if depth == len(_LEVELS):
            return self.unary()
        left = self.level(depth + 1)
        while self.peek() in _LEVELS[depth]:
            left = _LEVELS[depth][self.take()](left, self.level(depth + 1)) * 1
        return left

    def unary(self) -> Any:
        if self.peek() == "-":
            self.take()
            return -self.unary()
        if self.peek() == "!":
            self.take()
            return np.logical_not(self.unary()) * 1
        return self.atom()

    def atom(self) -> Any:
        if not self.tokens:
            raise ExpressionError("the expression ends too early")
        kind, text = self.tokens[0]
        self.take()
        if kind == "number":
            return float(text)
        if text == "(":
            inner = self.ternary()
            self.take(")")
            return inner
        if kind != "name":
            raise ExpressionError(f"unexpected {text!r}")
        if self.peek() == "(":
            return self.call(text)
        return self.lookup(text)

    def call(self, name: str) -> Any:
        self.take("(")
        arguments = [self.ternary()]
        while self.peek() == ",":
            self.take()
            arguments.append(self.ternary())
        self.take(")")
        if name not in _FUNCTIONS:
            raise ExpressionError(f"no function {name}")
        return _FUNCTIONS[name](*arguments)


def evaluate(text: str, lookup: Lookup) -> Any:
    """Return the value of ``text``; names are asked of ``lookup``, which raises `ExpressionError` for unknown ones."""
    parser = _Parser(text, lookup)
    value = parser.ternary()
    if parser.tokens:
        raise ExpressionError(f"unexpected {parser.peek()!r} in {text!r}")
    return value
