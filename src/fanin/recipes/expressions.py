"""The arithmetic expressions of recipes, such as `0.02 / sqrt(2 * n_layers)`, restricted to an allowed syntax.

Python itself never evaluates anything: the text is parsed, every node of its syntax tree must be on the lists below,
and the tree is evaluated with numbers.
"""

from __future__ import annotations

import ast
import math
import operator
import warnings
from collections.abc import Callable, Collection, Mapping
from typing import Any

from fanin._core.environment import undisturbed
from fanin._core.messages import shown, suggestion
from fanin.theory import gains

# The variables that expressions may use, and what they mean.
VARIABLES = {
    "depth": "the number of the block that the parameter is in, from 0",
    "n_layers": "the number of those blocks",
    "fan_in": "the units that feed one output of its layer",
    "fan_out": "the units that one input of its layer feeds",
    "units": "the units of its recurrent layer, or the outputs of any other",
    "inputs": "the input units or channels of its layer",
    "groups": "the number of groups of its convolution; 1 if there are none",
    "receptive_field": "the positions that its convolution's window covers, 1 for other layers",
    "rank": "the number of its axes",
    "size": "the number of its elements",
}
_FUNCTIONS: dict[str, tuple[Any, int | None]] = {  # with the number of arguments; None for two or more
    "sqrt": (math.sqrt, 1),
    "exp": (math.exp, 1),
    "log": (math.log, 1),
    "log2": (math.log2, 1),
    "abs": (abs, 1),
    "min": (min, None),
    "max": (max, None),
}
_BINARY: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: lambda base, exponent: _power(float(base), float(exponent)),  # integers could grow without limit
}


def _power(base: float, exponent: float) -> float:
    result = base**exponent
    if isinstance(result, complex):
        raise ValueError("a power that is not a real number")
    return result


_UNARY: dict[type[ast.unaryop], Callable[[float], float]] = {ast.UAdd: operator.pos, ast.USub: operator.neg}
_LONGEST = 200
_GAIN = "gain"  # of an activation, which stands in quotes, and of its parameter, if it has one
_ALLOWED = (
    f"Allowed: numbers, + - * / // % **, parentheses, {', '.join(_FUNCTIONS)}, {_GAIN}('gelu'), the variables "
    f"{', '.join(VARIABLES)}, constants of the recipe and config.NAME."
)


class Expression:
    """A parsed expression.

    Args:
        text: the expression.
        constants: the names that the recipe itself defines.

    Attributes:
        text: the expression as given.
        names: the variables and constants in it, including `config.NAME`.

    Raises:
        ValueError: it is not an expression, or contains something that is not allowed.
    """

    @undisturbed  # numbers in texts are read otherwise when a thread rounds otherwise
    def __init__(self, text: str, constants: Collection[str] = ()) -> None:
        self.text = text
        if len(text) > _LONGEST:
            raise ValueError(
                f"An expression must have at most {_LONGEST} characters. Received: {len(text)} characters."
            )
        try:
            with warnings.catch_warnings(action="ignore"):  # of Python's compiler, about texts that are refused below
                self._tree = ast.parse(text.strip(), mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError):  # ValueError: null characters
            raise ValueError(f"It must be an expression. Received: {shown(text)}. {_ALLOWED}") from None
        self.names: set[str] = set()
        known = {*VARIABLES, *constants}
        self._check(self._tree, known)

    def _check(self, node: ast.expr, known: Collection[str]) -> None:
        if isinstance(node, ast.Constant) and isinstance(node.value, (int, float)) and type(node.value) is not bool:
            if not abs(node.value) < 1e300:
                raise ValueError(f"A number must be finite. Received: {shown(self.text)}.")
        elif isinstance(node, ast.BinOp) and type(node.op) in _BINARY:
            self._check(node.left, known)
            self._check(node.right, known)
        elif isinstance(node, ast.UnaryOp) and type(node.op) in _UNARY:
            self._check(node.operand, known)
        elif isinstance(node, ast.Name):
            if node.id not in known:
                hint = suggestion(node.id, known) or f" Known variables: {', '.join(sorted(known))}, config.NAME."
                raise ValueError(f"Unknown variable {shown(node.id)} in {shown(self.text)}.{hint}")
            self.names.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "config":
            self.names.add(f"config.{node.attr}")
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.keywords:
            self._check_call(node, node.func.id, known)
        else:
            raise ValueError(f"{shown(ast.unparse(node))} is not allowed. Received: {shown(self.text)}. {_ALLOWED}")

    def _check_call(self, node: ast.Call, name: str, known: Collection[str]) -> None:
        if name == _GAIN:
            self._check_gain(node, known)
            return
        if name not in _FUNCTIONS:
            hint = suggestion(name, [*_FUNCTIONS, _GAIN]) or f" {_ALLOWED}"
            raise ValueError(f"Unknown function {shown(name)}. Received: {shown(self.text)}.{hint}")
        count = _FUNCTIONS[name][1]
        if len(node.args) != count if count else len(node.args) < 2:
            wanted = "one argument" if count else "two or more arguments"
            raise ValueError(f"{name} takes {wanted}. Received: {shown(self.text)}.")
        for argument in node.args:
            self._check(argument, known)

    def _check_gain(self, node: ast.Call, known: Collection[str]) -> None:
        activation = node.args[0].value if node.args and isinstance(node.args[0], ast.Constant) else None
        if not isinstance(activation, str) or len(node.args) > 2:
            raise ValueError(
                f"{_GAIN} takes the name of an activation in quotes, and its parameter if it has one: {_GAIN}('gelu'), "
                f"{_GAIN}('leaky_relu', 0.2). Received: {shown(self.text)}."
            )
        gains.gain(activation)  # which raises for names that it does not know
        for parameter in node.args[1:]:
            self._check(parameter, known)

    @undisturbed
    def value(self, known: Mapping[str, float]) -> float:
        """The value of the expression for these variables.

        Raises:
            ValueError: a variable is unknown here, or the result is not a finite number; the message says which.
        """
        missing = sorted(self.names - set(known))
        if missing:
            raise ValueError(f"{shown(self.text)} needs {' and '.join(missing)}, which {_are(missing)} unknown here")
        try:
            value = self._evaluate(self._tree, known)
            finite = math.isfinite(value)
        except OverflowError:
            raise ValueError(f"{shown(self.text)} is too large here{_given(self.names, known)}") from None
        except (ArithmeticError, ValueError) as error:
            raise ValueError(
                f"{shown(self.text)} cannot be evaluated here ({error}){_given(self.names, known)}"
            ) from None
        if not finite:
            raise ValueError(f"{shown(self.text)} is not finite here: {value}{_given(self.names, known)}")
        return value

    def _evaluate(self, node: ast.expr, known: Mapping[str, float]) -> float:
        if isinstance(node, ast.Constant):
            return node.value  # pyright: ignore[reportReturnType]  (checked)
        if isinstance(node, ast.Name):
            return known[node.id]
        if isinstance(node, ast.Attribute):
            return known[f"config.{node.attr}"]
        if isinstance(node, ast.UnaryOp):
            return _UNARY[type(node.op)](self._evaluate(node.operand, known))
        if isinstance(node, ast.BinOp):
            return _BINARY[type(node.op)](self._evaluate(node.left, known), self._evaluate(node.right, known))
        assert isinstance(node, ast.Call)
        assert isinstance(node.func, ast.Name)
        if node.func.id == _GAIN:
            activation, *rest = node.args
            return gains.gain(ast.literal_eval(activation), *(self._evaluate(each, known) for each in rest))
        return _FUNCTIONS[node.func.id][0](*(self._evaluate(argument, known) for argument in node.args))

    def __repr__(self) -> str:
        return f"Expression({self.text!r})"


def _are(names: list[str]) -> str:
    return "is" if len(names) == 1 else "are"


def _given(names: Collection[str], known: Mapping[str, float]) -> str:
    return f", with {', '.join(f'{name} = {known[name]}' for name in sorted(names))}" if names else ""
