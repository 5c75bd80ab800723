"""Seeds: given, drawn, settled, spawned and set for a thread; weights and counts of calls; threads and forks."""

import os
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
from catalogue import CATALOGUE, SEEDED, fresh, made, shape_for


def shape_of(name: str) -> tuple[int, ...]:
    """A shape that an initializer of the catalogue takes."""
    return shape_for(name, 5, 4, 3)


def test_seed_as_given() -> None:
    """`seed` is the one given, as a Python integer, or None whatever has been drawn."""
    assert fanin.HeNormal(seed=np.uint8(3)).seed == 3
    assert type(fanin.HeNormal(seed=np.uint8(3)).seed) is int
    unseeded = fanin.HeNormal()
    unseeded((2, 2))
    assert unseeded.seed is None
    with pytest.raises(AttributeError):
        unseeded.seed = 3  # pyright: ignore[reportAttributeAccessIssue]


def test_settled_seed() -> None:
    """An unseeded initializer draws its seed when it is first asked for, and keeps it; a seeded one has it."""
    assert (fanin.HeNormal(seed=-4).has_seed, fanin.HeNormal(seed=-4).settled_seed()) == (True, -4)
    fanin.utils.set_random_seed(5)
    expected = [fanin.RandomNormal().settled_seed() for _ in range(2)]
    fanin.utils.set_random_seed(5)
    first, second = fanin.RandomNormal(), fanin.RandomNormal()
    assert not second.has_seed
    assert [second.settled_seed(), first.settled_seed()] == expected
    assert (second.has_seed, second.seed, second.settled_seed()) == (True, None, expected[0])
    assert made(second) == made(fanin.RandomNormal(seed=expected[0]))


@pytest.mark.parametrize("use", ["call", "region", "weight", "next_weight", "spawn"])
def test_what_settles_a_seed(use: str) -> None:
    """Everything that depends on it, and nothing else."""
    initializer = fanin.HeNormal()
    initializer.distribution((2, 2))
    initializer.get_config()
    initializer.with_seed(3)
    assert repr(initializer) == "HeNormal(seed=None)"
    assert not initializer.has_seed
    uses: dict[str, Any] = {
        "call": lambda: initializer((2, 2)),
        "region": lambda: initializer((2, 2), region=0),
        "weight": lambda: initializer.weight((2, 2)),
        "next_weight": lambda: initializer.next_weight((2, 2)),
        "spawn": lambda: initializer.spawn("a"),
    }
    uses[use]()
    assert initializer.has_seed


@pytest.mark.parametrize("name", CATALOGUE)
def test_with_seed(name: str) -> None:
    """A copy with another seed that has not been called; of what has no seed, just a copy."""
    initializer, dtype, shape = fresh(name), CATALOGUE[name][1][0], shape_of(name)
    first = initializer(shape, dtype).tobytes()
    other = initializer.with_seed(99)
    assert type(other) is type(initializer)
    assert other is not initializer
    config = initializer.get_config()
    assert other.get_config() == ({**config, "seed": 99} if "seed" in config else config)
    expected = type(initializer).from_config(other.get_config())(shape, dtype).tobytes()
    assert other(shape, dtype).tobytes() == expected
    assert (expected == first) == (name not in SEEDED)
    assert initializer.get_config() == config


def test_with_no_seed() -> None:
    """None makes it unseeded, whatever was drawn before; impossible seeds are refused as they are anywhere."""
    initializer = fanin.HeNormal(seed=3).with_seed(None)
    assert (initializer.seed, initializer.has_seed) == (None, False)
    settled = initializer.settled_seed()
    assert not initializer.with_seed(None).has_seed
    assert initializer.settled_seed() == settled
    assert initializer.with_seed(5).settled_seed() == 5
    with pytest.raises(TypeError, match=r"^`seed` must be an integer or None\. Received: seed=1\.5 \(of type float\)"):
        initializer.with_seed(1.5)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match=r"^`seed` must lie in \[-2\*\*63, 2\*\*63 - 1\]"):
        initializer.with_seed(2**63)


@pytest.mark.parametrize("name", CATALOGUE)
def test_a_weight_is_the_first_call(name: str) -> None:
    """Before and after calls, `weight` is the first call's tensor, and does not count as a call."""
    initializer, other, shape = fresh(name), fresh(name), shape_of(name)
    for dtype in CATALOGUE[name][1]:
        initializer, other = fresh(name), fresh(name)
        expected = [other(shape, dtype).tobytes() for _ in range(3)]
        for call in range(3):
            assert initializer.weight(shape, dtype).make().tobytes() == expected[0]
            assert initializer(shape, dtype).tobytes() == expected[call]


@pytest.mark.parametrize("semantics", ["documented", "released"])
@pytest.mark.parametrize("name", CATALOGUE)
def test_the_next_weight_is_the_next_call(name: str, semantics: str) -> None:
    """`next_weight` counts as a call and has its values, wherever it stands among calls."""
    initializer, other, shape = fresh(name), fresh(name), shape_of(name)
    dtype = CATALOGUE[name][1][0]
    with fanin.config.using(call_semantics=semantics):
        expected = [other(shape, dtype).tobytes() for _ in range(5)]
        weights = [initializer.next_weight(shape, dtype), initializer.next_weight(shape, dtype)]
        called = initializer(shape, dtype)
        weights.append(initializer.next_weight(shape, dtype))
        last = initializer(shape, dtype)
    assert called.tobytes() == expected[2]
    assert last.tobytes() == expected[4]
    made_later = [weight.make().tobytes() for weight in weights]
    assert made_later == [expected[0], expected[1], expected[3]]
    row = weights[2].make(1)
    assert row.tobytes() == np.frombuffer(expected[3], row.dtype).reshape(shape)[1].tobytes()


def test_a_refused_next_weight_does_not_count() -> None:
    """What cannot be described is no call, and draws no seed."""
    initializer, other = fanin.GlorotNormal(seed=2), fanin.GlorotNormal(seed=2)
    unseeded = fanin.GlorotNormal()
    for each in (initializer, unseeded):
        with pytest.raises(ValueError, match="Expected floating point type, got int32"):
            each.next_weight((2, 3), "int32")
        with pytest.raises(TypeError, match="`shape` must be a sequence"):
            each.next_weight(3)  # pyright: ignore[reportArgumentType]
    assert not unseeded.has_seed
    assert [made(initializer) for _ in range(2)] == [made(other) for _ in range(2)]


def test_next_weights_of_an_unseeded_initializer() -> None:
    """The second one warns where values repeat, as a call does, and names the line that asks for it."""
    initializer = fanin.RandomNormal()
    first = initializer.next_weight((3, 4))
    with pytest.warns(UserWarning, match="The initializer RandomNormal is unseeded and being called mult") as caught:
        second = initializer.next_weight((3, 4))
    assert caught[0].filename == __file__
    assert first == second
    sequential = fanin.HeNormal()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert sequential.next_weight((3, 4)) != sequential.next_weight((3, 4))
        for _ in range(2):
            assert sequential.weight((3, 4)) == fanin.HeNormal(seed=sequential.settled_seed()).weight((3, 4))
            assert initializer.weight((3, 4)) == first


def test_next_weights_of_many_threads() -> None:
    """Concurrent weights of one initializer are each number of the sequence once."""
    initializer, serial = fanin.GlorotNormal(seed=4), fanin.GlorotNormal(seed=4)
    with ThreadPoolExecutor(16) as pool:
        weights = list(pool.map(lambda _: initializer.next_weight((7, 8)), range(200)))
    assert {weight.stream for weight in weights} == {serial.next_weight((7, 8)).stream for _ in range(200)}


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
from fanin.initializers import base

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
