"""What `fanin.compare` returns: numbers by depth, a sentence for each initializer, a table and a figure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from fanin.report import inline, number, plain, terminal_width
from fanin.report.charts import Chart, Charts
from fanin.report.depth import Series, by_depth
from fanin.report.markup import TONES, Tone, printed
from fanin.report.tables import Cell, Pictured, Table, Toned
from fanin.theory.blocks import Profile

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from fanin.report.figures import Theme

_KEEPS, _FAR = 4.0, 100.0  # by which factor a size may change in total, and where it vanishes or explodes

_TONES: dict[str, Tone] = {
    "keeps its size": "good",
    "shrinks": "warn",
    "grows": "warn",
    "vanishes": "bad",
    "explodes": "bad",
}


@dataclass(frozen=True)
class Simulated:
    """The mean squares of simulated networks.

    Attributes:
        mean: their means over networks.
        error: the standard errors of these means; NaN for one network.
        signal_scatter, gradient_scatter: by what factor the size at the end differs from one network to another (the
            exponential of the standard deviation of its logarithm); NaN if it is zero or infinite.
    """

    mean: Profile
    error: Profile
    signal_scatter: float
    gradient_scatter: float


@dataclass(frozen=True)
class Change:
    """How a size changes through depth.

    Attributes:
        total: the size at the end, divided by that at the beginning.
        factor: what a layer multiplies the size by, as a geometric mean: of all layers, or of those before the size
            leaves the range of floats.
    """

    total: float
    factor: float

    @classmethod
    def of(cls, squares: Sequence[float]) -> Change:
        """The change from the first to the last of mean squares.

        >>> from fanin.theory.compared import Change
        >>> print(Change.of([1.0, 16.0, 256.0]), "|", Change.of([1.0, 1e200, float("inf")]))
        grows (× 4.00 a layer) | explodes (× 1e+100 a layer)
        """
        first = squares[0]
        if not first:
            return cls(math.nan, math.nan)
        held = max((place for place, each in enumerate(squares) if 0 < each < math.inf), default=0)
        total = math.sqrt(squares[-1] / first)
        return cls(total, math.sqrt(squares[held] / first) ** (1 / held) if held else total)

    @property
    def words(self) -> str:
        """What happens, in words: "keeps its size", "shrinks", "vanishes", "grows" or "explodes"."""
        if not self.total >= 1 / _FAR:
            return "vanishes"
        if self.total > _FAR:
            return "explodes"
        return "shrinks" if self.total < 1 / _KEEPS else "grows" if self.total > _KEEPS else "keeps its size"

    @property
    def tone(self) -> Tone:
        """How good that is."""
        return _TONES[self.words]

    def __str__(self) -> str:
        return f"{self.words} (× {_factor(self.factor)} a layer)"


@dataclass(frozen=True)
class Compared:
    """What one initializer does.

    Attributes:
        name: what it is called in the comparison.
        initializer: its class and arguments.
        gain: what its weights are multiplied by.
        weight_stddev: σ_w of a block's first dense layer: the standard deviation of the weights times the root of
            fan_in; None if theory does not know it.
        theory: mean squares by depth at infinite width; None for weights whose mean is not 0, or that only their own
            code knows.
        simulation: those of simulated networks; None without any.
    """

    name: str
    initializer: str
    gain: float
    weight_stddev: float | None
    theory: Profile | None
    simulation: Simulated | None

    @property
    def profile(self) -> Profile | None:
        """The simulated mean squares, or else those of theory."""
        return self.theory if self.simulation is None else self.simulation.mean

    @property
    def signal(self) -> Change | None:
        """How the size of the signal changes from the input to the output."""
        return None if self.profile is None else Change.of(self.profile.signal)

    @property
    def gradient(self) -> Change | None:
        """How the size of the gradient changes from the output to the input."""
        return None if self.profile is None else Change.of(self.profile.gradient[::-1])

    @property
    def words(self) -> str:
        """What happens to the signal and to the gradient, in a few words."""
        if self.signal is None or self.gradient is None:
            return "unknown in theory"
        if self.signal.words == self.gradient.words:
            return self.signal.words
        return f"signal {self.signal.words}, gradient {self.gradient.words}"

    @property
    def verdict(self) -> str:
        """The same, with what a layer multiplies their sizes by."""
        if self.signal is None or self.gradient is None:
            return "theory does not know its weights: simulate it"
        factors = [f"× {each}" for each in self.layer_factors]
        if self.signal.words != self.gradient.words:
            return f"signal {self.signal}, gradient {self.gradient}"
        if factors[0] == factors[1]:
            return str(self.signal)
        return f"{self.words} (signal {factors[0]}, gradient {factors[1]} a layer)"

    @property
    def layer_factors(self) -> list[str]:
        """What a layer multiplies the sizes of the signal and of the gradient by, as texts."""
        return [_factor(each.factor) for each in (self.signal, self.gradient) if each is not None]

    @property
    def tone(self) -> Tone:
        """How good that is: the worse of both."""
        tones: list[Tone] = [each.tone for each in (self.signal, self.gradient) if each is not None]
        return max(tones, key=TONES.index) if tones else "dim"

    @property
    def sentence(self) -> str:
        """The name and the verdict."""
        return f"{self.name}: {self.verdict}"

    @property
    def is_good(self) -> bool:
        """Whether both signal and gradient keep their sizes."""
        return self.tone == "good"

    def as_dict(self) -> dict[str, Any]:
        """The row as plain data, for JSON. Numbers that are not finite are None."""
        changes = {"signal": self.signal, "gradient": self.gradient}
        return plain(
            {
                "name": self.name,
                "initializer": self.initializer,
                "gain": self.gain,
                "weight_stddev": self.weight_stddev,
                "verdict": self.verdict,
                "ok": self.is_good,
                **{f"{name}_change": None if each is None else each.words for name, each in changes.items()},
                **{f"{name}_factor": None if each is None else each.factor for name, each in changes.items()},
                "theory": None if self.theory is None else asdict(self.theory),
                "simulation": None if self.simulation is None else asdict(self.simulation),
            }
        )


@dataclass(frozen=True)
class Comparison:
    """What initializers do to signals and gradients through depth.

    Attributes:
        rows: a `Compared` for each initializer.
        activation, block: the names of what the networks are made of.
        depth, width, batch: how many blocks, units and inputs they have.
        networks: how many were simulated; 0 for none.
        seed, dtype, bias_stddev: those of the simulated networks.
        unit_gain: the σ_w at which pre-activations of size 1 give such of size 1 in a plain layer; None if no σ_w does.
        critical_stddev: the σ_w at the edge of chaos, for these biases; None if there is none.
    """

    rows: tuple[Compared, ...]
    activation: str
    block: str
    depth: int
    width: int
    batch: int
    networks: int
    seed: int
    dtype: str
    bias_stddev: float
    unit_gain: float | None
    critical_stddev: float | None

    def __getitem__(self, name: str) -> Compared:
        """The row of an initializer, by its name in the comparison."""
        for row in self.rows:
            if row.name == name:
                return row
        raise KeyError(f"Known names: {', '.join(row.name for row in self.rows)}. Received: {name!r}.")

    @property
    def title(self) -> str:
        """What is compared, in a line."""
        return f"{self.activation}, {self.depth} {self.block} blocks of width {self.width}"

    def table(self) -> Table:
        """The sizes at the end of the network, and the verdicts."""
        columns: dict[str, Sequence[Cell]] = {
            "initializer": [row.name for row in self.rows],
            "σ_w": [number(row.weight_stddev, 4) for row in self.rows],
            **self._sizes("signal", -1),
            **self._sizes("gradient", 0),
            "× a layer": [" / ".join(row.layer_factors) or "–" for row in self.rows],
            "verdict": [Toned(row.words, row.tone) for row in self.rows],
        }
        heads = list(columns)
        return Table.of(
            heads,
            zip(*columns.values(), strict=True),
            right=heads[1:-1],
            spared=["σ_w", "gradient in theory", "signal in theory"],
            caption=self.title,
            footnotes=self._footnotes(),
        )

    def _sizes(self, name: str, end: int) -> dict[str, list[str]]:
        """The columns of the sizes at the end of the network: simulated, and in theory."""
        theory, simulated = [], []
        for row in self.rows:
            theory.append("–" if row.theory is None else _size(getattr(row.theory, name)[end], None))
            if row.simulation is not None:
                mean, error = (getattr(each, name)[end] for each in (row.simulation.mean, row.simulation.error))
                simulated.append(_size(mean, error))
        return {name: simulated, f"{name} in theory": theory} if simulated else {f"{name} in theory": theory}

    def _footnotes(self) -> list[str]:
        """What the numbers are, and the critical gains."""
        notes = ["signal: the size (root mean square) of the last block's output, for inputs of size 1"]
        notes.append("gradient: that of the gradient at the input, for one of size 1 at the output")
        if self.networks:
            notes.append(
                f"mean of {self.networks} networks ± standard error ({self.dtype}, batches of {self.batch}, seed "
                f"{self.seed}); theory is that of infinite width{self._scatter()}"
            )
        if self.unit_gain is not None:
            words = "σ_w at which pre-activations of size 1 give such of size 1 (it may be unstable)"
            notes.append(f"{words}: {self.unit_gain:.4g}")
        if self.critical_stddev is not None:
            notes.append(f"σ_w at the edge of chaos (χ = 1): {self.critical_stddev:.4g}")
        return notes

    def _scatter(self) -> str:
        scatters = [
            each
            for row in self.rows
            if row.simulation is not None
            for each in (row.simulation.signal_scatter, row.simulation.gradient_scatter)
            if math.isfinite(each)
        ]
        if not scatters:
            return ""
        return f", and one network of this width differs from the next by a factor of up to {max(scatters):.3g}"

    def as_dict(self) -> dict[str, Any]:
        """The comparison as plain data, for JSON, with stable keys.

        `activation`, `block`, `depth`, `width`, `batch`, `networks`, `seed`, `dtype`, `bias_stddev`, `unit_gain` and
        `critical_stddev` are the attributes. `rows` has, for each initializer, `name`, `initializer`, `gain`,
        `weight_stddev`, `verdict`, `ok`, `signal_change`, `gradient_change`, `signal_factor`, `gradient_factor`
        (of sizes, by layer), `theory` and `simulation` (or None). `theory` has `signal`, `preactivations` and
        `gradient`: mean squares by depth. `simulation` has these as `mean` and, for their standard errors, as `error`;
        and `signal_scatter` and `gradient_scatter`. Numbers that are unknown or not finite are None.
        """
        own = {name: value for name, value in vars(self).items() if name != "rows"}
        return plain({**own, "rows": [row.as_dict() for row in self.rows]})

    def charts(self) -> Charts:
        """Charts by depth: the sizes of the "signal" and of the "gradient"; theory as lines, networks as dots."""
        return Charts((self._chart("signal", "output"), self._chart("gradient", "input")))

    def _chart(self, name: str, end: str) -> Chart:
        """The sizes of what passes through the network, by depth."""
        series = [each for place, row in enumerate(self.rows) for each in _series(row, name, place)]
        known = [(row.name, getattr(row, name)) for row in self.rows]
        words = "; ".join(f"{row}: {change}" for row, change in known if change is not None)
        description = (
            f"By the {end} of {self.title}: {words}." if words else f"{self.title}: theory knows nothing of it."
        )
        kinds = " (lines: theory)" if {each.kind for each in series} == {"line", "dots"} else ""
        return by_depth(name, f"{name.capitalize()} by depth{kinds}", description, series, y="root mean square")

    def plot(self, theme: Theme = "any") -> Figure:
        """The charts as a figure of matplotlib.

        Args:
            theme: the background: "light", "dark", or "any" for none, with colours that are legible on both.

        Raises:
            ImportError: matplotlib is not installed.
        """
        from fanin.report import plots

        return plots.drawn(self.charts(), theme, self.title)

    def __str__(self) -> str:
        return self.table().text(terminal_width())

    _repr_pretty_ = printed

    def _repr_html_(self) -> str:
        """The table with signal and gradient as sparklines, for notebooks."""
        table = self.table()
        for name in ("signal", "gradient"):
            sizes = [() if row.profile is None else getattr(row.profile, name) for row in self.rows]
            pictures = [Pictured("", inline.line(each, f"the {name} by depth")) for each in sizes]
            table = table.with_column(f"{name} by depth", pictures, before="verdict")
        return table.html()


def _series(row: Compared, name: str, color: int) -> list[Series]:
    """A row's sizes by depth: theory as a line, networks as dots."""
    made = []
    if row.theory is not None:
        label = row.name if row.simulation is None else ""
        made.append(Series(label, [math.sqrt(each) for each in getattr(row.theory, name)], kind="line", color=color))
    if row.simulation is not None:
        mean, error = getattr(row.simulation.mean, name), getattr(row.simulation.error, name)
        sizes = [math.sqrt(each) for each in mean]
        errors = [spread / (2 * size) if size else 0.0 for spread, size in zip(error, sizes, strict=True)]
        made.append(Series(row.name, sizes, errors, kind="dots", color=color))
    return made


def _size(square: float, error: float | None) -> str:
    """A size from a mean square, with its standard error."""
    size = math.sqrt(square)
    if error is None or not math.isfinite(error) or not 0 < size < math.inf:
        return f"{size:.4g}"
    return f"{size:.3g} ± {error / (2 * size):.1g}"


def _factor(factor: float) -> str:
    return f"{factor:.2f}" if 0.1 <= factor < 1000 else f"{factor:.2g}"
