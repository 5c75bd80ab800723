"""A terminal that types two commands and shows what they print: an SVG that moves by CSS alone, with real text."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import tempfile
import termios
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

import fanin
from pictures.canvas import MONO, SCHEMES, Canvas, number

COLUMNS, ROWS = 84, 32
SHOW = "fanin show he_normal --shape 784x256 --seed 42"
CHECK = "fanin check model.safetensors"
_PROMPT = "$ "
_CELL, _LINE, _SIZE = 9.5, 19.0, 15.8  # pixels that a character takes, across and down, and its size
_LEFT, _TOP, _HEAD = 20.0, 62.0, 34
_LOOP, _PAUSE, _LETTER, _READING = 20.0, 1.2, 0.06, 5.5  # seconds: all, before typing, for a letter, after the lines
_SGR = re.compile(r"\x1b\[([\d;]*)m")
_TIME = re.compile(r"\bin [\d.e-]+ s\b")  # which no two runs share

# Of each scheme: the window, its head and edge, and what ANSI's colours are there.
_WINDOWS = {"light": ("#fbfcfd", "#eceff2", "#d0d7de"), "dark": ("#14181f", "#1f252d", "#30363d")}
_ANSI = {
    "light": {"30": "#ffffff", "31": "#b3261e", "32": "#1a7f37", "33": "#8a5a00", "35": "#8b3fa0", "36": "#0b7285"},
    "dark": {"30": "#0d1117", "31": "#ff8a80", "32": "#7ee787", "33": "#e3b341", "35": "#d2a8ff", "36": "#56c7d6"},
}


@dataclass(frozen=True)
class Run:
    """Characters that look alike.

    Attributes:
        column: where they begin.
        text: the characters.
        styles: the numbers of ANSI's styles.
    """

    column: int
    text: str
    styles: tuple[str, ...]


@dataclass(frozen=True)
class Scene:
    """A command and what it prints."""

    command: str
    lines: tuple[tuple[Run, ...], ...]


@cache
def scenes() -> tuple[Scene, ...]:
    """Both commands, run in a terminal in an empty folder, beside a checkpoint with a fault."""
    with tempfile.TemporaryDirectory() as folder:
        write_checkpoint(Path(folder) / "model.safetensors")
        return tuple(Scene(command, tuple(_lines(printed(command, folder)))) for command in (SHOW, CHECK))


def write_checkpoint(path: Path) -> None:
    """A checkpoint of a small network, two of whose layers were drawn with the same seed."""
    from safetensors.numpy import save_file

    tensors = {"embed.weight": fanin.RandomNormal(stddev=0.02, seed=1)((1000, 128))}
    for block, seed in enumerate((10, 11, 12, 12)):
        tensors |= {
            f"blocks.{block}.up.weight": np.ascontiguousarray(fanin.HeNormal(seed=seed)((128, 512)).T),
            f"blocks.{block}.up.bias": np.zeros(512, np.float32),
            f"blocks.{block}.down.weight": np.ascontiguousarray(fanin.HeNormal(seed=20 + block)((512, 128)).T),
            f"blocks.{block}.down.bias": np.zeros(128, np.float32),
        }
    tensors["head.weight"] = fanin.RandomNormal(stddev=0.02, seed=2)((1000, 128))
    save_file(tensors, path)


def printed(command: str, folder: str) -> str:
    """What a command prints on a terminal, with its colours; times are left out."""
    source = str(Path(fanin.__file__).parents[1])
    environment = {**os.environ, "TERM": "xterm-256color", "PYTHONPATH": source, "COLUMNS": str(COLUMNS)}
    environment.pop("NO_COLOR", None)
    terminal, end = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    child = subprocess.Popen(
        [sys.executable, "-m", *command.split()], cwd=folder, env=environment, stdin=end, stdout=end, stderr=end
    )
    os.close(end)  # the child's copies alone keep it open
    text = b"".join(_read(terminal)).decode()
    child.wait()
    os.close(terminal)
    return _TIME.sub("in … s", text.replace("\r", ""))


def _read(terminal: int) -> Iterator[bytes]:
    """Everything that is written, until the other end closes."""
    try:
        while data := os.read(terminal, 2**16):
            yield data
    except OSError:  # how Linux says that it is closed
        return


def _lines(text: str) -> Iterator[tuple[Run, ...]]:
    """Lines in runs, with those that are too long for the terminal on several."""
    for line in text.rstrip("\n").split("\n"):
        if len(line) > COLUMNS and "\x1b" not in line:
            yield from ((Run(0, each, ()),) for each in textwrap.wrap(line, COLUMNS, break_on_hyphens=False))
        else:
            yield tuple(_runs(line))


def _runs(line: str) -> Iterator[Run]:
    """A line's runs, without the spaces at their ends."""
    column, styles = 0, ()
    parts = _SGR.split(line)
    for place, part in enumerate(parts):
        if place % 2:
            styles = () if part in ("", "0") else tuple(part.split(";"))
            continue
        if stripped := part.strip():
            yield Run(column + len(part) - len(part.lstrip()), stripped, styles)
        column += len(part)


def terminal(scheme: str) -> str:
    """The picture."""
    both = scenes()
    width, height = 2 * _LEFT + COLUMNS * _CELL, _TOP + ROWS * _LINE
    said = f"A terminal runs “{SHOW}” and “{CHECK}”, which finds a layer that is a copy of another."
    canvas = Canvas(width, height, "fanin show and fanin check in a terminal", said, SCHEMES[scheme])
    ground, head, edge = _WINDOWS[scheme]
    canvas.add(f"<style>{_style(both, width)}</style>")
    screen = f'y="{_TOP - 15:g}" width="{width:g}" height="{ROWS * _LINE + 3:g}"'
    canvas.add(f'<clipPath id="screen"><rect {screen}/></clipPath>')
    canvas.shape("rect", x=0.5, y=0.5, width=width - 1, height=height - 1, rx=10, fill=ground)
    canvas.path(f"M0.5,{_HEAD}V10a10,10 0 0 1 10,-10H{number(width - 10.5)}a10,10 0 0 1 10,10V{_HEAD}z", fill=head)
    for place in range(3):
        canvas.shape("circle", cx=22 + 20 * place, cy=_HEAD / 2, r=5.5, fill=edge)
    canvas.add('<g clip-path="url(#screen)"><g class="paper">')
    row = 0
    for place, scene in enumerate(both):
        _scene(canvas, scene, place, row, ground)
        row += _height(scene)
    canvas.add("</g></g>")
    canvas.shape("rect", x=0.5, y=0.5, width=width - 1, height=height - 1, rx=10, fill="none", stroke=edge)
    return str(canvas)


def _height(scene: Scene) -> int:
    """How many rows a command and its lines take."""
    return 1 + len(scene.lines)


def _scene(canvas: Canvas, scene: Scene, place: int, row: int, ground: str) -> None:
    """A command under a cover that moves to the right as it is typed, and its lines."""
    canvas.add(f'<g class="prompt p{place}">')
    _run(canvas, Run(0, _PROMPT.strip(), ("2",)), row)
    _run(canvas, Run(len(_PROMPT), scene.command, ("1",)), row)
    x, y = _LEFT + len(_PROMPT) * _CELL, _TOP + row * _LINE
    canvas.add(f'<g class="cover c{place}">')
    canvas.shape("rect", x=x, y=y - _LINE + 3, width=COLUMNS * _CELL, height=_LINE + 3, fill=ground)
    canvas.shape("rect", x=x, y=y - 14, width=_CELL, height=18, fill=canvas.scheme.soft)
    canvas.add(f'</g></g><g class="l{place}">')
    for below, line in enumerate(scene.lines, 1):
        for run in line:
            _run(canvas, run, row + below)
    canvas.add("</g>")


def _run(canvas: Canvas, run: Run, row: int) -> None:
    """A run, as wide as its characters are, whatever the font."""
    x, y = _LEFT + run.column * _CELL, _TOP + row * _LINE
    colors = _ANSI[canvas.scheme.name]
    color = next((colors[style] for style in run.styles if style in colors), None)
    color = color or (canvas.scheme.soft if "2" in run.styles else canvas.scheme.ink)
    background = next((colors[f"3{style[1]}"] for style in run.styles if re.fullmatch("4[1-6]", style)), None)
    wide = len(run.text) * _CELL
    if set(run.text) == {"█"}:  # so that nothing shows between the blocks
        background = color
    if background:
        canvas.shape("rect", x=x, y=y - 15, width=wide, height=_LINE + 0.5, fill=background)
    canvas.text(
        x,
        y,
        run.text,
        size=_SIZE,
        color=color,
        bold="1" in run.styles,
        font_family=MONO,
        textLength=wide,
        lengthAdjust="spacingAndGlyphs",
        style="white-space:pre",
    )


@dataclass(frozen=True)
class Moments:
    """When a scene happens, in hundredths of the loop, and where it leaves the paper.

    Attributes:
        prompt, begin, typed, shown: when the prompt appears, the typing begins and ends, and the lines appear.
        up: by how many pixels the paper has moved up then.
    """

    prompt: float
    begin: float
    typed: float
    shown: float
    up: float


def _moments(both: tuple[Scene, ...]) -> list[Moments]:
    made, now, rows = [], 0.0, 0
    for scene in both:
        rows += _height(scene)
        begin = now + _PAUSE
        typed = begin + len(scene.command) * _LETTER
        further = scene is not both[-1]  # another prompt needs a row
        up = _LINE * max(0, rows + further - ROWS)
        share = 100 / _LOOP
        made.append(Moments(now * share, begin * share, typed * share, (typed + 0.5) * share, up))
        now = typed + 0.5 + _READING
    return made


def _style(both: tuple[Scene, ...], width: float) -> str:
    """The rules: each command is typed, its lines appear, and the paper moves up as far as they need.

    Without motion, everything stands as it is at the end.
    """
    moments = _moments(both)
    hidden = f"transform:translateX({width:g}px)"
    moves, before = [], 0.0
    paper = "0%{opacity:0}1%{opacity:1;transform:none}"
    for place, (scene, at) in enumerate(zip(both, moments, strict=True)):
        steps = len(scene.command)
        moves += [
            _appears(f"p{place}", at.prompt),
            _appears(f"l{place}", at.shown),
            f"@keyframes c{place}{{0%,{at.begin:.2f}%{{transform:none;animation-timing-function:steps({steps})}}"
            f"{at.typed:.2f}%,{at.shown:.2f}%{{transform:translateX({steps * _CELL:g}px)}}"
            f"{at.shown + 0.01:.2f}%,100%{{{hidden}}}}}",
            *(f".{name}{place}{{animation:{name}{place} {_LOOP:g}s infinite}}" for name in "pcl"),
        ]
        paper += f"{at.shown:.2f}%{{transform:translateY({-before:g}px)}}"
        paper += f"{at.shown + 0.01:.2f}%{{transform:translateY({-at.up:g}px)}}"
        before = at.up
    end = f"transform:translateY({-before:g}px)"
    moves.append(f"@keyframes paper{{{paper}98%{{opacity:1;{end}}}100%{{opacity:0;{end}}}}}")
    moves.append(f".paper{{animation:paper {_LOOP:g}s infinite}}")
    return f".paper{{{end}}}.cover{{{hidden}}}@media (prefers-reduced-motion:no-preference){{{''.join(moves)}}}"


def _appears(name: str, at: float) -> str:
    """Keyframes of what is not there before a moment."""
    return f"@keyframes {name}{{0%,{at:.2f}%{{opacity:0}}{at + 0.01:.2f}%,100%{{opacity:1}}}}"


PICTURES: dict[str, Callable[[str], str]] = {"terminal": terminal}
