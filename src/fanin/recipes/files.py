"""Recipe files: reading TOML and YAML with the line of every key, and writing TOML."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fanin._core.environment import undisturbed
from fanin._core.messages import missing

SUFFIXES = (".toml", ".yaml", ".yml")


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


@undisturbed  # numbers in texts are read otherwise when a thread rounds otherwise
def read(path: Path) -> tuple[Any, Source]:
    """The data of a recipe file, and where its parts come from.

    Raises:
        UnreadableError: the text does not match the file's suffix.
        ValueError: the suffix is not .toml, .yaml or .yml.
        ImportError: PyYAML is not installed, for a YAML file.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(f"A recipe file must end in {', '.join(SUFFIXES)}. Received: {str(path)!r}.")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UnreadableError(1, f"the file must be UTF-8 ({error})") from None
    return (_toml if suffix == ".toml" else _yaml)(text, path.name)


def _toml(text: str, name: str) -> tuple[Any, Source]:
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"\(at line (\d+), column \d+\)", str(error))
        raise UnreadableError(int(found[1]) if found else text.count("\n") + 1, str(error)) from None
    except RecursionError:
        raise UnreadableError(1, "it is nested too deeply") from None
    return data, _toml_source(text, name)


def _toml_source(text: str, name: str) -> Source:
    """The lines of keys, which `tomllib` does not report.

    A line counts if the text between the last header and the line is TOML by itself, which it is not inside a string or
    an array of several lines.
    """
    top: dict[str, int] = {}
    rules: list[dict[str | None, int]] = []
    section, begin = "", 0
    lines = text.split("\n")
    for number, line in enumerate(lines, 1):
        header = re.match(r"\s*\[\[?\s*([\w-]+)\s*\]\]?", line)
        key = re.match(r"""\s*(?:([\w-]+)|"([^"]*)"|'([^']*)')\s*=""", line)
        if not (header or key) or not _is_toml("\n".join(lines[begin : number - 1])):
            continue
        if header:
            section, begin = header[1], number - 1
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


def _is_toml(text: str) -> bool:
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return False
    return True


def _yaml(text: str, name: str) -> tuple[Any, Source]:
    try:
        import yaml
    except ModuleNotFoundError as error:
        raise missing(error, "yaml", "PyYAML", extra="yaml") from error
    try:
        node = yaml.compose(text, yaml.SafeLoader)
        _refuse_repeated_keys(node)
        data = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise UnreadableError(1 if mark is None else mark.line + 1, error.problem or str(error)) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UnreadableError(getattr(error, "line", 1), str(error)) from None
    top: dict[str, int] = {}
    rules: list[dict[str | None, int]] = []
    for key, value in _pairs(node):
        top[str(key.value)] = key.start_mark.line + 1
        if key.value == "rules" and isinstance(value, yaml.SequenceNode):
            for each in value.value:
                lines = {str(inner.value): inner.start_mark.line + 1 for inner, _ in _pairs(each)}
                rules.append({None: each.start_mark.line + 1, **lines})
        elif isinstance(value, yaml.MappingNode):
            for inner, _ in _pairs(value):
                top[f"{key.value}.{inner.value}"] = inner.start_mark.line + 1
    return data, Source(name, top, tuple(rules))


def _pairs(node: Any) -> list[tuple[Any, Any]]:
    return node.value if type(node).__name__ == "MappingNode" else []


def _refuse_repeated_keys(node: Any) -> None:
    """Raises for repeated keys, of which PyYAML would use the last."""
    seen: dict[Any, int] = {}
    for key, value in _pairs(node):
        line = key.start_mark.line + 1
        if not isinstance(key.value, str):
            raise UnreadableError(line, "keys must be strings")
        if key.value in seen:
            raise UnreadableError(line, f"the key {key.value!r} occurs twice, first on line {seen[key.value]}")
        seen[key.value] = line
        _refuse_repeated_keys(value)
    if type(node).__name__ == "SequenceNode":
        for each in node.value:
            _refuse_repeated_keys(each)


def written(data: Mapping[str, Any]) -> str:
    """A recipe's data as TOML, with a table for each rule."""
    import tomli_w

    rest = {key: value for key, value in data.items() if key != "rules"}
    return "\n".join([tomli_w.dumps(rest), *(f"[[rules]]\n{tomli_w.dumps(rule)}" for rule in data["rules"])])
