"""fanin.tf_keras with parameter servers, which share each variable out. The cluster is in a process of its own."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest

import fanin
from strategies import CLASSES, RANDOM
from tf_keras_kit import (
    OWN,
    K,
    Shards,
    assert_all_same,
    assert_same,
    layer_with,
    of,
    shards_of_kernel,
    shards_of_layer,
    start_cluster,
    tf_keras,
    weights_of,
)

Ask = Callable[..., Shards]


@pytest.fixture(scope="module")
def ask() -> Iterator[Ask]:
    """Calls a function in a process that has joined a cluster, and returns what it returns."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context, initializer=start_cluster) as pool:
        yield lambda *arguments, **options: pool.submit(*arguments, **options).result(timeout=300)


SHAPES = {2: [(4, 5), (3, 5)], 3: [(3, 5), (2, 5), (2, 5)]}


@pytest.mark.parametrize("number", SHAPES)
@pytest.mark.parametrize("name", CLASSES)
def test_shards_are_regions_of_one_tensor(name: str, number: int, ask: Ask) -> None:
    """Each shard is made alone, and all together are the tensor without a strategy, of every class."""
    shards, matrices = ask(shards_of_kernel, number, "ours", name)
    assert [each.shape for each in shards] == SHAPES[number]
    if name != "Orthogonal":
        assert matrices == SHAPES[number]
    assert_same(np.concatenate(shards), of(fanin, name)((7, 5)))
    assert_same(np.concatenate(shards), of(K, name)((7, 5)), name)


@pytest.mark.parametrize("name", [*RANDOM, "Orthogonal"])
def test_shards_of_unseeded_initializers(name: str, ask: Ask) -> None:
    """An unseeded initializer's shards are of one tensor too, and the seed is tf_keras's."""
    shards = ask(shards_of_kernel, 3, "ours", name, None).arrays
    tf_keras.utils.set_random_seed(9)
    assert_same(np.concatenate(shards), of(K, name, None)((7, 5)), name)


@pytest.mark.parametrize("number", SHAPES)
@pytest.mark.parametrize("name", CLASSES)
def test_released_shards(name: str, number: int, ask: Ask) -> None:
    """With "released" calls each shard is a tensor of its own, as in tf_keras."""
    runs = [ask(shards_of_kernel, number, maker, name, released=True).arrays for maker in ("ours", "theirs")]
    for ours, theirs in zip(*runs, strict=True):
        assert_same(ours, theirs, name)


@pytest.mark.parametrize("name", ["he_normal", "uniform", "lecun_uniformV2", "Orthogonal", "zeros", "identity"])
def test_shards_of_names_with_the_patch(name: str, ask: Ask) -> None:
    """With the patch in force, names have the shards that they have in tf_keras."""
    runs = [ask(shards_of_kernel, 3, "name", name, patched=patched).arrays for patched in (True, False)]
    for ours, theirs in zip(*runs, strict=True):
        assert_same(ours, theirs, name)


def test_shards_of_instances_with_the_patch(ask: Ask) -> None:
    """So have instances; and no longer afterwards."""
    runs = [ask(shards_of_kernel, 2, maker, "HeNormal", patched=True).arrays for maker in ("ours", "theirs")]
    assert_all_same(*runs)
    after = ask(shards_of_kernel, 2, "ours", "HeNormal").arrays
    assert_same(np.concatenate(after), of(fanin, "HeNormal")((7, 5)))


@pytest.mark.parametrize("kind", OWN)
def test_shards_of_own_classes(kind: str, ask: Ask) -> None:
    """Classes of one's own are cut likewise, also where their call returns the whole tensor."""
    shards = ask(shards_of_kernel, 2, "own", kind).arrays
    assert_same(np.concatenate(shards), OWN[kind]()((7, 5)))


@pytest.mark.parametrize("kind", ["Embedding", "GRU", "Conv2D", "EinsumDense", "LSTM"])
def test_shards_of_layers(kind: str, ask: Ask) -> None:
    """The weights of layers, put together, are tf_keras's without a strategy.

    The bias of an LSTM asks each of three initializers for a partition of the three together.
    """
    found, theirs = ask(shards_of_layer, "ours", kind).arrays, weights_of(layer_with(K, kind), kind)
    assert len(found) == 2 * len(theirs)
    assert_all_same([np.concatenate(found[at : at + 2]) for at in range(0, len(found), 2)], theirs)


@pytest.mark.parametrize("kind", ["LSTM", "Embedding", "Conv2D"])
def test_released_shards_of_layers(kind: str, ask: Ask) -> None:
    """With "released" calls the shards of layers are tf_keras's."""
    runs = [ask(shards_of_layer, maker, kind, released=True).arrays for maker in ("ours", "theirs")]
    assert_all_same(*runs)
