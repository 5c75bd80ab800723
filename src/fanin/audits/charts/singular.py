"""Singular values of a block of a tensor, beside their density in theory."""

from __future__ import annotations

import math

import numpy as np

from fanin.audits.audited import AuditedTensor
from fanin.audits.judging.laws import Law
from fanin.audits.spectra import Spectrum, marchenko_pastur
from fanin.report import number
from fanin.report.charts import Axis, Chart, Guide, Marks

_NODES = 200
_MOST_BINS = 32
_ORTHOGONAL = ("orthogonal", "orthogonal_matrices", "delta_orthogonal")
_UNASKED = "Singular values were not asked for: fanin.audit(…, spectra=True) computes them."


def singular_values(tensor: AuditedTensor) -> Chart | str:
    """The singular values of a block of a tensor, beside the density of Marchenko and Pastur, with its edges.

    Those of an orthogonal matrix are all equal to its gain.

    Args:
        tensor: the tensor.
    """
    spectrum = tensor.spectrum
    if spectrum is None:
        return _UNASKED
    if isinstance(spectrum, str):
        return spectrum
    if is_orthogonal(tensor.law) and spectrum.is_of_whole_vectors:
        return _orthogonal(spectrum, tensor.law)
    return _random(spectrum)


def is_orthogonal(law: Law | None) -> bool:
    """Whether a law is that of orthogonal matrices."""
    return law is not None and law.kind in _ORTHOGONAL


def _random(spectrum: Spectrum) -> Chart:
    """Beside the density of independent elements of the same spread."""
    values = np.array(spectrum.values)
    _, (low, high) = marchenko_pastur(values, spectrum.rows, spectrum.columns, spectrum.rms)
    nodes = np.linspace(low, high, _NODES)
    density, _ = marchenko_pastur(nodes, spectrum.rows, spectrum.columns, spectrum.rms)
    edges = _edges(values, low, high)
    heights = np.histogram(values, edges)[0] / (len(values) * np.diff(edges))
    beyond = int(np.count_nonzero(values > high))
    words = (
        f"{_summary(spectrum)} Independent elements of the same spread have them from {_three(low)} to {_three(high)}"
    )
    return Chart(
        "singular-values",
        "Singular values",
        f"{words}; {beyond or 'none'} of these {'lies' if beyond == 1 else 'lie'} beyond.",
        Axis("singular value"),
        Axis("density"),
        (
            Marks.of("bars", edges, heights, _block(spectrum)),
            Marks.of("line", nodes, density, "Marchenko–Pastur", color=1),
        ),
        (Guide("x", low, "edges"), Guide("x", high)),
    )


def _edges(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Bins between the edges of the density, and as wide ones beyond, up to the farthest value."""
    count = max(4, min(_MOST_BINS, math.ceil(math.sqrt(len(values)) * 1.5)))
    step = (high - low) / count
    before = math.ceil(max(0.0, low - float(values.min())) / step)
    after = math.ceil(max(0.0, float(values.max()) - high) / step)
    if before + after > 10 * count:  # a value that is far beyond: a bin for all the rest is enough
        return np.concatenate((np.linspace(low, high, count + 1), [float(values.max()) * (1 + 1e-9)]))
    return low + step * np.arange(-before, count + after + 1)


def _orthogonal(spectrum: Spectrum, law: Law | None) -> Chart:
    """Beside the gain, which all of them should be."""
    values = np.array(spectrum.values)
    gain = spectrum.rms * math.sqrt(max(spectrum.shape)) if law is None else law.high
    farthest = float(np.abs(values - gain).max())
    return Chart(
        "singular-values",
        "Singular values",
        f"{_summary(spectrum)} Those of an orthogonal matrix are all {_three(gain)}; the farthest is "
        f"{_three(farthest)} from it.",
        Axis("number, from the largest"),
        Axis("singular value", limits=(0.0, 1.15 * max(gain, float(values.max())))),
        (Marks.of("dots", np.arange(1, len(values) + 1), values, _block(spectrum)),),
        (Guide("y", gain, "gain"),),
    )


def _summary(spectrum: Spectrum) -> str:
    first, *_, last = spectrum.values
    return f"The {len(spectrum.values)} singular values are from {_three(last)} to {_three(first)}."


def _block(spectrum: Spectrum) -> str:
    """What was measured, for the legend."""
    block = f"{spectrum.rows}×{spectrum.columns}"
    return block if spectrum.is_whole else f"a block of {block} of {spectrum.shape[0]}×{spectrum.shape[1]}"


def _three(value: float) -> str:
    return number(value, 3)
