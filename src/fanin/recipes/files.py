"""Recipe files: reading TOML and YAML with the line of every key, and writing TOML."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from fanin._core.environment import undisturbed
from fanin._core.messages import missing, shown, visible

SUFFIXES = (".toml", ".yaml", ".yml")
# The tags that each kind of YAML's nodes may have, after what the kind is called.
_TAGS = {
    "ScalarNode": ("a text or a number", "str", "int", "float", "bool", "null"),
    "SequenceNode": ("a list", "seq"),
    "MappingNode": ("a table", "map"),
}
_DEEPEST = 100  # brackets within brackets in YAML, since PyYAML takes a time for each that grows with their number


@dataclass(frozen=True)
class Source:
    """Where the parts of a recipe come from.

    Attributes:
        file: the file's name; None for a recipe made in Python.
        top: the lines of the top-level keys, and of the constants as `constants.NAME`.
        rules: for each rule, its own line, under None, and the lines of its keys.
    """

    file: str | None = None
    top: Mapping[str, int] = field(default_factory=dict)
    rules: tuple[Mapping[str | None, int], ...] = ()

    def place(self, number: int | None = None, key: str | None = None) -> str:
        """A place as text, such as `recipe.toml:12`; "" without a file."""
        return "" if self.file is None else f"{self.file}:{self.line(number, key) or 1}"

    def line(self, number: int | None = None, key: str | None = None) -> int | None:
        """The line of a rule (or of one of its keys), or of a top-level key."""
        if number is None:
            return self.top.get(key or "")
        lines = self.rules[number] if number < len(self.rules) else {}
        return lines.get(key, lines.get(None, self.top.get("rules")))


class UnreadableError(ValueError):
    """The error for a file that is not valid TOML or YAML, with the line of the problem."""

    def __init__(self, line: int, problem: str) -> None:
        super().__init__(problem)
        self.line = line


def read(path: Path) -> tuple[Any, Source]:
    """The data of a recipe file, and where its parts come from.

    Raises:
        UnreadableError: the text does not match the file's suffix.
        ValueError: the suffix is not .toml, .yaml or .yml.
        ImportError: PyYAML is not installed, for a YAML file.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(f"A recipe file must end in {', '.join(SUFFIXES)}. Received: {shown(str(path))}.")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UnreadableError(1, f"the file must be UTF-8 ({error})") from None
    return parsed(text, path.name, suffix)


@undisturbed  # numbers in texts are read otherwise when a thread rounds otherwise
def parsed(text: str, name: str | None, suffix: str) -> tuple[Any, Source]:
    """The data of a recipe's text, and where its parts come from.

    Args:
        text: the text.
        name: the name of its file, for messages.
        suffix: one of `SUFFIXES`, which says what the text is.

    Raises:
        UnreadableError: the text is not valid TOML or YAML.
        ImportError: PyYAML is not installed, for a YAML text.
    """
    return (_toml if suffix == ".toml" else _yaml)(text, name)


def _toml(text: str, name: str | None) -> tuple[Any, Source]:
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"\(at line (\d+), column \d+\)", str(error))
        raise UnreadableError(int(found[1]) if found else text.count("\n") + 1, str(error)) from None
    except ValueError:  # of Python's int
        raise UnreadableError(_line_of_long_number(text), "a number has too many digits") from None
    except RecursionError:
        raise UnreadableError(1, "it is nested too deeply") from None
    return data, _toml_source(text, name)


def _line_of_long_number(text: str) -> int:
    found = re.search(r"[\d_]{4301}", text)
    return text.count("\n", 0, found.start()) + 1 if found else 1


def _toml_source(text: str, name: str | None) -> Source:
    """The lines of keys, which `tomllib` does not report."""
    top: dict[str, int] = {}
    rules: list[dict[str | None, int]] = []
    section = ""
    for number, statement in _statements(text):
        header = re.match(r"\s*\[\[?\s*([\w-]+)\s*\]\]?", statement)
        key = re.match(r"""\s*(?:([\w-]+)|"([^"]*)"|'([^']*)')\s*=""", statement)
        if header:
            section = header[1]
            top.setdefault(section, number)
            if section == "rules":
                rules.append({None: number})
        elif key:
            word = key[1] or key[2] or key[3] or ""
            if section == "rules":
                rules[-1].setdefault(word, number)
            elif section:
                top.setdefault(f"{section}.{word}", number)
            else:
                top.setdefault(word, number)
    return Source(name, top, tuple(rules))


_TOML_TOKENS = re.compile(
    r"""
      \"{3} (?: \\. | [^\\] )*? \"{3,5}   # strings of several lines, the last of whose quotes may belong to the text
    | '{3} .*? '{3,5}
    | " (?: \\. | [^"\\] )* "
    | ' [^']* '
    | \# [^\n]*
    | [][{}\n]
    """,
    re.VERBOSE | re.DOTALL,
)


def _statements(text: str) -> Iterator[tuple[int, str]]:
    """The lines of valid TOML that begin a statement, rather than continue a string or an array, with their numbers."""
    starts, depth = [0], 0
    for token in _TOML_TOKENS.finditer(text):
        if token[0] == "\n" and not depth:
            starts.append(token.end())
        else:
            depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(token[0], 0)
    number = 1
    for start, end in pairwise([*starts, len(text)]):
        yield number, text[start:end]
        number += text.count("\n", start, end)


def _yaml(text: str, name: str | None) -> tuple[Any, Source]:
    try:
        import yaml
    except ModuleNotFoundError as error:
        raise missing(error, "yaml", "PyYAML", extra="yaml") from error
    try:
        loader = _shallow(yaml.SafeLoader)(text)
        node = loader.get_single_node()
        data = _Builder(loader).value(node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise UnreadableError(1 if mark is None else mark.line + 1, error.problem or str(error)) from None
    except RecursionError:
        raise UnreadableError(1, "it is nested too deeply") from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise UnreadableError(line, f"it must not have the character {error.character:#x}") from None
    except (yaml.YAMLError, ValueError) as error:
        raise UnreadableError(getattr(error, "line", 1), str(error)) from None
    if isinstance(data, dict) and isinstance(data.get("constants"), dict):
        data["constants"] = {key: _number(value) for key, value in data["constants"].items()}
    top: dict[str, int] = {}
    rules: list[dict[str | None, int]] = []
    for key, value in _pairs(node):
        top[str(key.value)] = _line(key)
        if key.value == "rules" and isinstance(value, yaml.SequenceNode):
            for each in value.value:
                lines = {str(inner.value): _line(inner) for inner, _ in _pairs(each)}
                rules.append({None: _line(each), **lines})
        elif isinstance(value, yaml.MappingNode):
            for inner, _ in _pairs(value):
                top[f"{key.value}.{inner.value}"] = _line(inner)
    return data, Source(name, top, tuple(rules))


def _shallow(base: Any) -> Any:
    """A loader of PyYAML that refuses deeply nested brackets."""

    class Loader(base):
        def fetch_flow_collection_start(self, token: Any) -> None:
            if self.flow_level == _DEEPEST:
                raise UnreadableError(self.line + 1, "it is nested too deeply")
            super().fetch_flow_collection_start(token)

    return Loader


def _number(value: Any) -> Any:
    """A constant; 2e-2, which YAML 1.1 takes for a string, is a number, as it is in the expressions of rules."""
    is_number = isinstance(value, str) and re.fullmatch(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+", value)
    return float(value) if is_number else value


class _Builder:
    """Makes plain data of the nodes of YAML, each node once, however many aliases it has.

    PyYAML's own constructors make dates and other objects, raise exceptions of every kind for invalid ones, and use the
    last of repeated keys.
    """

    def __init__(self, loader: Any) -> None:
        self._loader = loader
        self._built: dict[int, Any] = {}
        self._open: set[int] = set()

    def value(self, node: Any) -> Any:
        """The data of a node."""
        key = id(node)
        if key in self._open:
            raise UnreadableError(_line(node), "it contains itself")
        if node is not None and key not in self._built:
            self._check_tag(node)
            self._open.add(key)
            build = {"SequenceNode": self._list, "MappingNode": self._dict}.get(type(node).__name__, self._scalar)
            self._built[key] = build(node)
            self._open.remove(key)
        return self._built.get(key)

    @staticmethod
    def _check_tag(node: Any) -> None:
        """Raises an exception unless a node is plain data, and is what its tag says."""
        tag, (words, *tags) = _kind(node), _TAGS[type(node).__name__]
        if tag in tags:
            return
        if any(tag in each[1:] for each in _TAGS.values()):
            raise UnreadableError(_line(node), f"{words} cannot have the tag !!{tag}")
        rule = "a value must be a string, a number, true, false, a list or a table"
        raise UnreadableError(_line(node), f"{rule}, not a {tag}")

    def _list(self, node: Any) -> list[Any]:
        return [self.value(each) for each in node.value]

    def _dict(self, node: Any) -> dict[str, Any]:
        merged: dict[str, Any] = {}
        own: dict[str, Any] = {}
        lines: dict[str, int] = {}
        for key, value in node.value:
            if not isinstance(key.value, str):
                raise UnreadableError(_line(key), "keys must be strings")
            if key.value in lines:
                raise UnreadableError(
                    _line(key), f"the key {shown(key.value)} occurs twice, first on line {lines[key.value]}"
                )
            lines[key.value] = _line(key)
            if key.tag == "tag:yaml.org,2002:merge":
                merged |= self._merged(value)
            else:
                own[key.value] = self.value(value)
        return {**merged, **own}

    def _merged(self, node: Any) -> dict[str, Any]:
        """What the key `<<` adds: the keys of a table, or of several, of which the first counts."""
        found = self.value(node)
        tables = found if isinstance(found, list) else [found]
        if not all(isinstance(each, dict) for each in tables):
            raise UnreadableError(_line(node), f"<< needs a table, or several. Received: {shown(found)}")
        return {key: value for table in reversed(tables) for key, value in table.items()}

    def _scalar(self, node: Any) -> Any:
        try:
            return self._loader.construct_object(node)
        except (ValueError, LookupError, AttributeError, OverflowError):
            raise UnreadableError(
                _line(node), f"{shown(node.value)} is not a value of the type {_kind(node)}"
            ) from None


def _pairs(node: Any) -> list[tuple[Any, Any]]:
    return node.value if type(node).__name__ == "MappingNode" else []


def _kind(node: Any) -> str:
    return node.tag.removeprefix("tag:yaml.org,2002:")


def _line(node: Any) -> int:
    return node.start_mark.line + 1


def written(data: Mapping[str, Any], comments: Sequence[str] = (), comment: str = "") -> str:
    """A recipe's data as TOML, with a table for each rule.

    Args:
        data: the data.
        comments: lines to write above each rule; "" for none.
        comment: lines to write above all.

    Raises:
        TypeError: an argument is None, for which TOML has no word.
    """
    import tomli_w

    for rule in data["rules"]:
        for key, value in rule.items():
            if value is None:
                raise TypeError(f"TOML has no None. Received: {key} = None in a rule. Write JSON: `recipe.as_dict()`.")
    rest = {key: value for key, value in data.items() if key != "rules"}
    above = comments or [""] * len(data["rules"])
    rules = [
        f"{_commented(text)}[[rules]]\n{tomli_w.dumps(rule)}" for rule, text in zip(data["rules"], above, strict=True)
    ]
    return "\n".join([_commented(comment) + tomli_w.dumps(rest), *rules])


def _commented(text: str) -> str:
    return "".join(f"# {visible(line)}\n" for line in text.splitlines())
