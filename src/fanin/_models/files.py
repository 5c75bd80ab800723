"""Models of which only names and shapes are known: lists in JSON and TOML files, headers of safetensors files."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

from fanin._models import described_list
from fanin._words import missing
from fanin.plans import Found

SUFFIXES = (".json", ".toml", ".safetensors")
# The names of safetensors for the dtypes that parameters have.
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


def describe_file(path: Path) -> Found:
    """The parameters that a file says a model has.

    Raises:
        ValueError: the file is not what its ending says, or not a list of parameters.
        OSError: it cannot be read.
        ImportError: the library safetensors, for such files.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(f"A file of a model ends in {', '.join(SUFFIXES)}. Received: {str(path)!r}.")
    if suffix == ".safetensors":
        return _safetensors(path)
    try:
        text = path.read_text(encoding="utf-8")
        data = json.loads(text) if suffix == ".json" else tomllib.loads(text)
    except (UnicodeDecodeError, json.JSONDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise ValueError(f"{path.name} is not {suffix[1:].upper()}: {error}.") from None
    entries = data.get("parameters") if isinstance(data, dict) else data
    if not isinstance(entries, list) or not entries or not all(isinstance(e, dict) and "path" in e for e in entries):
        raise ValueError(
            f"{path.name} must have a list of parameters, each with `path` and `shape` (in TOML, [[parameters]]). "
            f"Received: {_shortened(data)}."
        )
    return described_list(entries, path.name)


def _safetensors(path: Path) -> Found:
    try:
        import safetensors
    except ModuleNotFoundError as error:
        raise missing(error, "safetensors", "The library safetensors", extra="safetensors") from error
    path.stat()  # a missing file says so, with its name
    entries = []
    try:
        with safetensors.safe_open(path, framework="np") as file:
            for name in file.keys():  # noqa: SIM118 (it is no dict)
                part = file.get_slice(name)
                dtype = _DTYPES.get(part.get_dtype())
                if dtype is None:
                    raise ValueError(f"{name} has the dtype {part.get_dtype()}, which fanin does not have.")
                entries.append({"path": name, "shape": part.get_shape(), "dtype": dtype})
    except safetensors.SafetensorError as error:
        raise ValueError(f"{path.name} is not a safetensors file: {error}.") from None
    found = described_list(entries, path.name)
    note = (
        "a file has names and shapes alone: layer types, layouts and fans are not known, roles only as names tell them"
    )
    return Found(found.parameters, found.model, notes=(note,))


def _shortened(data: Any) -> str:
    text = repr(data)
    return text if len(text) < 80 else text[:77] + "..."
