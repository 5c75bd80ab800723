"""`fanin show`: the array that an initializer makes, measured against its distribution.

`inspect` draws and measures an array and returns plain data, an `Inspection`, which `Inspection.as_dict` and `render`
turn into JSON and text.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np

from fanin._core import dtypes
from fanin._core.environment import undisturbed
from fanin._core.messages import readable
from fanin._core.types import DTypeLike, ShapeLike
from fanin.audits import statistics
from fanin.audits.arrays import InMemory
from fanin.distributions import Bernoulli, Distribution, Floats, Orthogonal, Quantile, Uniform, UniformInteger
from fanin.initializers import Initializer, SeededInitializer, VarianceScaling
from fanin.report import literal, number, plain
from fanin.report.charts import Axis, Chart, Charts, Guide, Marks
from fanin.report.tables import Cell, Table, Toned

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.console import Console
    from rich.text import Text

    from fanin.report.figures import Theme

TOLERANCE = 5.0  # standard errors; chance exceeds them once in two million arrays
_BINS = 16  # a divisor of the 128 and 1024 values that 16-bit uniforms take
_MOST_BINS = 20  # for integers, whose bins are whole numbers
_REACH = 3.2  # standard deviations of a normal that the bins span; the outermost bins hold the tails, too
_CHUNK = 1 << 20  # elements converted to float64 at a time
_SPARKS = "▁▂▃▄▅▆▇█"
_EIGHTHS = " ▏▎▍▌▋▊▉"


@dataclass(frozen=True)
class Statistic:
    """One line of the table: a measured number, its value in theory, and whether chance explains the difference.

    Attributes:
        measured: the measured number; None if the array says nothing about it.
        standard_error: how far chance alone takes `measured`; None if that is unknown or nothing is random.
        beyond: for bounds, whether the array exceeds them.
    """

    name: str
    measured: float | None
    theory: float
    standard_error: float | None = None
    beyond: bool = False

    @property
    @undisturbed
    def difference(self) -> float | None:
        """Measured minus theory, in standard errors."""
        if self.measured is None or self.standard_error is None:
            return None
        return (self.measured - self.theory) / self.standard_error

    @property
    def agrees(self) -> bool:
        """Whether the array agrees with theory. Fans always do, since they follow from the spread, which is checked."""
        far = self.difference is not None and not abs(self.difference) <= TOLERANCE  # NaN is far
        return not self.beyond and (not far or self.name in ("fan_in", "fan_out"))


@dataclass(frozen=True)
class Histogram:
    """Counts between edges. The outermost bins also hold the values beyond the first and last edges.

    Attributes:
        expected: the count of each bin in theory; None without a density.
    """

    edges: tuple[float, ...]
    counts: tuple[int, ...]
    expected: tuple[float, ...] | None

    @property
    def sparkline(self) -> str:
        """The counts, one character each."""
        top = max(self.counts)
        return "".join(_SPARKS[round(7 * count / top)] for count in self.counts) if top else ""


@dataclass(frozen=True)
class Inspection:
    """The measurements of an array that an initializer made.

    Attributes:
        initializer: the name of the initializer's class.
        arguments: the arguments that make the same array again, including the seed, even if none was given.
        statistics: mean, std, min, max, fan_in and fan_out, in this order.
    """

    initializer: str
    arguments: dict[str, Any]
    distribution: Distribution
    statistics: tuple[Statistic, ...]
    histogram: Histogram

    @property
    def bytes(self) -> int:
        """The size of the array in memory, in bytes."""
        return self.distribution.size * self.distribution.dtype.itemsize

    @property
    def agrees(self) -> bool:
        """Whether the array agrees with theory."""
        return all(statistic.agrees for statistic in self.statistics)

    @property
    def python(self) -> str:
        """The line of Python that makes the same array."""
        arguments = ", ".join(f"{name}={literal(value)}" for name, value in self.arguments.items())
        dtype = literal(self.distribution.dtype.name)
        return f"fanin.{self.initializer}({arguments})({self.distribution.shape}, dtype={dtype})"

    def complaints(self) -> list[str]:
        """The disagreements with theory, in words."""
        wrong = [each for each in self.statistics if not each.agrees]
        return [f"{each.name} is {number(each.measured)}, {_distance(each)} {number(each.theory)}" for each in wrong]

    def as_dict(self) -> dict[str, Any]:
        """The report as data for JSON, with stable keys.

        `initializer`, `arguments`, `shape`, `dtype`, `kind` and `parameters` say what was drawn, `count` and `bytes`
        how much; `agrees` is the verdict; `statistics` has `mean`, `std`, `min`, `max`, `fan_in` and `fan_out`, each
        with `measured`, `theory`, `standard_error`, `difference` (in standard errors) and `agrees`; `histogram` has
        `edges`, `counts` and `expected`; then come `sparkline` and `python`. Numbers that are unknown or not finite are
        None; complex numbers are text.
        """
        drawn = self.distribution
        return plain(
            {
                "initializer": self.initializer,
                "arguments": self.arguments,
                "shape": drawn.shape,
                "dtype": drawn.dtype.name,
                "kind": drawn.kind,
                "parameters": drawn.parameters(),
                "count": drawn.size,
                "bytes": self.bytes,
                "agrees": self.agrees,
                "statistics": {
                    each.name: {
                        "measured": each.measured,
                        "theory": each.theory,
                        "standard_error": each.standard_error,
                        "difference": each.difference,
                        "agrees": each.agrees,
                    }
                    for each in self.statistics
                },
                "histogram": {
                    "edges": self.histogram.edges,
                    "counts": self.histogram.counts,
                    "expected": self.histogram.expected,
                },
                "sparkline": self.histogram.sparkline,
                "python": self.python,
            }
        )

    @property
    def title(self) -> str:
        """What was drawn, in a few words."""
        drawn = self.distribution
        return f"{self.initializer} {'×'.join(map(str, drawn.shape)) or 'scalar'} {drawn.dtype.name}"

    def table(self) -> Table:
        """The statistics: measured, theory and difference."""
        return Table.of(
            ("", "measured", "theory", "difference"),
            [(each.name, number(each.measured), number(each.theory), _cell(each)) for each in self.statistics],
            right=("measured", "theory", "difference"),
            caption=self.title,
            footnotes=[each for each in (self.histogram.sparkline, self.python) if each],
        )

    def _repr_html_(self) -> str:
        """The table for notebooks."""
        return self.table().html()

    def charts(self) -> Charts:
        """The histogram of the values, beside the density and the bounds in theory, as a chart: "density"."""
        histogram, drawn = self.histogram, self.distribution
        edges = np.array(histogram.edges)
        if len(edges) < 2 or not np.isfinite(edges).all() or not edges[0] < edges[-1] or not sum(histogram.counts):
            return Charts.of({"density": "There are no different finite values, of which a histogram could be drawn."})
        widths = np.diff(edges)
        scale = np.where(widths > 0, widths, 1.0) * sum(histogram.counts)
        marks = [Marks.of("bars", edges, np.array(histogram.counts) / scale, "measured")]
        if histogram.expected is not None:
            outline = np.repeat(edges, 2)[1:-1], np.repeat(np.array(histogram.expected) / scale, 2)
            marks.append(Marks.of("line", *outline, "theory", color=1))
        bounds = [float(bound) for bound in (drawn.bounds if drawn.random else ()) if math.isfinite(bound)]
        guides = [Guide("x", bound, "" if place else "bounds") for place, bound in enumerate(bounds)]
        words = "; ".join(self.complaints()) or "The values agree with theory"
        axes = Axis("value"), Axis("density")
        return Charts((Chart("density", self.title, f"{words}.", *axes, tuple(marks), tuple(guides)),))

    def plot(self, theme: Theme = "any") -> Figure:
        """The same as a figure of matplotlib.

        Args:
            theme: the background: "light", "dark", or "any" for none, with colours that are legible on both.

        Raises:
            ImportError: matplotlib is not installed.
            ValueError: there are no different finite values.
        """
        from fanin.report import plots

        return plots.drawn(self.charts(), theme)


def _cell(statistic: Statistic) -> Cell:
    """The cell of a difference, with a tint if it says something."""
    words, style = _verdict(statistic)
    return Toned(words, "good" if statistic.agrees else "bad") if style else words


def _distance(statistic: Statistic) -> str:
    """How a statistic deviates from theory, in words."""
    return "beyond the bound" if statistic.beyond else f"{statistic.difference:+.1f} standard errors from"


@undisturbed
def inspect(initializer: Initializer, shape: ShapeLike, dtype: DTypeLike = None) -> Inspection:
    """Draws the array of an initializer's first call, whether or not that call has been made, and measures it.

    >>> import fanin
    >>> report = inspect(fanin.HeNormal(seed=1), (784, 256))
    >>> report.agrees
    True
    >>> report.python
    'fanin.HeNormal(seed=1)((784, 256), dtype="float32")'
    """
    drawn = initializer.distribution(shape, dtype)
    array = initializer(drawn.shape, drawn.dtype, region=...)  # a region is always one of the first call's array
    arguments = initializer.get_config()
    if isinstance(initializer, SeededInitializer) and "seed" in arguments:
        arguments["seed"] = initializer.settled_seed()
    return measure(array, initializer, drawn, arguments)


@undisturbed
@np.errstate(all="ignore")  # infinities and NaNs are shown, not warned about
def measure(array: np.ndarray, initializer: Initializer, drawn: Distribution, arguments: dict[str, Any]) -> Inspection:
    """Measures any array against the distribution that it should have. Only the real part of complex numbers counts."""
    bounds = float(drawn.bounds[0]), float(drawn.bounds[1])
    probabilities = None
    if drawn.random:
        inner, probabilities = _bins(drawn)
        edges = np.array([bounds[0], *inner, bounds[1]])
    else:
        edges = _edges_of_values(array, bounds)
    values = np.real(array)
    (mean, std, low, high), counts = _moments(values), _counts(values, edges[1:-1])
    errors = _standard_errors(drawn)
    reach = _rounding(drawn)
    lines = (
        Statistic("mean", mean, drawn.moments.mean, errors[0]),
        Statistic("std", std, drawn.moments.stddev, errors[1]),
        Statistic("min", low, bounds[0], beyond=_passes(low, bounds, reach)),
        Statistic("max", high, bounds[1], beyond=_passes(high, bounds, reach)),
        *_fans(initializer, drawn, std, errors[1]),
    )
    expected = None if probabilities is None else tuple((probabilities * drawn.size).tolist())
    histogram = Histogram(tuple(edges.tolist()), tuple(counts.tolist()), expected)
    return Inspection(type(initializer).__name__, arguments, drawn, lines, histogram)


def _moments(values: np.ndarray) -> tuple[float | None, float | None, float | None, float | None]:
    """Mean, standard deviation, minimum and maximum, which NaN and infinities are part of; None without elements."""
    if not values.size:
        return None, None, None, None
    low, high = float(values.min()), float(values.max())
    if not (math.isfinite(low) and math.isfinite(high)):
        return low + high, math.nan, low, high
    found = statistics.measure(InMemory("", values))
    return found.mean, found.stddev, found.low, found.high


def _counts(values: np.ndarray, inner: np.ndarray) -> np.ndarray:
    """The number of finite values in each bin, a chunk at a time."""
    flat = values.reshape(-1)
    counts = np.zeros(len(inner) + 1, np.int64)
    for start in range(0, flat.size, _CHUNK):
        chunk = flat[start : start + _CHUNK].astype(np.float64)
        counts += _counted(chunk[np.isfinite(chunk)], inner)
    return counts


def _counted(values: np.ndarray, inner: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """The number of values, or their total weight, in each bin."""
    return np.bincount(np.searchsorted(inner, values, side="right"), weights, minlength=len(inner) + 1)


def _standard_errors(drawn: Distribution) -> tuple[float | None, float | None]:
    """The standard errors of the mean and of the standard deviation of independent values."""
    if drawn.moments.kurtosis is None or not drawn.size or not 0 < drawn.moments.stddev < math.inf:
        return None, None
    of_mean = drawn.moments.stddev / math.sqrt(drawn.size)
    excess = drawn.moments.kurtosis - 1
    # Two values of equal chance have a kurtosis of 1: their standard deviation does not vary to first order.
    return of_mean, of_mean * math.sqrt(excess / 4) if excess > 1e-9 else None


def _rounding(drawn: Distribution) -> float:
    """How far rounding may take a value past a bound: half a step of the dtype, or a few steps with QR."""
    largest = max(map(abs, drawn.bounds))
    if dtypes.kind(drawn.dtype) not in ("float", "complex") or not 0 < largest < math.inf:
        return 0.0
    limits = ml_dtypes.finfo(drawn.dtype)  # of a complex dtype, those of its parts
    step = max(math.ldexp(float(limits.eps), math.frexp(largest)[1] - 1), float(limits.smallest_subnormal))
    return step * (4 if isinstance(drawn, Orthogonal) else 0.5)


def _passes(value: float | None, bounds: tuple[float, float], reach: float) -> bool:
    """Whether a value lies outside the bounds. NaN does, unless a bound is NaN, too."""
    if value is None or math.isnan(bounds[0]):
        return False
    return not bounds[0] - reach <= value <= bounds[1] + reach


def _fans(
    initializer: Initializer, drawn: Distribution, std: float | None, error: float | None
) -> tuple[Statistic, Statistic]:
    """The fans, with those that the measured spread implies: VarianceScaling has a variance of `scale / n`."""
    theory = {"fan_in": drawn.fan_in, "fan_out": drawn.fan_out}
    implied: dict[str, tuple[float, float]] = {}
    if isinstance(initializer, VarianceScaling) and std and error is not None and drawn.dtype.kind != "c":
        # The dtype rounds the spread by a known factor, which says nothing about the fans.
        rounding = drawn.moments.stddev / initializer.distribution(drawn.shape, "float64").moments.stddev
        units = initializer.scale * (rounding / std) ** 2
        units_error = units * 2 * error / drawn.moments.stddev
        others = {"fan_in": drawn.fan_out, "fan_out": drawn.fan_in}
        if initializer.mode == "fan_avg":
            implied = {name: (2 * units - other, 2 * units_error) for name, other in others.items()}
        elif initializer.mode == "fan_geo_avg":
            implied = {
                name: (units**2 / other, 2 * units * units_error / other) for name, other in others.items() if other
            }
        else:
            implied = {initializer.mode: (units, units_error)}
    fan_in, fan_out = (
        Statistic(name, implied[name][0], fan, implied[name][1]) if name in implied else Statistic(name, None, fan)
        for name, fan in theory.items()
    )
    return fan_in, fan_out


def _bins(drawn: Distribution) -> tuple[np.ndarray, np.ndarray | None]:
    """The edges between the bins of the histogram, and each bin's probability if there is a density."""
    low, high = drawn.bounds
    if not low < high or not math.isfinite(high - low):
        return np.empty(0), None  # one value, or no finite range
    if isinstance(drawn, UniformInteger):
        return _integer_bins(drawn)
    if isinstance(drawn, Bernoulli):
        return np.array([0.5]), _between([1 - drawn.moments.mean])
    steps = np.arange(1, _BINS) / _BINS
    if isinstance(drawn, Uniform):
        # Halfway between two of the few values of a 16-bit dtype; otherwise rounding would move some to the next bin.
        steps -= 0.5 / 2 ** dtypes.UNIT_BITS[drawn.dtype]
        inner = np.sort(drawn.minval + (drawn.maxval - drawn.minval) * steps)
    elif isinstance(drawn, Quantile):  # which may be skewed, and end at a bound
        mean, reach = drawn.moments.mean, _REACH * drawn.moments.stddev
        first, last = max(low, mean - reach), min(high, mean + reach)
        inner = first + (last - first) * steps
    else:
        reach = min(_REACH * drawn.moments.stddev, (high - low) / 2)
        inner = drawn.moments.mean + reach * (2 * steps - 1)
    if not isinstance(drawn, Floats):
        return inner, None
    if drawn.grid is not None:
        values, probabilities = drawn.grid
        finite = np.isfinite(values)
        return inner, _counted(values[finite], inner, probabilities[finite])
    return inner, _between([drawn.cdf(edge) for edge in inner.tolist()])


def _edges_of_values(array: np.ndarray, bounds: tuple[float, float]) -> np.ndarray:
    """The edges of the histogram of values that are not random: a bin for each of a few values, or equal bins."""
    few, low, high = np.empty(0), math.inf, -math.inf
    flat = array.reshape(-1)
    for start in range(0, flat.size, _CHUNK):
        piece = np.real(flat[start : start + _CHUNK]).astype(np.float64) + 0.0  # of -0.0, zero
        piece = piece[np.isfinite(piece)]
        if piece.size:
            low, high = min(low, float(piece.min())), max(high, float(piece.max()))
        if len(few) <= _BINS:
            few = np.union1d(few, piece)
    if not len(few):
        return np.array(bounds)
    if len(few) <= _BINS:
        return np.append(few, few[-1])
    return np.linspace(low, high, _BINS + 1) if math.isfinite(high - low) else np.array([low, high])


def _integer_bins(drawn: UniformInteger) -> tuple[np.ndarray, np.ndarray]:
    """Bins of equally many integers, except for the last; `bits % span` slightly favors the smallest integers."""
    span = drawn.maxval - drawn.minval
    width = -(-span // _MOST_BINS)
    starts = range(width, span, width)
    below = [drawn.below(start) for start in starts]
    return np.array([drawn.minval + start for start in starts], np.float64), _between(below)


def _between(below: list[float]) -> np.ndarray:
    """The probabilities of bins, from the probabilities of lying below the edges between them."""
    return np.diff(np.array([0.0, *below, 1.0]))


# ---------------------------------------------------------------- text


def render(report: Inspection, console: Console) -> None:
    """Prints a report: a title, the summary line, the table, the histogram and the line of Python."""
    from rich.text import Text

    drawn = report.distribution
    parameters = ", ".join(f"{name}={number(value)}" for name, value in drawn.parameters().items())
    shape = "x".join(map(str, drawn.shape)) or "scalar"
    part = " (real part)" if drawn.dtype.kind == "c" else ""
    console.print(Text(report.initializer, "bold"), f" {shape}  {drawn.dtype.name}{part}  {drawn.kind}({parameters})")
    console.print(_summary(report, console.width))
    console.print()
    for line in _table(report):
        console.print(line, soft_wrap=True)
    console.print()
    finite = sum(report.histogram.counts)
    if finite:
        for line in _bars(report.histogram, console.width):
            console.print(line, soft_wrap=True)
        console.print()
    if finite < drawn.size:
        console.print(f"{drawn.size - finite:,} of {drawn.size:,} values are not finite.\n")
    # Not wrapped here: a terminal that wraps it still copies it as one line.
    console.print(Text(report.python, "bold"), soft_wrap=True)


def _summary(report: Inspection, width: int) -> Text:
    """Count, bytes, range, mean, standard deviation and sparkline, on one line if the width allows it."""
    from rich.text import Text

    mean, std, low, high = (number(each.measured, 3) for each in report.statistics[:4])
    parts = [
        f"n {report.distribution.size:,}",
        readable(report.bytes),
        f"{low} … {high}",
        f"mean {mean}",
        f"std {std}",
        report.histogram.sparkline,
    ]
    parts = [part for part in parts if part]
    if len("  ".join(parts)) > width >= len(" ".join(parts)):
        parts = [" ".join(parts)]
    lines = [parts[0]]
    for part in parts[1:]:
        if len(lines[-1]) + 2 + len(part) <= width:
            lines[-1] += "  " + part
        else:
            lines.append(part)
    text = Text("\n".join(lines))
    text.highlight_regex("[▁-█]+", "cyan")
    return text


def _table(report: Inspection) -> Iterator[Text]:
    """A line for each statistic: measured, theory and difference."""
    from rich.text import Text

    rows = [(each.name, number(each.measured), number(each.theory), *_verdict(each)) for each in report.statistics]
    rows.insert(0, ("", "measured", "theory", "difference", "dim"))
    name, measured, theory, words = (max(len(row[column]) for row in rows) for column in range(4))
    for row in rows:
        start = f"{row[0]:<{name}}  {row[1]:>{measured}}  {row[2]:>{theory}}  "
        yield Text.assemble((start, "dim" if row is rows[0] else ""), (f"{row[3]:>{words}}", row[4]))


def _verdict(statistic: Statistic) -> tuple[str, str]:
    """The cell of the column `difference`, and its color."""
    if statistic.measured is None:
        return "–", ""
    if statistic.name in ("min", "max"):
        return ("beyond", "bold red") if statistic.beyond else ("within", "green")
    difference = statistic.difference
    if difference is None:
        apart = statistic.measured - statistic.theory
        return "0" if apart == 0 else f"{apart:+.2g}" if math.isfinite(apart) else "–", ""
    style = "green" if abs(difference) <= 3 else "yellow" if statistic.agrees else "bold red"
    return f"{difference:+.2f} s.e.", style


def _bars(histogram: Histogram, width: int) -> Iterator[Text]:
    """A line for each bin: its start, a bar that marks the count in theory, and the count."""
    from rich.text import Text

    labels = _aligned(histogram.edges[:-1])
    counts = [f"{count:,}" for count in histogram.counts]
    digits = max(map(len, counts))
    room = max(10, min(60, width - len(labels[0]) - digits - 4))
    expected = histogram.expected or (0.0,) * len(counts)
    top = max(*histogram.counts, *expected, 1)
    for label, count, words, theory in zip(labels, histogram.counts, counts, expected, strict=True):
        eighths = round(8 * room * count / top)
        bar = ("█" * (eighths // 8) + _EIGHTHS[eighths % 8]).rstrip().ljust(room)
        line = Text(bar, "cyan")
        if theory:
            mark = min(int(room * theory / top), room - 1)
            style = "black on cyan" if bar[mark] == "█" else "bold magenta"
            line = Text.assemble((bar[:mark], "cyan"), ("│", style), (bar[mark + 1 :], "cyan"))
        yield Text.assemble((label, "dim"), "  ", line, "  ", (words.rjust(digits), "dim"))
    if histogram.expected:
        legend = Text.assemble(("█", "cyan"), " measured  ", ("│", "bold magenta"), " theory")
        yield Text(" " * (len(labels[0]) + 2)) + legend


def _aligned(edges: tuple[float, ...]) -> list[str]:
    """Numbers of equal width, with enough digits to tell neighbors apart."""
    steps = [second - first for first, second in pairwise(edges)]
    finest, largest = min(steps, default=0.0), max(map(abs, edges))
    if all(edge.is_integer() for edge in edges) and largest < 1e9:
        texts = [f"{edge:.0f}" for edge in edges]
    elif finest > 0 and 1e-4 < largest < 1e6:
        decimals = max(0, 1 - math.floor(math.log10(finest)))
        texts = [f"{round(edge, decimals) + 0.0:.{decimals}f}" for edge in edges]  # + 0.0 turns -0.0 into 0.0
    else:
        texts = [number(edge, 3) for edge in edges]
    return [text.rjust(max(map(len, texts))) for text in texts]
