"""Arguments of the float64 logarithm, sine and cosine: of every kind that the kernels can ask for."""

import numpy as np

TWO_PI = 2 * np.pi
LOG, SIN, COS = range(3)


def _units(rng: np.random.Generator, count: int) -> np.ndarray:
    """Unit doubles as the kernels make them."""
    mantissas = rng.integers(0, 2**52, count, dtype=np.uint64)
    return (mantissas | np.uint64(0x3FF << 52)).view(np.float64) - 1


def _of_all_sizes(rng: np.random.Generator, count: int) -> np.ndarray:
    """Multiples of 2**-52 in (0, 1) with evenly distributed exponents."""
    exponents = rng.integers(1, 53, count)
    return np.maximum(np.floor(rng.random(count) * 2.0**exponents), 1) * 2.0**-52


def _beside(rng: np.random.Generator, points: np.ndarray, count: int) -> np.ndarray:
    """Doubles a few steps from the points, on either side, and at distances of all sizes."""
    chosen = rng.choice(points, count)
    steps = chosen.view(np.int64) + rng.integers(-64, 65, count)
    far = chosen + rng.choice([-1.0, 1.0], count) * _of_all_sizes(rng, count) / 64
    return np.where(rng.random(count) < 0.5, steps.view(np.float64), far)


def _angle_borders() -> np.ndarray:
    """Where sine and cosine change their branch, their quadrant or the row of their table."""
    rows = np.arange(1, 220) / 256  # every row of 1/128, and the border of the next
    turns = np.arange(5)[:, None] * (np.pi / 2)
    about = np.concatenate([turns + rows, turns - rows, turns + 0.126, turns - 0.126], axis=1).ravel()
    borders = [float.fromhex("0x1.b6p-1"), float.fromhex("0x1.368fdp1")]
    return np.concatenate([about[(about > 0) & (about < TWO_PI)], np.arange(1, 9) * (np.pi / 4), borders])


def _log_borders() -> np.ndarray:
    """Where the logarithm changes its branch or the row of its table."""
    rows = np.int64(0x3FE6000000000000) + (np.arange(129, dtype=np.int64) << 45)
    every = rows.view(np.float64) * 2.0 ** np.arange(-24, 1)[:, None]
    return np.concatenate([every[(every > 1e-7) & (every < 1)], [0.9375, 1e-7]])


def arguments(function: int, seed: int, count: int) -> np.ndarray:
    """`count` arguments, half of them random as in the kernels, the others beside borders, or near 0, or near 1."""
    rng = np.random.Generator(np.random.SFC64(seed))
    random, beside, sizes = count // 2, count // 4, count - count // 2 - count // 4
    if function == LOG:
        small = _of_all_sizes(rng, sizes)
        units = [_units(rng, random), _beside(rng, _log_borders(), beside), np.where(small < 0.06, 1 - small, small)]
        return np.clip(np.concatenate(units), 1e-7, 1 - 2.0**-52)
    units = np.concatenate([_units(rng, random), _of_all_sizes(rng, sizes)])
    return np.clip(np.concatenate([units * TWO_PI, _beside(rng, _angle_borders(), beside)]), 0, TWO_PI)
