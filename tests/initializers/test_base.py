"""What all initializers share: copies, equality, representations, numbers, and subclasses of the user's own."""

import copy
import math
import pickle
import sys
from typing import Any

import numpy as np
import pytest

import fanin
from catalogue import CATALOGUE, fitted, fresh, made


def test_the_catalogue_is_complete() -> None:
    """Every public class is in the catalogue."""
    assert {type(each).__name__ for each, _, _ in CATALOGUE.values()} == {
        name for name, each in vars(sys.modules["fanin.initializers"]).items()
        if isinstance(each, type) and name == each.__name__ and name in fanin.__all__ and name != "Distribution"
    } - {"Initializer", "SeededInitializer"}  # fmt: skip


@pytest.mark.parametrize("name", list(CATALOGUE))
def test_copies_go_on_where_the_original_is(name: str) -> None:
    """copy, deepcopy and pickle keep seed and count; from_config starts anew."""
    original = fresh(name)
    _, dtypes, ranks = CATALOGUE[name]
    shape = fitted(name, (5, 4, 3, 2, 2)[: ranks[-1]])
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

    with pytest.raises(TypeError, match="Unseeded has a random distribution but no seed: it must derive from Seeded"):
        Unseeded()((2, 2))
    with pytest.raises(NotImplementedError, match="must implement the `__call__"):
        fanin.Initializer()((2, 2))


def test_numbers_from_arrays_and_tensors() -> None:
    """0-d arrays and NumPy numbers become Python numbers."""
    initializer = fanin.RandomNormal(np.array(1, "int8"), np.float32(0.5), seed=np.uint8(3))
    assert initializer.get_config() == {"mean": 1, "stddev": 0.5, "seed": 3}
    assert [type(value) for value in initializer.get_config().values()] == [int, float, int]


def test_a_summary_is_short() -> None:
    """Of many values, it has the first: a table of a million fits a line."""
    assert fanin.Table([1.0, 2.0]).summary == "Table(values=[1.0, 2.0])"
    assert len(fanin.Table(np.ones((512, 512))).summary) < 300
