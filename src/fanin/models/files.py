"""Models described only by names and shapes: lists in JSON and TOML files, headers of safetensors files."""

from __future__ import annotations

import json
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

from fanin._core.environment import undisturbed
from fanin._core.messages import missing, shown, visible
from fanin.models.lists import described_list
from fanin.models.parameters import Model

SUFFIXES = (".json", ".toml", ".safetensors")
# The dtypes of parameters by their names in safetensors.
_DTYPES = {
    "BOOL": "bool",
    "U8": "uint8",
    "I8": "int8",
    "U16": "uint16",
    "I16": "int16",
    "U32": "uint32",
    "I32": "int32",
    "U64": "uint64",
    "I64": "int64",
    "F16": "float16",
    "BF16": "bfloat16",
    "F32": "float32",
    "F64": "float64",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
}


@undisturbed  # numbers in texts are read otherwise when a thread rounds otherwise
def describe_file(path: Path) -> Model:
    """The model that a file describes.

    Raises:
        ValueError: the file's content does not match its suffix, or is not a list of parameters.
        OSError: it cannot be read.
        ImportError: safetensors is not installed, for a file of that format.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(f"A model file must end in {', '.join(SUFFIXES)}. Received: {shown(str(path))}.")
    if suffix == ".safetensors":
        return _safetensors(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{visible(path.name)} must be UTF-8: {error}.") from None
    return describe_text(text, path.name, suffix)


@undisturbed
def describe_text(text: str, name: str, suffix: str = ".json") -> Model:
    """The model that a text describes: a list of parameters.

    Args:
        text: the text.
        name: what the model is called, such as the name of the text's file.
        suffix: ".json" or ".toml", which says what the text is.

    Raises:
        ValueError: it is not, or is not a list of parameters.
    """
    try:
        data = json.loads(text, object_pairs_hook=_once_each) if suffix == ".json" else tomllib.loads(text)
    except _RepeatedKeyError as error:
        raise ValueError(f"{visible(name)} must have each key of a parameter once. Received: {error} twice.") from None
    except (json.JSONDecodeError, tomllib.TOMLDecodeError) as error:
        raise ValueError(f"{visible(name)} is not {suffix[1:].upper()}: {error}.") from None
    except ValueError:  # of Python's int
        raise ValueError(f"{visible(name)} must have no numbers of thousands of digits.") from None
    except RecursionError:
        raise ValueError(f"{visible(name)} must not be nested so deeply.") from None
    entries = data.get("parameters") if isinstance(data, dict) else data
    if not isinstance(entries, list) or not entries or not all(isinstance(e, dict) and "path" in e for e in entries):
        raise ValueError(
            f"{visible(name)} must have a list of parameters, each with `path` and `shape` (in TOML, [[parameters]]). "
            f"Received: {shown(data)}."
        )
    return described_list(entries, name)


class _RepeatedKeyError(ValueError):
    """The error for a key that occurs twice in an object of JSON, of which `json` would use the last."""


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The dict of an object of JSON."""
    data = dict(pairs)
    if len(data) < len(pairs):
        keys = [key for key, _ in pairs]
        raise _RepeatedKeyError(shown(next(key for key in data if keys.count(key) > 1)))
    return data


def _safetensors(path: Path) -> Model:
    try:
        import safetensors
    except ModuleNotFoundError as error:
        raise missing(error, "safetensors", "The library safetensors", extra="safetensors") from error
    path.stat()  # raises for a missing file, with its name
    entries = []
    try:
        with safetensors.safe_open(path, framework="np") as file:
            for name in file.keys():  # noqa: SIM118 (not a dict)
                part = file.get_slice(name)
                dtype = _DTYPES.get(part.get_dtype())
                if dtype is None:
                    raise ValueError(f"{shown(name)} has the dtype {part.get_dtype()}, which fanin does not support.")
                entries.append({"path": name, "shape": part.get_shape(), "dtype": dtype})
    except safetensors.SafetensorError as error:
        raise ValueError(f"{visible(path.name)} is not a safetensors file: {error}.") from None
    note = (
        "a file has only names and shapes: layer types, layouts and fans are unknown, and roles are those that names "
        "imply"
    )
    return replace(described_list(entries, path.name), notes=(note,))
