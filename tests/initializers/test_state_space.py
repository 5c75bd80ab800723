"""HiPPO matrices against formulas in fractions and the integrals that they come from; S4D against eigenvalues."""

import itertools
import math
from fractions import Fraction
from typing import Any, Literal

import numpy as np
import pytest

import fanin

Measure = Literal["legs", "legt", "lagt"]


def squared(measure: str, n: int, k: int) -> Fraction:
    """The square of A[n, k], with its sign, by the formulas of the papers."""
    if measure == "lagt":
        return Fraction(-1 if n >= k else 0)
    product = (2 * n + 1) * (2 * k + 1)
    if measure == "legt":
        return Fraction(-product if n >= k else product * (1 if (k - n) % 2 else -1))
    return Fraction(-product if n > k else 0) if n != k else Fraction(-((n + 1) ** 2))


@pytest.mark.parametrize("measure", ["legs", "legt", "lagt"])
def test_formulas(measure: Measure) -> None:
    """Each value of A and B is the float64 number nearest to the root of a fraction."""
    n = 40
    matrix, column = (fanin.Hippo(measure, part)((n, n) if part == "A" else (n,), "float64") for part in ("A", "B"))
    for row in range(n):
        expected = [squared(measure, row, k) for k in range(n)]
        assert matrix[row].tolist() == [math.copysign(math.sqrt(abs(each)), each) for each in expected]
        assert column[row] == (1 if measure == "lagt" else math.sqrt(2 * row + 1))
    assert fanin.Hippo(measure, "B")((n, 1), "float64").ravel().tolist() == column.tolist()


def coefficients(measure: str, function: Any, time: float, n: int) -> np.ndarray:
    """The first coefficients of a function's history: integrals with the measure's orthonormal polynomials."""
    special: Any = pytest.importorskip("scipy.special")
    orders = np.arange(n)[:, None]
    if measure == "lagt":  # of weight exp(-age)
        points, weights = special.roots_laguerre(60)
        return (special.eval_laguerre(orders, points) * weights * function(time - points)).sum(axis=1)
    length = time if measure == "legs" else 1.0
    points, weights = special.roots_legendre(60)
    values = special.eval_legendre(orders, points) * np.sqrt(2 * orders + 1) * (weights / 2)
    return (values * function(time - length * (1 - points) / 2)).sum(axis=1)


@pytest.mark.parametrize("measure", ["legs", "legt", "lagt"])
def test_the_history_obeys_the_system(measure: Measure) -> None:
    """The coefficients of a polynomial, which are integrals of its history, change as the matrices say."""
    n, time, step = 8, 1.7, 1e-5
    matrix, column = (fanin.Hippo(measure, part)((n, n) if part == "A" else (n,), "float64") for part in ("A", "B"))

    def function(t: Any) -> Any:
        return 0.3 - t + 0.25 * t**3

    before, now, after = (coefficients(measure, function, at, n) for at in (time - step, time, time + step))
    change = matrix @ now + column * function(time)
    expected = change / time if measure == "legs" else change
    assert np.allclose((after - before) / (2 * step), expected, rtol=1e-6, atol=1e-7)


def test_hippo_is_the_corner_of_one_matrix() -> None:
    """A smaller matrix is a part of the larger one, and leading axes repeat it."""
    for measure in ("legs", "legt", "lagt"):
        whole = fanin.Hippo(measure)((9, 9))
        assert np.array_equal(fanin.Hippo(measure)((4, 4)), whole[:4, :4])
        assert np.array_equal(fanin.Hippo(measure)((2, 9, 9))[1], whole)
    assert fanin.Hippo(part="B")((1,)).tolist() == [1]
    assert fanin.Hippo(part="B")((2, 3, 1)).shape == (2, 3, 1)


def test_the_matrices_of_state_spaces() -> None:
    """Its `transition` for legs is ours; for legt it is half of ours, as written out here."""
    q = np.arange(16.0)
    root = np.sqrt(2 * q + 1)
    legs = -np.tril(np.outer(root, root), -1) - np.diag(q + 1)
    assert np.allclose(fanin.Hippo("legs")((16, 16), "float64"), legs, rtol=1e-15)
    signs = np.where(q[:, None] < q, (-1.0) ** (q[:, None] - q), 1.0)
    assert np.allclose(fanin.Hippo("legt")((16, 16), "float64") / 2, -0.5 * np.outer(root, root) * signs, rtol=1e-15)


# ---------------------------------------------------------------- S4D


def test_lin_and_inv() -> None:
    """To a unit in the last place of what 50 digits give."""
    mpmath: Any = pytest.importorskip("mpmath")
    lin, inv = (fanin.S4D(each)((70,), "complex128") for each in ("lin", "inv"))
    assert (np.real(lin) == -0.5).all()
    assert (np.real(inv) == -0.5).all()
    with mpmath.workdps(50):
        states = mpmath.mpf(140)
        for n in range(70):
            assert lin[n].imag == float(mpmath.pi * n)
            expected = float(states / mpmath.pi * (states / (2 * n + 1) - 1))
            assert abs(inv[n].imag - expected) <= 2 * math.ulp(expected)


@pytest.mark.parametrize("half", [1, 2, 3, 32, 100])
def test_legs_are_the_eigenvalues_of_hippos_normal_part(half: int) -> None:
    """Those with a positive imaginary part, in descending order, to the accuracy of LAPACK's routine."""
    states = 2 * half
    matrix, column = fanin.Hippo()((states, states), "float64"), fanin.Hippo(part="B")((states,), "float64")
    normal = matrix + np.outer(column, column) / 2
    assert np.allclose(normal + normal.T, -np.eye(states), rtol=0, atol=1e-12)
    frequencies = np.linalg.eigvalsh(normal / 1j + np.eye(states) / 2j)[::-1][:half]
    ours = fanin.S4D("legs")((half,), "complex128")
    assert (np.real(ours) == -0.5).all()
    assert np.allclose(np.imag(ours), frequencies, rtol=1e-12, atol=1e-14 * states**2)


def test_legs_solve_the_characteristic_equation() -> None:
    """With 60 digits: the polynomial changes its sign within two units in the last place of each eigenvalue."""
    mpmath: Any = pytest.importorskip("mpmath")
    with mpmath.workdps(60):
        for half in (1, 2, 5, 24, 64):
            frequencies = fanin.S4D("legs", "imag")((half,), "float64").tolist()

            def characteristic(y: Any, states: int = 2 * half) -> Any:
                return mpmath.fprod(mpmath.mpc(1, 2 * y / (2 * n + 1)) for n in range(states)).real

            for frequency in frequencies:
                width = 2 * math.ulp(frequency)
                below, above = (characteristic(mpmath.mpf(frequency) + each) for each in (-width, width))
                assert below * above < 0
            assert all(first > second for first, second in itertools.pairwise(frequencies))


def test_legs_of_two_states() -> None:
    """One pair, whose imaginary part is the root of 3 / 4."""
    assert fanin.S4D("legs", "imag")((1,), "float64")[0] == pytest.approx(math.sqrt(0.75), rel=4e-16)


def test_a_region_of_legs() -> None:
    """Each eigenvalue is computed by itself, so a region has the bytes of the whole."""
    whole = fanin.S4D("legs")((3, 200), "complex64")
    for region in (np.s_[1], np.s_[:, 77], np.s_[2:, 30:170], np.s_[0, 199:]):
        assert fanin.S4D("legs")((3, 200), "complex64", region=region).tobytes() == whole[region].tobytes()


def test_real_parts_and_logarithms() -> None:
    """log(1), log(2), … in each row, each the nearest number of its dtype; -1, -2, … without the logarithm."""
    mpmath: Any = pytest.importorskip("mpmath")
    with mpmath.workdps(50):
        nearest = [float(mpmath.log(number)) for number in range(1, 17)]
    for dtype in ("float64", "float32"):
        assert fanin.S4D("real", "log_real")((8, 16), dtype)[7].tolist() == np.array(nearest).astype(dtype).tolist()
    assert fanin.S4D("real")((3,), "complex64").tolist() == [-1, -2, -3]
    assert fanin.S4D("real", "real")((3,), "float64").tolist() == [-1, -2, -3]
    assert fanin.S4D("real", "imag")((3,), "float64").tolist() == [0, 0, 0]
    assert fanin.S4D("lin", "log_real")((2,), "float64").tolist() == [math.log(0.5)] * 2


def test_mamba_in_transformers() -> None:
    """The parameter `A_log` of transformers' Mamba is the initializer's, but for PyTorch's last bits."""
    pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    config = transformers.MambaConfig(vocab_size=8, hidden_size=8, state_size=16, num_hidden_layers=1)
    (theirs,) = (p for name, p in transformers.MambaModel(config).named_parameters() if name.endswith("A_log"))
    ours = fanin.S4D("real", "log_real")(tuple(theirs.shape))
    assert np.allclose(ours, theirs.detach().numpy(), rtol=1.2e-7, atol=0)


@pytest.mark.parametrize(("floatx", "expected"), [("float32", "complex64"), ("float64", "complex128")])
def test_the_default_dtype(floatx: str, expected: str) -> None:
    """Complex numbers have the complex dtype of `floatx`, as those of ComplexNormal, and parts have `floatx`."""
    with fanin.config.using(floatx=floatx):
        assert fanin.S4D()((3,)).dtype.name == fanin.ComplexNormal()((3,)).dtype.name == expected
        assert fanin.S4D(part="imag")((3,)).dtype.name == floatx


def test_parts_of_complex_numbers() -> None:
    """A part in float32 is that part of the complex64 numbers."""
    for variant in ("lin", "inv", "legs", "real"):
        whole = fanin.S4D(variant)((4, 10), "complex64")
        for part in ("real", "imag"):
            ours = fanin.S4D(variant, part)((4, 10))
            assert np.array_equal(ours, getattr(whole, part))


def test_the_rows_of_a_table_are_solved_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A table of many rows takes the time of one."""
    from fanin.distributions import state_space

    calls = []
    solve = state_space._legs_frequencies
    monkeypatch.setattr(state_space, "_legs_frequencies", lambda *given: calls.append(given) or solve(*given))
    table = fanin.S4D("legs")((2000, 36), "complex64")
    assert len(calls) <= 1
    assert table[7].tobytes() == fanin.S4D("legs")((36,), "complex64").tobytes()
