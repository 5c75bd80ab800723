"""From a seed to a value, step by step, with the real words of one element."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

import fanin
from fanin import _native
from fanin._core.streams import Stream, key_and_counter
from pictures.canvas import SCHEMES, Canvas, number

SEED, SHAPE, PLACE = 42, (784, 256), (3, 5)
_MULTIPLIERS, _WEYL, _MASK = (0xD2511F53, 0xCD9E8D57), (0x9E3779B9, 0xBB67AE85), 2**32 - 1
_WIDTH = 400.0
Words = tuple[int, int, int, int]


@dataclass(frozen=True)
class Steps:
    """What happens on the way to a value.

    Attributes:
        key, counter: what the seed becomes.
        index: the element's place in the tensor.
        rounds: the counter's words, and what each round makes of them.
        word: the element's word.
        unit: the float from 0 to 1 that its last 23 bits are.
        limits: the smallest and the largest value.
        value: what comes out.
    """

    key: int
    counter: int
    index: int
    rounds: tuple[Words, ...]
    word: int
    unit: float
    limits: tuple[float, float]
    value: float


def steps() -> Steps:
    """The steps, which end at the value that fanin makes.

    Raises:
        ValueError: they do not.
    """
    initializer = fanin.GlorotUniform(seed=SEED)
    key, counter = key_and_counter(Stream(SEED))
    index = int(np.ravel_multi_index(PLACE, SHAPE))
    block = index // 4
    rounds = _philox((block, 0, counter & _MASK, counter >> 32), key)
    word = rounds[-1][index % 4]
    unit = (word & (2**23 - 1)) / 2**23
    low, high = initializer.distribution(SHAPE, np.dtype("float32")).bounds
    value = np.float32(unit) * np.float32(high - low) + np.float32(low)
    made = initializer(SHAPE)[PLACE]
    if value != made or rounds[-1] != tuple(_native.philox(block, counter, key)):
        raise ValueError(f"The steps must lead to fanin's value. Received: {value}, not {made}.")
    return Steps(key, counter, index, rounds, word, unit, (low, high), float(value))


def _philox(words: Words, key: int) -> tuple[Words, ...]:
    """The words of Philox4x32-10 before each round, and after the last (Salmon et al. 2011)."""
    keys = [key & _MASK, key >> 32]
    made = [words]
    for _ in range(10):
        x0, x1, x2, x3 = made[-1]
        p0, p1 = x0 * _MULTIPLIERS[0], x2 * _MULTIPLIERS[1]
        made.append(((p1 >> 32) ^ x1 ^ keys[0], p1 & _MASK, (p0 >> 32) ^ x3 ^ keys[1], p0 & _MASK))
        keys = [(each + weyl) & _MASK for each, weyl in zip(keys, _WEYL, strict=True)]
    return tuple(made)


def bits(scheme: str) -> str:
    """The picture, narrow enough for a telephone."""
    of = steps()
    row, column = PLACE
    title = "From a seed to a value"
    call = f"GlorotUniform(seed={SEED})({SHAPE})[{row}, {column}]"
    description = (
        f"{call}: the seed gives the key {of.key:#018x} and the counter {of.counter:#018x}; index {of.index} is word "
        f"{of.index % 4} of block {of.index // 4}; ten rounds of Philox make the word {of.word:#010x}; its last 23 "
        f"bits are the unit float {of.unit:.6f}; scaled to the limits, it is {of.value:.8f}."
    )
    canvas = Canvas(_WIDTH, 836, title, description, SCHEMES[scheme])
    canvas.text(0, 19, title, size=19, bold=True)
    canvas.text(0, 42, call, size=12, mono=True, color=canvas.scheme.soft)
    _seed(canvas, of, 62)
    _index(canvas, of, 188)
    _rounds(canvas, of, 314)
    _word(canvas, of, 510)
    _value(canvas, of, 648)
    return str(canvas)


def _step(canvas: Canvas, place: int, top: float, height: float, name: str, said: str) -> None:
    """The box of a step, with an arrow to it from the one above."""
    scheme = canvas.scheme
    if place > 1:
        canvas.path(f"M{_WIDTH / 2},{top - 17}v11m-4,-5l4,5l4,-5", stroke=scheme.soft, stroke_width=1.5)
    canvas.shape("rect", x=0.5, y=top, width=_WIDTH - 1, height=height, rx=8, fill=scheme.raised, stroke=scheme.line)
    canvas.text(14, top + 23, f"{place}  {name}", size=15, bold=True)
    canvas.text(14, top + 42, said, size=12.5, color=scheme.soft)


def _seed(canvas: Canvas, of: Steps, top: float) -> None:
    _step(canvas, 1, top, 107, "The seed selects a stream", f"Philox of {SEED} under a fixed key, once for each tensor")
    for place, (name, value) in enumerate((("key", of.key), ("counter", of.counter))):
        canvas.text(14, top + 68 + 22 * place, name, size=13, color=canvas.scheme.soft)
        canvas.text(86, top + 68 + 22 * place, f"{value:#018x}", size=14, mono=True)


def _index(canvas: Canvas, of: Steps, top: float) -> None:
    row, column = PLACE
    said = f"row {row}, column {column} of {SHAPE[0]} × {SHAPE[1]}"
    _step(canvas, 2, top, 107, "The index is added to the counter", said)
    index = f"{row} × {SHAPE[1]} + {column} = {of.index} = 4 × {of.index // 4} + {of.index % 4}"
    canvas.text(14, top + 68, index, size=14, mono=True)
    canvas.text(14, top + 92, f"word {of.index % 4} of block {of.index // 4}: ", size=13, color=canvas.scheme.soft)
    canvas.text(154, top + 92, f"counter + {of.index // 4}", size=14, mono=True)


def _rounds(canvas: Canvas, of: Steps, top: float) -> None:
    """Every bit of the four words before and after each round, those that are set as small squares."""
    scheme = canvas.scheme
    _step(
        canvas,
        3,
        top,
        177,
        "Ten rounds of Philox mix the bits",
        "four words, multiplied, swapped and keyed each time",
    )
    left, side, first = 14.0, 2.75, top + 56
    gap = 5.0
    for place, words in enumerate(of.rounds):
        y = first + place * 8.6
        for which, word in enumerate(words):
            chosen = place == len(of.rounds) - 1 and which == of.index % 4
            x = left + which * (32 * side + gap)
            data = "".join(f"M{number(x + bit * side)},{number(y)}h2.2" for bit in range(32) if word >> (31 - bit) & 1)
            color = scheme.colors[1] if chosen else scheme.colors[0]
            canvas.path(data, stroke=color, stroke_width=5.5, stroke_opacity=1 if chosen else 0.75)
    for which, word in enumerate(of.rounds[-1]):
        chosen = which == of.index % 4
        canvas.text(
            left + which * (32 * side + gap),
            top + 166,
            f"{word:08x}",
            size=13,
            mono=True,
            bold=chosen,
            color=scheme.colors[1] if chosen else scheme.soft,
        )


def _word(canvas: Canvas, of: Steps, top: float) -> None:
    """The bits of the word, of which the last 23 count."""
    scheme = canvas.scheme
    _step(canvas, 4, top, 119, "The word becomes a float", "its last 23 bits ÷ 2²³, in [0, 1)")
    side = 11.6
    for bit in range(32):
        counts = bit >= 9
        x = 14 + bit * side
        if counts:
            canvas.shape("rect", x=x, y=top + 54, width=side - 1, height=22, fill=scheme.colors[1], fill_opacity=0.22)
        canvas.text(
            x + (side - 1) / 2,
            top + 70,
            str(of.word >> (31 - bit) & 1),
            size=13,
            mono=True,
            anchor="middle",
            color=scheme.ink if counts else scheme.soft,
        )
    canvas.text(14, top + 103, f"{of.word & (2**23 - 1):,} ÷ {2**23:,} = {of.unit:.7f}", size=14, mono=True)


def _value(canvas: Canvas, of: Steps, top: float) -> None:
    """The unit float on its line, and the value on that of the limits."""
    scheme = canvas.scheme
    _step(canvas, 5, top, 187, "Scale and origin make the value", "stretched to ±√(6 ÷ (fan_in + fan_out))")
    left, right = 40.0, _WIDTH - 40
    x = left + of.unit * (right - left)
    for y, ends in ((top + 84, ("0", "1")), (top + 132, tuple(map(_signed, of.limits)))):
        canvas.path(f"M{left},{y - 4}v8m0,-4H{right}m0,-4v8", stroke=scheme.soft)
        for end, words in zip((left, right), ends, strict=True):
            canvas.text(end, y + 19, words, size=12, color=scheme.soft, anchor="middle")
    canvas.path(f"M{number(x)},{top + 84}V{top + 132}", stroke=scheme.colors[1], stroke_dasharray="3 3")
    for y in (84, 132):
        canvas.shape("circle", cx=x, cy=top + y, r=5, fill=scheme.colors[1])
    canvas.text(x, top + 73, f"{of.unit:.4f}", size=13, mono=True, anchor="middle")
    canvas.text(
        _WIDTH / 2,
        top + 174,
        f"{_signed(of.value, 9)}",
        size=16,
        mono=True,
        bold=True,
        anchor="middle",
        color=scheme.colors[1],
    )


def _signed(value: float, digits: int = 4) -> str:
    return f"{value:.{digits}f}".replace("-", "−")


PICTURES: dict[str, Callable[[str], str]] = {"bits": bits}
