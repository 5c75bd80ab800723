"""Functions whose code is exchanged for a while, which covers every name that they were imported by.

A function object is in many places: in modules that imported it, in dictionaries, default arguments, closures and
partial functions. What it does is in its code object alone. While it has a substitute, its code calls that, with what
the function was called with; a substitute may decline by returning NotImplemented, and the function then does what it
always does. With its last substitute gone, the function has its own code object again. What is called in its place is
`uncompiled`: a mark on a code object, too, by which `torch.compile` leaves it alone.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable
from enum import IntEnum
from types import CodeType, FunctionType
from typing import Any, NamedTuple, ParamSpec, TypeAlias, TypeVar

import torch

# What is called in a function's place, with its parameters by position. It declines by returning NotImplemented, or
# `Declined`.
Substitute: TypeAlias = Callable[..., Any]


class Declined(NamedTuple):
    """What a substitute returns that declines, and has something to do when the function itself has returned."""

    afterwards: Callable[[], None]


_P = ParamSpec("_P")
_R = TypeVar("_R")
_frames: Any = getattr(torch._C, "_dynamo").eval_frame  # noqa: B009 (there without the compiler, too)


def uncompiled(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """The function, marked: it breaks the graphs of `torch.compile`, and runs as it is, with all that it calls.

    `torch.compiler.disable` does this, too, but imports the whole compiler, which takes longer than all of fanin. All
    functions of the same code are marked at once: give one whose code is its own, or all of whose kind are meant.
    """
    assert isinstance(function, FunctionType)
    skip = getattr(_frames, "_FrameAction").SKIP  # noqa: B009
    strategy = getattr(_frames, "_FrameExecStrategy")(skip, skip)  # noqa: B009 (of the frame, and of those within)
    _frames.set_code_exec_strategy(function.__code__, strategy)
    marks = {"_torchdynamo_disable": True, "_torchdynamo_disable_msg": "fanin draws outside of graphs"}
    vars(function).update(marks)  # which the compiler reads where it would inline the call
    return function


class Who(IntEnum):
    """Who exchanges a function. Of two, the first one is asked first."""

    RECORDING = 0
    PATCH = 1


class _Exchanged:
    """A function, a copy of it with its own code, and its substitutes."""

    def __init__(self, function: FunctionType) -> None:
        self.function = function
        self.original = FunctionType(
            function.__code__, function.__globals__, function.__name__, function.__defaults__, function.__closure__
        )
        self.original.__kwdefaults__ = function.__kwdefaults__
        self.substitutes: dict[Who, Substitute] = {}  # replaced as a whole, since threads may be walking it
        self.calling = _calling(id(function), function.__code__)


_lock = threading.RLock()  # a signal's handler may come here while its thread does
_exchanged: dict[int, _Exchanged] = {}  # by id; they are kept, since a thread may be about to call one


def exchange(function: Any, who: Who, substitute: Substitute) -> None:
    """Has a function call a substitute, until `restore`.

    Args:
        function: a function that is written in Python, or a method's.
        who: who exchanges it, and has no other substitute for it.
        substitute: what is called in its place.
    """
    with _lock:
        entry = _exchanged.get(id(function))
        if entry is None or (not entry.substitutes and entry.original.__code__ is not function.__code__):
            entry = _exchanged[id(function)] = _Exchanged(function)
        entry.substitutes = dict(sorted({**entry.substitutes, who: substitute}.items()))
        function.__code__ = entry.calling


def restore(function: Any, who: Who) -> None:
    """Takes a function's substitute away; does nothing if there is none."""
    with _lock:
        entry = _exchanged.get(id(function))
        if entry is None or who not in entry.substitutes:
            return
        left = {other: substitute for other, substitute in entry.substitutes.items() if other is not who}
        if not left:
            function.__code__ = entry.original.__code__
        entry.substitutes = left


@uncompiled
def called(number: int, *arguments: Any, **keywords: Any) -> Any:
    """What an exchanged function does."""
    entry = _exchanged[number]
    declined = []
    for substitute in entry.substitutes.values():
        result = substitute(*arguments, **keywords)
        if isinstance(result, Declined):
            declined.append(result)
        elif result is not NotImplemented:
            return result
    result = entry.original(*arguments, **keywords)
    for each in declined:
        each.afterwards()
    return result


def _calling(number: int, code: CodeType) -> CodeType:
    """Code for a function of any module, with its own parameters, which finds its way back here.

    Args:
        number: the function's number here.
        code: the function's own code, whose parameters and free variables the new code must have, too.
    """
    flags, names = code.co_flags, list(code.co_varnames)
    given, only = code.co_argcount, code.co_kwonlyargcount
    positional, keywords = names[:given], names[given : given + only]
    rest = names[given + only :]
    several = [f"*{rest.pop(0)}"] if flags & inspect.CO_VARARGS else []
    others = [f"**{rest.pop(0)}"] if flags & inspect.CO_VARKEYWORDS else []
    before = positional[: code.co_posonlyargcount]
    parameters = [*before, *(["/"] if before else []), *positional[len(before) :], *several]
    parameters += [*(["*"] if only and not several else []), *keywords, *others]
    passed = [*positional, *several, *(f"{name}={name}" for name in keywords), *others]
    outer = ", ".join(code.co_freevars)
    text = (
        f"def outer({outer}):\n"
        f"    def {code.co_name}({', '.join(parameters)}):\n"
        f"        ({outer})\n"
        f"        from {__name__} import called\n"
        f"        return called({', '.join([str(number), *passed])})\n"
        f"    return {code.co_name}\n"
    )
    scope: dict[str, Any] = {}
    exec(compile(text, __file__, "exec"), scope)
    made = scope["outer"](*code.co_freevars).__code__
    # Where the function is written, for tools that read its text, such as `torch.jit.script`.
    return made.replace(co_filename=code.co_filename, co_firstlineno=code.co_firstlineno)
