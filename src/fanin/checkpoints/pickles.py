"""Pickles read as data: nothing is imported, nothing is called, whatever they say.

A pickle is a program for a small machine with a stack. Its opcodes are those of `pickletools`; here they make plain
containers, and where a pickle names something or calls it, a record of that. Who reads the records knows what they
mean, and a name that nobody expects is an error.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import IO, Any, NamedTuple

from fanin._core.messages import shown, visible


class Name(NamedTuple):
    """Something that a pickle names.

    Attributes:
        module: the module.
        name: the name in it.
    """

    module: str
    name: str

    def __str__(self) -> str:
        return visible(f"{self.module}.{self.name}")


@dataclass(eq=False)
class Made:
    """What a pickle would make by a call.

    Attributes:
        by: the name of the function or class.
        arguments: what it would be called with.
        state: what the result would be given as its state; None if nothing.
    """

    by: Name
    arguments: tuple[Any, ...]
    state: Any = None


class PickleError(ValueError):
    """The error for a pickle that is damaged, or that says more than data; the message says why."""


class NamedError(PickleError):
    """The error for a pickle that names what nobody expects; the message is the name."""


_MARK = object()
_PLAIN = (str, bytes, int, float, complex, type(None), Name, Made)  # what may be a key, without deep hashes
_DICTS = {("collections", "OrderedDict"), ("collections", "Counter"), ("builtins", "dict"), ("__builtin__", "dict")}
_VALUES = {
    "NONE": None,
    "NEWTRUE": True,
    "NEWFALSE": False,
}
_IGNORED = ("PROTO", "FRAME")
_PUTS, _GETS = ("PUT", "BINPUT", "LONG_BINPUT"), ("GET", "BINGET", "LONG_BINGET")
_LENGTHS = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_LITERALS = (
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
)


def load(
    stream: IO[bytes] | bytes, expected: Callable[[Name], bool], persistent: Callable[[Any], Any] | None = None
) -> tuple[Any, int]:
    """What a pickle says, as data, and how many opcodes it has. The stream is left at the pickle's end.

    Args:
        stream: the pickle. No more of it is read at once than there is, whatever lengths it claims, if `read` keeps to
            that.
        expected: whether a name may come up.
        persistent: what stands for a persistent identifier; None if there must be none.

    Raises:
        NamedError: it names something that is not expected.
        PickleError: it is damaged.

    >>> import collections, pickle
    >>> from fanin.checkpoints.pickles import load
    >>> load(pickle.dumps({"a": (1, collections.OrderedDict(b=2))}), lambda name: name.module == "collections")[0]
    {'a': (1, {'b': 2})}
    """
    machine = _Machine(expected, persistent)
    count = 0
    try:
        for opcode, argument, _ in pickletools.genops(stream):
            machine.step(opcode.name, argument)
            count += 1
        return machine.result(), count
    except PickleError:
        raise
    except (ValueError, KeyError, IndexError, TypeError, OverflowError) as error:
        raise PickleError(f"its pickle is damaged ({visible(str(error))[:120]})") from None


@dataclass
class _Machine:
    """The stack, the memo, and what each opcode does to them."""

    expected: Callable[[Name], bool]
    persistent: Callable[[Any], Any] | None
    stack: list[Any] = field(default_factory=list)
    memo: dict[int, Any] = field(default_factory=dict)

    def result(self) -> Any:
        """The only thing that must be left at the end."""
        (value,) = self.stack
        if value is _MARK:
            raise ValueError("it ends with a mark")
        return value

    def step(self, opcode: str, argument: Any) -> None:
        """Does what an opcode says."""
        stack = self.stack
        if opcode in _LITERALS:
            stack.append(argument)
        elif opcode in _VALUES:
            stack.append(_VALUES[opcode])
        elif opcode in _PUTS:
            self.memo[argument] = self._top()
        elif opcode in _GETS:
            stack.append(self.memo[argument])
        elif opcode in _LENGTHS:
            count = _LENGTHS[opcode]
            items = tuple(self._pop() for _ in range(count))[::-1]
            stack.append(items)
        elif opcode not in _IGNORED:
            action = getattr(self, f"_do_{opcode.lower()}", None)
            if action is None:
                raise PickleError(f"its pickle has the opcode {opcode}, which weights do not need")
            action(argument)

    def _top(self) -> Any:
        value = self.stack[-1]
        if value is _MARK:
            raise ValueError("a mark where a value should be")
        return value

    def _pop(self) -> Any:
        value = self._top()
        del self.stack[-1]
        return value

    def _marked(self) -> list[Any]:
        """What has come since the last mark."""
        stack = self.stack
        position = len(stack) - 1
        while stack[position] is not _MARK:
            if not position:
                raise ValueError("no mark")
            position -= 1
        items = stack[position + 1 :]
        del stack[position:]
        return items

    def _do_mark(self, _: Any) -> None:
        self.stack.append(_MARK)

    def _do_pop(self, _: Any) -> None:
        del self.stack[-1]

    def _do_pop_mark(self, _: Any) -> None:
        self._marked()

    def _do_dup(self, _: Any) -> None:
        self.stack.append(self._top())

    def _do_stop(self, _: Any) -> None:
        pass

    def _do_memoize(self, _: Any) -> None:
        self.memo[len(self.memo)] = self._top()

    def _do_empty_dict(self, _: Any) -> None:
        self.stack.append({})

    def _do_empty_list(self, _: Any) -> None:
        self.stack.append([])

    def _do_empty_tuple(self, _: Any) -> None:
        self.stack.append(())

    def _do_empty_set(self, _: Any) -> None:
        self.stack.append([])  # a set's items, which need not be hashed

    def _do_tuple(self, _: Any) -> None:
        self.stack.append(tuple(self._marked()))

    def _do_list(self, _: Any) -> None:
        self.stack.append(self._marked())

    _do_frozenset = _do_list

    def _do_dict(self, _: Any) -> None:
        self.stack.append(_dict_of(self._marked()))

    def _do_append(self, _: Any) -> None:
        item = self._pop()
        self._list().append(item)

    def _do_appends(self, _: Any) -> None:
        items = self._marked()
        self._list().extend(items)

    _do_additems = _do_appends

    def _do_setitem(self, _: Any) -> None:
        value, key = self._pop(), self._pop()
        self._dict().update(_dict_of([key, value]))

    def _do_setitems(self, _: Any) -> None:
        items = self._marked()
        self._dict().update(_dict_of(items))

    def _list(self) -> list[Any]:
        if not isinstance(self._top(), list):
            raise ValueError("items for what is no list")
        return self.stack[-1]

    def _dict(self) -> dict[Any, Any]:
        if not isinstance(self._top(), dict):
            raise ValueError("items for what is no dict")
        return self.stack[-1]

    def _do_global(self, argument: Any) -> None:
        module, _, name = argument.partition(" ")  # which pickletools has joined
        self.stack.append(self._named(module, name))

    def _do_stack_global(self, _: Any) -> None:
        name, module = self._pop(), self._pop()
        self.stack.append(self._named(module, name))

    def _named(self, module: Any, name: Any) -> Name:
        if not isinstance(module, str) or not isinstance(name, str):
            raise ValueError("a name that is no text")
        found = Name(module, name)
        if not self.expected(found):
            raise NamedError(str(found))
        return found

    def _do_reduce(self, _: Any) -> None:
        arguments, by = self._pop(), self._pop()
        self.stack.append(_made(by, arguments))

    _do_newobj = _do_reduce

    def _do_newobj_ex(self, _: Any) -> None:
        self._pop()  # the arguments by name, which nothing that is expected has
        self._do_reduce(_)

    def _do_inst(self, argument: Any) -> None:
        module, _, name = argument.partition(" ")
        arguments = tuple(self._marked())
        self.stack.append(_made(self._named(module, name), arguments))

    def _do_obj(self, _: Any) -> None:
        by, *arguments = self._marked()
        self.stack.append(_made(by, tuple(arguments)))

    def _do_build(self, _: Any) -> None:
        state = self._pop()
        value = self._top()
        if isinstance(value, Made):
            value.state = state
        elif not isinstance(value, dict):  # whose attributes, such as `_metadata`, are not needed
            raise ValueError("a state for what has none")

    def _do_persid(self, argument: Any) -> None:
        self._persist(argument)

    def _do_binpersid(self, _: Any) -> None:
        self._persist(self._pop())

    def _persist(self, identifier: Any) -> None:
        if self.persistent is None:
            raise ValueError("a persistent identifier")
        self.stack.append(self.persistent(identifier))


def _made(by: Any, arguments: Any) -> Any:
    """What a call would make: dicts, and records of everything else."""
    if not isinstance(by, Name) or not isinstance(arguments, tuple):
        raise ValueError(f"a call of {shown(by)[:40]}")
    if by not in _DICTS:
        return Made(by, arguments)
    (items,) = arguments or ((),)
    if isinstance(items, dict):
        return dict(items)
    return _dict_of([each for key_and_value in items for each in _two(key_and_value)])


def _two(items: Iterable[Any]) -> tuple[Any, Any]:
    key, value = items
    return key, value


def _dict_of(items: list[Any]) -> dict[Any, Any]:
    """A dict from keys and values in turn. Only keys whose hash is no long work are taken."""
    if len(items) % 2:
        raise ValueError("a key without a value")
    keys = items[::2]
    for key in keys:
        if not all(isinstance(each, _PLAIN) for each in (key if type(key) is tuple else (key,))):
            raise ValueError(f"a key that is a {type(key).__name__}")
    return dict(zip(keys, items[1::2], strict=True))
