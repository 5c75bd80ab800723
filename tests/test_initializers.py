"""What the classes promise beyond values: calls, seeds, copies, equality, distributions, threads."""

import copy
import math
import os
import pickle
import random
import subprocess
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import fanin
from catalogue import CATALOGUE, fresh
from fanin import _random
from fanin.settings import TIERS

REPEATING = ("RandomNormal", "RandomUniform", "TruncatedNormal", "VarianceScaling", "Orthogonal")
SEQUENTIAL = ("GlorotNormal", "GlorotUniform", "HeNormal", "HeUniform", "LecunNormal", "LecunUniform")
RANDOM = REPEATING + SEQUENTIAL


def made(initializer: fanin.Initializer, shape: tuple[int, ...] = (5, 7), **kwargs: Any) -> bytes:
    """The bytes of one call."""
    return initializer(shape, **kwargs).tobytes()


def unseeded(name: str) -> fanin.Initializer:
    """An initializer of that class with nothing given."""
    return getattr(fanin, name)()


def test_the_catalogue_is_complete() -> None:
    """Every public class is in the catalogue."""
    assert {type(each).__name__ for each, _, _ in CATALOGUE.values()} == {
        name for name, each in vars(sys.modules["fanin.initializers"]).items()
        if isinstance(each, type) and name == each.__name__ and name in fanin.__all__ and name != "Distribution"
    } - {"Initializer", "SeededInitializer"}  # fmt: skip


@pytest.mark.parametrize("name", RANDOM)
def test_seeded_calls(name: str) -> None:
    """Documented: some classes repeat, the others go on through a sequence that every equal initializer has."""
    first, second = getattr(fanin, name)(seed=5), getattr(fanin, name)(seed=5)
    values = [made(first) for _ in range(4)]
    assert values == [made(second) for _ in range(4)]
    assert len(set(values)) == (1 if name in REPEATING else 4)


@pytest.mark.parametrize("name", RANDOM)
def test_released_semantics(name: str) -> None:
    """Released: every class repeats, and the setting is read at each call."""
    initializer = getattr(fanin, name)(seed=5)
    first = made(initializer)
    with fanin.config.using(call_semantics="released"):
        assert made(initializer) == first
    assert (made(initializer) == first) == (name in REPEATING)


@pytest.mark.parametrize("name", RANDOM)
def test_reuse_of_unseeded_initializers(name: str) -> None:
    """An unseeded initializer keeps its seed; the second whole call warns where values repeat."""
    initializer = unseeded(name)
    first = made(initializer)
    assert initializer.get_config()["seed"] is None
    if name in REPEATING:
        with pytest.warns(UserWarning, match=rf"The initializer {name} is unseeded and being called multiple times"):
            assert made(initializer) == first
    else:
        assert made(initializer) != first
        with fanin.config.using(call_semantics="released"), pytest.warns(UserWarning, match="is unseeded"):
            assert made(initializer) == first
    assert made(unseeded(name)) != first


def test_a_reuse_warning_points_at_the_caller() -> None:
    """The warning names the line that calls, not fanin's own."""
    initializer = fanin.RandomNormal()
    initializer((2,))
    with pytest.warns(UserWarning, match="unseeded") as caught:
        initializer((2,))
    assert caught[0].filename == __file__


def test_pieces_belong_to_call_zero() -> None:
    """Calls for a piece neither count nor warn, and draw from the first call's stream."""
    initializer = fanin.HeNormal(seed=3)
    whole = fanin.HeNormal(seed=3)((4, 6))
    for _ in range(2):
        assert initializer((4, 6), region=1).tobytes() == whole[1].tobytes()
    shard = {"partition_shape": (4, 6), "partition_offset": (0, 0)}
    shards = {made(initializer, (9, 9), **shard) for _ in range(3)}
    assert len(shards) == 1
    assert made(initializer, (4, 6)) == whole.tobytes()  # still call 0
    second = made(initializer, (4, 6))
    assert second != whole.tobytes()
    assert initializer((4, 6), region=...).tobytes() == whole.tobytes()
    assert {made(initializer, (9, 9), **shard)} == shards
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        piecewise = fanin.RandomNormal()
        pieces = [piecewise((4, 6), region=row) for row in range(4)]
        assert np.stack(pieces).tobytes() == made(piecewise, (4, 6))


def test_partition_shape_alone_is_a_piece() -> None:
    """`partition_shape` without an offset, or with `()`, folds nothing in; `(0, 0)` does; lists are tuples."""
    initializer = fanin.RandomUniform(seed=3)
    whole = made(initializer, (4, 6))
    assert made(initializer, (9, 9), partition_shape=(4, 6)) == whole
    assert made(initializer, (9, 9), partition_shape=(4, 6), partition_offset=()) == whole
    folded = made(initializer, (9, 9), partition_shape=(4, 6), partition_offset=(0, 0))
    assert folded != whole
    assert made(initializer, (9, 9), partition_shape=[4, 6], partition_offset=[0, 0]) == folded
    assert made(initializer, (9, 9), partition_shape=(4, 6), partition_offset=(-1, 0)) not in (folded, whole)
    assert fanin.Ones()((9, 9), partition_shape=(4, 6)).shape == (4, 6)
    assert fanin.Zeros()((9, 9), layout=None).shape == (9, 9)


def test_a_call_that_raises_does_not_count() -> None:
    """Errors leave count and seed as they were."""
    initializer, other = fanin.GlorotUniform(seed=3), fanin.GlorotUniform(seed=3)
    bad: Any
    for bad in ({"dtype": "int32"}, {"out": np.zeros(3)}, {"region": 99}, {"nonsense": 1}):
        with pytest.raises((TypeError, ValueError, IndexError)):
            initializer((4, 6), **bad)
    with pytest.raises(MemoryError):
        initializer((2**30, 2**30))
    assert [made(initializer) for _ in range(3)] == [made(other) for _ in range(3)]

    fanin.utils.set_random_seed(1)
    expected = made(fanin.RandomNormal())
    fanin.utils.set_random_seed(1)
    lazy = fanin.RandomNormal()
    bad: Any
    for bad in ({"dtype": "int32"}, {"out": np.zeros(3)}, {"region": 99}):
        with pytest.raises((TypeError, ValueError, IndexError)):
            lazy((5, 7), **bad)
    with pytest.raises(MemoryError):
        lazy((2**30, 2**30))
    assert made(lazy) == expected


def test_a_warning_that_is_an_error_does_not_count() -> None:
    """With warnings as errors the refused call leaves no trace."""
    initializer = fanin.RandomNormal()
    first = made(initializer)
    for _ in range(2):
        with pytest.raises(UserWarning, match="unseeded"):
            initializer((5, 7))
    with pytest.warns(UserWarning, match="unseeded"):
        assert made(initializer) == first


def test_every_call_counts() -> None:
    """Whatever its shape, dtype or `out`, a call is one of the sequence."""
    plain, mixed = fanin.HeUniform(seed=9), fanin.HeUniform(seed=9)
    values = [made(plain) for _ in range(4)]
    mixed((2, 2))
    mixed((0, 3), "float16")
    out = np.empty((1, 1), "float64")
    mixed((1, 1), "float64", out=out)
    assert made(mixed) == values[3]


@pytest.mark.parametrize("name", list(CATALOGUE))
def test_copies_go_on_where_the_original_is(name: str) -> None:
    """copy, deepcopy and pickle keep seed and count; from_config starts anew."""
    original = fresh(name)
    _, dtypes, ranks = CATALOGUE[name]
    shape = (5, 4, 3, 2, 2)[: ranks[-1] if name != "Identity" else 2]
    first = original(shape, dtypes[0]).tobytes()
    copies = [copy.copy(original), copy.deepcopy(original), pickle.loads(pickle.dumps(original))]
    anew = type(original).from_config(original.get_config())
    second = original(shape, dtypes[0]).tobytes()
    for each in copies:
        assert type(each) is type(original)
        assert each == original
        assert each(shape, dtypes[0]).tobytes() == second
    assert anew == original
    assert anew(shape, dtypes[0]).tobytes() == first


def test_copies_of_unseeded_initializers() -> None:
    """A copy made after the first call has the seed that was drawn; one made before draws its own."""
    original = fanin.LecunNormal()
    early = copy.deepcopy(original)
    region = made(original, region=...)
    late = pickle.loads(pickle.dumps(original))
    assert made(late) == region
    assert made(early) != region


def test_equality_and_hash() -> None:
    """Equal are initializers of the same class and configuration; an unseeded one equals itself alone."""
    assert fanin.HeNormal(seed=1) == fanin.HeNormal(seed=np.int64(1))
    assert hash(fanin.HeNormal(seed=1)) == hash(fanin.HeNormal(seed=1))
    assert fanin.HeNormal(seed=1) != fanin.HeNormal(seed=2)
    assert fanin.HeNormal(seed=1) != fanin.HeUniform(seed=1)
    assert fanin.Zeros() == fanin.Zeros() != fanin.Ones()
    assert len({fanin.Constant(value) for value in (1, 1.0, True, 0.0, -0.0)}) == 5  # what they make differs
    assert fanin.Constant(math.nan) == fanin.Constant(math.nan)
    unseeded_one = fanin.HeNormal()
    assert unseeded_one == unseeded_one
    assert unseeded_one != fanin.HeNormal()
    assert fanin.HeNormal(seed=1) != "HeNormal(seed=1)"

    class Undescribed(fanin.Initializer):
        def __init__(self, gain: float) -> None:
            self.gain = gain

    assert Undescribed(1) != Undescribed(1)
    assert len({Undescribed(1), Undescribed(1), fanin.Zeros(), fanin.Zeros()}) == 3


def test_repr() -> None:
    """The representation is the call that makes the initializer."""
    assert repr(fanin.VarianceScaling(2, seed=3)) == (
        "VarianceScaling(scale=2, mode='fan_in', distribution='truncated_normal', seed=3)"
    )
    assert repr(fanin.Zeros()) == "Zeros()"
    for name, (each, _, _) in CATALOGUE.items():
        assert eval(repr(each), vars(fanin) | {cls: getattr(fanin, cls) for cls in fanin.__all__}) == each, name


def test_spawn() -> None:
    """A spawned initializer has a seed that is a function of seed and name, and has not been called."""
    parent = fanin.GlorotUniform(seed=7)
    made(parent)
    child = parent.spawn("encoder/kernel")
    assert child == fanin.GlorotUniform(seed=7).spawn("encoder/kernel")
    assert child.get_config()["seed"] == 1074634336914675823
    assert parent.spawn("encoder/bias") != child
    assert fanin.GlorotUniform(seed=8).spawn("encoder/kernel") != child
    assert made(child) == made(fanin.GlorotUniform(seed=child.get_config()["seed"]))
    assert parent.spawn("é") != parent.spawn("e")
    assert fanin.RandomNormal(2.0, 3.0, seed=-1).spawn("x").get_config() == {
        "mean": 2.0, "stddev": 3.0, "seed": 6846385655048281393
    }  # fmt: skip
    assert fanin.Constant(4).spawn("x") == fanin.Constant(4)
    lazy = fanin.RandomNormal()
    assert lazy.spawn("x") == lazy.spawn("x")  # it draws its seed first, and keeps it
    with pytest.raises(TypeError, match=r"`name` must be a string\. Received: name=3"):
        parent.spawn(3)  # pyright: ignore[reportArgumentType]


def test_set_random_seed() -> None:
    """Seeds of unseeded initializers come in the order of first calls; Python's and NumPy's generators are seeded."""
    fanin.utils.set_random_seed(42)
    numbers = (random.random(), np.random.rand())
    a, b = fanin.HeNormal(), fanin.GlorotNormal()
    in_order = (made(a), made(b))
    fanin.utils.set_random_seed(42)
    assert (random.random(), np.random.rand()) == numbers
    a, b = fanin.HeNormal(), fanin.GlorotNormal()
    swapped = (made(b), made(a))
    assert swapped != in_order[::-1]
    fanin.utils.set_random_seed(np.int64(42))  # pyright: ignore[reportArgumentType]
    seeds = random.Random(42)
    assert made(fanin.HeNormal()) == made(fanin.HeNormal(seed=seeds.randint(1, 10**9)))


def test_threads_have_their_own_seeds() -> None:
    """set_random_seed speaks for the calling thread; another one's unseeded initializers take from `random`."""
    fanin.utils.set_random_seed(42)
    expected = made(fanin.HeNormal())
    fanin.utils.set_random_seed(42)
    random.seed(7)
    elsewhere = []
    thread = threading.Thread(target=lambda: elsewhere.append(made(fanin.HeNormal())))
    thread.start()
    thread.join()
    assert made(fanin.HeNormal()) == expected
    assert elsewhere == [made(fanin.HeNormal(seed=random.Random(7).randint(1, 10**9)))]


def test_sixteen_threads_at_once() -> None:
    """Concurrent calls of one initializer give each number of the sequence once; concurrent fills are right."""
    initializer, serial = fanin.GlorotNormal(seed=4), fanin.GlorotNormal(seed=4)
    with ThreadPoolExecutor(16) as pool:
        values = list(pool.map(lambda _: made(initializer, (37, 41)), range(200)))
    assert sorted(values) == sorted(made(serial, (37, 41)) for _ in range(200))
    expected = made(fanin.RandomNormal(seed=6), (700, 800))
    with ThreadPoolExecutor(16) as pool:
        assert set(pool.map(lambda _: made(fanin.RandomNormal(seed=6), (700, 800)), range(32))) == {expected}


FORKS = """
import os, fanin
from fanin import base

def drawn():
    return fanin.RandomNormal(seed=6)((700, 800)).tobytes()

expected = drawn()
base._lock.acquire()  # as another thread may have it at the moment of the fork
child = os.fork()
if child == 0:
    os._exit(0 if drawn() == expected else 2)
base._lock.release()
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert drawn() == expected
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_fork_after_use() -> None:
    """A forked child draws the same values, with threads of its own, whoever held the lock."""
    subprocess.run([sys.executable, "-c", FORKS], check=True, timeout=60)


def test_distributions_describe_the_draw() -> None:
    """Kinds, parameters as the dtype rounds them, bounds, moments and fans."""
    drawn = fanin.HeNormal().distribution((3, 3, 64, 128))
    assert (drawn.kind, drawn.fan_in, drawn.fan_out, drawn.size) == ("truncated_normal", 576, 1152, 73728)
    assert math.isclose(drawn.stddev, math.sqrt(2 / 576), rel_tol=1e-7)
    assert drawn.bounds == (-2 * drawn.parameters()["scale"], 2 * drawn.parameters()["scale"])
    assert fanin.RandomNormal(0.1, 0.3).distribution((), "float16").parameters() == {
        "loc": float(np.float16(0.1)), "scale": float(np.float16(0.3))
    }  # fmt: skip
    assert fanin.RandomUniform(-1, 3).distribution((2,)).bounds == (-1, 3)
    assert fanin.RandomUniform(-1, 3).distribution((2,), "int32").bounds == (-1, 2)
    assert fanin.RandomUniform(None, None).distribution((2,), "uint64").bounds == (0, 2**64 - 1)
    assert fanin.RandomUniform(None, None).distribution((2,), "int64").bounds == (-(2**63), 2**63 - 1)
    assert fanin.Constant(7).distribution((2,)).mean == 7
    assert fanin.Identity(2).distribution((2, 4)).mean == 0.5
    assert fanin.Orthogonal(2).distribution((4, 4)).stddev == 1.0
    assert fanin.Zeros().distribution((0, 3)).size == 0
    with pytest.raises(AttributeError):
        drawn.shape = (1,)  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize("name", [name for name, (each, _, _) in CATALOGUE.items() if each._is_random])
def test_moments(name: str) -> None:
    """Means and standard deviations of a million elements lie within 5 standard errors, on every tier."""
    initializer, dtypes, _ = CATALOGUE[name]
    shape = (700, 700) if name == "Orthogonal" else (1000, 1000)
    for dtype in dtypes:
        drawn = initializer.distribution(shape, dtype)
        for cpu in TIERS[1:]:
            with fanin.config.using(cpu=cpu):
                values = drawn.draw((31, 0)).astype(np.float64)
            standard_error = drawn.stddev / math.sqrt(drawn.size)
            assert abs(values.mean() - drawn.mean) < 5 * standard_error, (dtype, cpu)
            spread = math.sqrt(((drawn.kurtosis or 3) - 1) / 4) * standard_error
            assert abs(values.std() - drawn.stddev) < 5 * spread, (dtype, cpu)
            low, high = drawn.bounds
            step = 2.0**-8 * max(abs(low), abs(high)) if dtype.endswith("float16") else 0
            step = max(step, 1e-6 * max(abs(low), abs(high)))
            near = 1 if name == "Orthogonal" else 0.1  # no element of a large orthogonal matrix comes near its bounds
            assert low - step <= values.min() <= low + near * (high - low)
            assert high - near * (high - low) <= values.max() <= high + step


def test_orthogonality() -> None:
    """Rows or columns, whichever are fewer, are orthonormal to a few ulps, in every dtype."""
    for shape in ((64, 64), (300, 40), (40, 300), (3, 3, 8, 100), (1, 7), (7, 1)):
        for dtype, few in (("float64", 1e-14), ("float32", 1e-5), ("float16", 4e-3), ("bfloat16", 3e-2)):
            matrix = fanin.Orthogonal(seed=1)(shape, dtype).astype("float64").reshape(-1, shape[-1])
            gram = matrix.T @ matrix if len(matrix) >= shape[-1] else matrix @ matrix.T
            assert np.abs(gram - np.eye(len(gram))).max() < few, (shape, dtype)


def test_orthogonal_without_scipy(monkeypatch: pytest.MonkeyPatch) -> None:
    """NumPy's decomposition gives the same matrix to rounding, in the dtype asked for."""
    with_scipy = fanin.Orthogonal(0.7, seed=1)((90, 60))
    monkeypatch.setitem(sys.modules, "scipy.linalg", None)
    without = fanin.Orthogonal(0.7, seed=1)((90, 60))
    assert without.dtype == np.float32
    assert np.abs(with_scipy - without).max() < 2e-6
    assert with_scipy.tobytes() != without.tobytes()  # it is another routine


def test_narrow_orthogonal_matrices_are_rounded_once() -> None:
    """16-bit matrices are the float32 one, rounded."""
    single = fanin.Orthogonal(0.3, seed=1)((50, 20))
    for dtype in ("float16", "bfloat16"):
        narrow = fanin.Orthogonal(0.3, seed=1)((50, 20), dtype)
        assert narrow.tobytes() == single.astype(narrow.dtype).tobytes()


def test_float_errors_of_numpy_do_not_matter() -> None:
    """Overflow and underflow are values, not warnings or errors, whatever NumPy is told to do about its own."""
    with np.errstate(all="raise"):
        for initializer in (
            fanin.Orthogonal(1e-6, seed=1),
            fanin.Orthogonal(1e300, seed=1),
            fanin.Identity(1e300),
            fanin.Constant(1e300),
            fanin.RandomUniform(-1e300, 1e300, seed=1),
            fanin.TruncatedNormal(1e-40, 1e30, seed=1),
        ):
            for dtype in ("float16", "bfloat16", "float32"):
                assert initializer((3, 3), dtype).shape == (3, 3)


def test_moments_of_values_that_overflow() -> None:
    """Infinite values have infinite moments, or none; large ones that cannot be reached do no harm."""
    assert fanin.RandomNormal(0.0, 11000.0).distribution((2,), "float16").mean == 0.0
    assert math.isclose(fanin.RandomNormal(0.0, 11000.0).distribution((2,), "float16").stddev, 11000, rel_tol=1e-3)
    assert not math.isfinite(fanin.RandomNormal(0.0, 40000.0).distribution((2,), "float16").stddev)


def test_a_failing_call_of_orthogonal_draws_no_seed() -> None:
    """The whole matrix of a region is thought of before the seed is."""
    initializer = fanin.Orthogonal()
    with pytest.raises(MemoryError, match="Unable to allocate"):
        initializer((2**22, 2**22), region=(0, 0))
    assert initializer._drawn_seed is None


def test_identity() -> None:
    """The gain on the diagonal, and zeros with the sign that the product has."""
    assert fanin.Identity(2)((2, 3)).tolist() == [[2, 0, 0], [0, 2, 0]]
    assert fanin.Identity()((3, 2), "float64").tolist() == [[1, 0], [0, 1], [0, 0]]
    assert np.signbit(fanin.Identity(-1.0)((2, 2))).all()
    assert fanin.Identity()((0, 5)).shape == (0, 5)


def test_constants() -> None:
    """Kinds that fit, on their way through float32 to the narrow dtypes."""
    assert fanin.Constant(True)((2,), "int8").tolist() == [1, 1]
    assert fanin.Constant(True)((1,), "bool").tolist() == [True]
    assert fanin.Constant(3)((1,), "complex64").tolist() == [3 + 0j]
    assert fanin.Constant(1e300)((1,), "float32").tolist() == [math.inf]
    assert fanin.Constant(-(10**400))((1,), "float64").tolist() == [-math.inf]
    assert math.isnan(fanin.Constant(math.nan)((1,))[0])
    assert fanin.Constant(np.float32(0.1))((1,), "float64").tolist() == [float(np.float32(0.1))]
    assert fanin.Constant(np.array(5))(()).tolist() == 5.0
    halfway = 1 + 2**-9 + 2**-40  # above the middle between two float16 numbers, but not in float32
    assert fanin.Constant(halfway + 2**-11 - 2**-9)((1,), "float16").tolist() == [1.0]


def test_users_own_subclasses() -> None:
    """A subclass describes a distribution and has everything else, or overrides the call."""

    class Halved(fanin.VarianceScaling):
        def __init__(self, seed: int | None = None) -> None:
            super().__init__(scale=0.5, mode="fan_out", seed=seed)

        def get_config(self) -> dict[str, object]:
            return {"seed": self.seed}

    initializer = Halved(seed=3)
    assert initializer((4, 6)).tobytes() == fanin.VarianceScaling(0.5, "fan_out", seed=3)((4, 6)).tobytes()
    assert initializer((4, 6), region=1).shape == (6,)
    assert Halved.from_config(initializer.get_config()) == initializer
    assert initializer.spawn("x").get_config()["seed"] == fanin.HeNormal(seed=3).spawn("x").get_config()["seed"]

    class Unseeded(fanin.Initializer):
        def distribution(self, shape: Any, dtype: Any = None) -> fanin.Distribution:
            return fanin.HeNormal().distribution(shape, dtype)

    with pytest.raises(TypeError, match="Unseeded draws at random and has no seed: its base class must be Seeded"):
        Unseeded()((2, 2))
    with pytest.raises(NotImplementedError, match="must implement the `__call__"):
        fanin.Initializer()((2, 2))


def test_numbers_from_arrays_and_tensors() -> None:
    """0-d arrays and NumPy numbers become Python numbers."""
    initializer = fanin.RandomNormal(np.array(1, "int8"), np.float32(0.5), seed=np.uint8(3))
    assert initializer.get_config() == {"mean": 1, "stddev": 0.5, "seed": 3}
    assert [type(value) for value in initializer.get_config().values()] == [int, float, int]


def test_fold_in_is_a_function_of_pair_and_number() -> None:
    """Numbers that fit 32 bits and others take their own widths, as TensorFlow's fold_in (checked live elsewhere)."""
    pairs = {
        _random.fold_in((5, 0), number) for number in (0, 1, -1, 2**31 - 1, 2**31, -(2**31), -(2**31) - 1, 2**63 - 1)
    }
    assert len(pairs) == 8
    assert _random.fold_in((5, 0), 2**64 - 1) == _random.fold_in((5, 0), -1)
