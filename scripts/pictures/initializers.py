"""A picture of each initializer: what it draws and its density, its matrix, or its numbers in the complex plane."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

import fanin
from fanin.report.charts import Axis, Chart, Guide, Marks
from pictures.canvas import SCHEMES, Canvas, Scheme, dots, number
from pictures.charts import Frame, draw
from pictures.matrices import Panel, grid, panels

_WIDTH, _FINE, _BINS = 560.0, 200, 40
_LETTER = 7.4  # pixels that a letter of the key takes, in wide fonts
Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Example:
    """A call of an initializer: `source` is Python that makes it, such as "HeNormal(seed=42)"."""

    source: str
    shape: tuple[int, ...]
    dtype: str = "float32"

    @property
    def initializer(self) -> Any:
        """The initializer."""
        return eval(f"fanin.{self.source}", {"fanin": fanin})

    @property
    def call(self) -> str:
        """The call, as users write it."""
        dtype = "" if self.dtype == "float32" else f', "{self.dtype}"'
        return f"fanin.{self.source}({self.shape}{dtype})"

    @property
    def values(self) -> Array:
        """What it makes."""
        return self.initializer(self.shape, self.dtype)


def _canvas(scheme: str, name: str, said: str, example: Example, height: float) -> Canvas:
    canvas = Canvas(_WIDTH, height, f"{name}: {said}", f"{example.call}: {said}.", SCHEMES[scheme])
    canvas.text(0, 17, name, size=17, bold=True)
    canvas.text(0, 39, said, size=14, color=canvas.scheme.soft)
    canvas.text(0, height - 6, example.call, size=13, mono=True, color=canvas.scheme.soft)
    return canvas


# ---------------------------------------------------------------- densities


def density(name: str, example: Example, scheme: str) -> str:
    """A histogram of what is drawn, and the density in theory, with its bounds."""
    law = example.initializer.distribution(example.shape, example.values.dtype)
    made = _density_chart(name, example, law)
    said = f"mean {_short(law.moments.mean)}, standard deviation {_short(law.moments.stddev)}"
    if _bounds(law):
        low, high = law.bounds
        said += f", within ±{_short(high)}" if low == -high else f", from {_short(low)} to {_short(high)}"
    canvas = _canvas(scheme, name, said, example, 298)
    draw(canvas, made, Frame(44, 86, _WIDTH - 12, 218, 13, (6, 5)))
    _key(canvas, f"{math.prod(example.shape):,} values", "density in theory")
    return str(canvas)


def _density_chart(name: str, example: Example, law: Any) -> Chart:
    values = example.values.astype(np.float64).ravel()
    bounds = _bounds(law)
    low, high = bounds or (float(values.min()), float(np.quantile(values, 0.998 if law.kind == "log_normal" else 1)))
    if not bounds and low >= 0:
        low = 0.0
    edges = np.linspace(low, high, _BINS + 1)
    heights = np.histogram(values, edges)[0] / len(values) / np.diff(edges)
    fine = np.linspace(low, high, _FINE + 1)
    below = np.array([law.cdf(each) for each in fine.tolist()])
    theory = np.diff(below) / np.diff(fine)
    middles = (fine[1:] + fine[:-1]) / 2
    x, y = [middles[0], *middles[1:-1], middles[-1]], theory
    if bounds:  # the density jumps to 0 there
        x, y = [low, low, *middles, high, high], np.concatenate([[0], theory[:1], theory, theory[-1:], [0]])
    margin = 0.06 * (high - low)
    guides = tuple(Guide("x", bound, "bound") for bound in bounds)
    return Chart(
        name,
        name,
        "",
        Axis("value", limits=(low - margin, high + margin)),
        Axis("density", limits=(0, 1.12 * max(*heights, *theory))),
        (Marks.of("bars", edges, heights), Marks.of("line", x, y, color=1)),
        guides,
    )


def _bounds(law: Any) -> tuple[float, ...]:
    """The bounds of a law that cuts its values off; () if it does not."""
    return tuple(law.bounds) if law.kind in ("uniform", "truncated_normal", "bounded_normal") else ()


def _key(canvas: Canvas, bars: str, line: str) -> None:
    """What bars and line mean, at the upper right."""
    scheme, y = canvas.scheme, 73
    second = _WIDTH - 12 - _LETTER * len(line) - 28
    first = second - _LETTER * len(bars) - 44
    canvas.shape("rect", x=first, y=y - 10, width=18, height=11, fill=scheme.colors[0], fill_opacity=0.35)
    canvas.path(f"M{number(second)},{y - 4}h20", stroke=scheme.colors[1], stroke_width=2.2)
    for start, words in ((first, bars), (second, line)):
        canvas.text(start + 26, y, words, size=13, color=scheme.soft)


def _short(value: float) -> str:
    """A number with three digits."""
    return f"{value:.3g}".replace("-", "−")


def bernoulli(name: str, example: Example, scheme: str) -> str:
    """How many of the values are 0 and 1, and how many should be."""
    law, values = example.initializer.distribution(example.shape, np.dtype(example.dtype)), example.values
    ones = float((values == 1).mean())
    canvas = _canvas(scheme, name, f"1 with probability {_short(law.moments.mean)}, else 0", example, 298)
    made = Chart(
        name,
        name,
        "",
        Axis("value", limits=(-0.5, 1.5)),
        Axis("share", limits=(0, 1)),
        (
            *(Marks.of("bars", [at - 0.25, at + 0.25], [share]) for at, share in ((0, 1 - ones), (1, ones))),
            *(
                Marks.of("line", [at - 0.3, at + 0.3], [share] * 2, color=1)
                for at, share in ((0, 1 - law.moments.mean), (1, law.moments.mean))
            ),
        ),
    )
    draw(canvas, made, Frame(44, 86, _WIDTH - 12, 218, 13, (2, 5)))
    _key(canvas, f"{values.size:,} values", "probability")
    return str(canvas)


# ---------------------------------------------------------------- matrices and the complex plane

Cut = Callable[[Array], Sequence[Panel]]


def matrix(said: str, cut: Cut, name: str, example: Example, scheme: str) -> str:
    """A matrix, or several, as an image."""
    canvas = _canvas(scheme, name, said, example, 298)
    panels(canvas, cut(example.values), 58, _WIDTH, 180)
    return str(canvas)


def plain(values: Array) -> Sequence[Panel]:
    """The matrix as it is."""
    return [Panel(" × ".join(map(str, values.shape)), values)]


def with_products(values: Array) -> Sequence[Panel]:
    """The matrix, and what it is when it is multiplied by its transpose."""
    return [Panel("W", values), Panel("Wᵀ W", values.T @ values)]


def parts(values: Array) -> Sequence[Panel]:
    """A complex matrix."""
    product = values.conj().T @ values
    return [Panel("real part", values.real), Panel("imaginary part", values.imag), Panel("|Wᴴ W|", np.abs(product))]


def window(values: Array) -> Sequence[Panel]:
    """A convolution's kernel."""
    height, width, inputs, outputs = values.shape
    return [Panel(f"{inputs} in × {outputs} out, at each of {height} × {width} places", grid(values))]


def plane(said: str, name: str, example: Example, scheme: str) -> str:
    """Complex numbers as dots in the plane, with a circle at the root of their mean square."""
    values = example.values.ravel()
    radius = float(np.sqrt(np.mean(np.abs(values.astype(np.complex128)) ** 2)))
    canvas = _canvas(scheme, name, f"{said}, root mean square of |w| {_short(radius)}", example, 340)
    _scatter(canvas, values, float(np.abs(values).max()) * 1.08, radius)
    return str(canvas)


def _scatter(canvas: Canvas, values: Array, reach: float, radius: float) -> None:
    colors: Scheme = canvas.scheme
    middle_x, middle_y, half = 180.0, 182.0, 120.0
    canvas.path(
        f"M{number(middle_x - half)},{middle_y}h{2 * half}M{middle_x},{middle_y - half}v{2 * half}", stroke=colors.line
    )
    places = [(middle_x + each.real / reach * half, middle_y - each.imag / reach * half) for each in values.tolist()]
    canvas.path(dots(places), stroke=colors.colors[0], stroke_width=3.6, stroke_linecap="round", stroke_opacity=0.55)
    canvas.shape(
        "circle",
        cx=middle_x,
        cy=middle_y,
        r=radius / reach * half,
        fill="none",
        stroke=colors.colors[1],
        stroke_width=2,
    )
    canvas.text(middle_x + half + 8, middle_y + 4, "real", size=13, color=colors.soft)
    canvas.text(middle_x + 8, middle_y - half + 6, "imaginary", size=13, color=colors.soft)
    canvas.path("M392,178h20", stroke=colors.colors[1], stroke_width=2)
    canvas.text(420, 182, "root mean square", size=13, color=colors.soft)
    canvas.path("M402,154h0", stroke=colors.colors[0], stroke_width=6, stroke_linecap="round")
    canvas.text(420, 158, f"{len(values):,} values", size=13, color=colors.soft)


def poles(name: str, example: Example, scheme: str) -> str:
    """The numbers of a diagonal state matrix in the complex plane."""
    values = example.values.astype(np.complex128)
    canvas = _canvas(scheme, name, f"{len(values)} poles with real part {_short(values[0].real)}", example, 298)
    made = Chart(
        name,
        name,
        "",
        Axis("imaginary part"),
        Axis("real part", limits=(-1, 0)),
        (Marks.of("dots", values.imag, values.real),),
    )
    draw(canvas, made, Frame(44, 86, _WIDTH - 12, 210, 13, (6, 4)))
    return str(canvas)


_SQUARE, _KERNEL = (16, 16), (784, 256)
_RANDOM = {
    "random_normal": "RandomNormal(stddev=0.05, seed=42)",
    "random_uniform": "RandomUniform(-0.05, 0.05, seed=42)",
    "truncated_normal": "TruncatedNormal(stddev=0.05, seed=42)",
    "glorot_normal": "GlorotNormal(seed=42)",
    "glorot_uniform": "GlorotUniform(seed=42)",
    "he_normal": "HeNormal(seed=42)",
    "he_uniform": "HeUniform(seed=42)",
    "lecun_normal": "LecunNormal(seed=42)",
    "lecun_uniform": "LecunUniform(seed=42)",
    "variance_scaling": 'VarianceScaling(2.0, "fan_out", "uniform", seed=42)',
    "exponential": "Exponential(rate=2.0, seed=42)",
    "log_normal": "LogNormal(-1.0, 0.5, seed=42)",
}
_COMPLEX = {
    "complex_normal": ("normal real and imaginary parts", "ComplexNormal(seed=42)", "complex64"),
    "complex_variance_scaling": ("truncated modulus", "ComplexVarianceScaling(seed=42)", "complex64"),
    "complex_glorot": ("variance 1 / (fan_in + fan_out)", "ComplexGlorot(seed=42)", "complex64"),
    "complex_he": ("variance 1 / fan_in", "ComplexHe(seed=42)", "complex64"),
}
_MATRICES: dict[str, tuple[str, Cut, Example]] = {
    "zeros": ("every value is 0", plain, Example("Zeros()", (4, 8))),
    "ones": ("every value is 1", plain, Example("Ones()", (4, 8))),
    "constant": ("every value is the same", plain, Example("Constant(0.25)", (4, 8))),
    "table": ("given values, repeated", plain, Example("Table([-2, -1, 0, 1, 2, 3])", (4, 6))),
    "identity": ("ones on the diagonal", plain, Example("Identity()", (4, 6))),
    "orthogonal": ("columns of length 1, at right angles", with_products, Example("Orthogonal(seed=42)", _SQUARE)),
    "unitary": ("orthogonal, of complex numbers", parts, Example("Unitary(seed=42)", (12, 12), "complex64")),
    "sparse": (
        "each row has the same number of zeros",
        plain,
        Example("Sparse(0.75, stddev=0.05, seed=42)", (12, 32)),
    ),
    "dirac": ("a convolution that returns its input", window, Example("Dirac()", (3, 3, 4, 4))),
    "delta_orthogonal": (
        "an orthogonal matrix in the middle of a convolution",
        window,
        Example("DeltaOrthogonal(seed=42)", (3, 3, 4, 6)),
    ),
    "bilinear": (
        "enlarges images twice",
        lambda values: [Panel("window of 4 × 4", values[..., 0, 0])],
        Example("Bilinear()", (4, 4, 1, 1)),
    ),
    "stft": (
        "cosines of each frequency, in a window",
        lambda values: [Panel("32 samples × 17 frequencies", values[:, 0])],
        Example('STFT("real")', (32, 1, 17)),
    ),
    "sinusoidal": (
        "a sine and a cosine of each frequency",
        lambda values: [Panel("24 features × 48 positions", values.T)],
        Example("Sinusoidal()", (48, 24)),
    ),
    "rotary": (
        "cosines of the angles of rotary positions",
        lambda values: [Panel("16 frequencies × 48 positions", values.T)],
        Example('Rotary("cos")', (48, 16)),
    ),
    "hippo": ("keeps the history of a signal", plain, Example("Hippo()", _SQUARE)),
}

PICTURES: dict[str, Callable[[str], str]] = {
    **{f"initializers/{name}": partial(density, name, Example(each, _KERNEL)) for name, each in _RANDOM.items()},
    **{
        f"initializers/{name}": partial(plane, said, name, Example(source, (40, 20), dtype))
        for name, (said, source, dtype) in _COMPLEX.items()
    },
    **{
        f"initializers/{name}": partial(matrix, said, cut, name, example)
        for name, (said, cut, example) in _MATRICES.items()
    },
    "initializers/bernoulli": partial(bernoulli, "bernoulli", Example("Bernoulli(0.3, seed=42)", (64, 64))),
    "initializers/s4d": partial(poles, "s4d", Example("S4D()", (16,), "complex64")),
}
