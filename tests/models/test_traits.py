"""Traits: what layer tables say of kernels, biases, norms and einsums, and what names say by themselves."""

import math
from typing import Any

import pytest

from fanin.models.traits import (
    GRU,
    GRU_RESET_FIRST,
    KERNELS,
    LSTM,
    NO_BLOCKS,
    QKV,
    ROLES,
    STATISTICS,
    Blocks,
    Traits,
    beside,
    einsum,
    kernel,
    norm,
    role_of_name,
    torch_kernel,
)


def test_roles() -> None:
    """Kernels and statistics are among the roles, and each role has a meaning."""
    assert {*KERNELS, *STATISTICS} < {*ROLES}
    assert all(ROLES.values())
    assert STATISTICS == {"mean": 0, "variance": 1, "count": 0}


NAMES: dict[str, tuple[str, tuple[int, ...]]] = {
    "weight": ("scale", (3,)),
    "weights": ("other", (3,)),
    "kernel": ("kernel", (2, 3)),
    "embeddings": ("embedding", (2, 3)),
    "moving_variance": ("variance", (3,)),
    "w": ("other", (2, 3)),
}


@pytest.mark.parametrize("leaf", NAMES)
def test_roles_of_names(leaf: str) -> None:
    """The last component of a path says the role by itself, or nothing does."""
    role, shape = NAMES[leaf]
    assert role_of_name(leaf, shape) == role
    assert role_of_name("weight", (2, 3)) == "other"


def test_blocks() -> None:
    """Names in the order in which they are stored, and in Keras's, which is the same unless it is said."""
    assert Blocks.of("a", "b") == Blocks(("a", "b"), ("a", "b"))
    assert Blocks.of("b", "a", keras=("a", "b")) == Blocks(("b", "a"), ("a", "b"))
    assert not NO_BLOCKS
    assert not Blocks.of()
    assert LSTM
    assert sorted(GRU_RESET_FIRST.stored) == sorted(GRU_RESET_FIRST.keras)
    assert GRU_RESET_FIRST.keras == GRU.keras == GRU.stored != GRU_RESET_FIRST.stored
    assert QKV.stored == ("query", "key", "value")


NUMBERS = {"units": 6, "inputs": 4, "receptive_field": 15, "groups": 1}


def test_kernels() -> None:
    """Fans and numbers are those of the shape in Keras's order, unless others are given."""
    assert kernel((3, 5, 4, 6)) == Traits("kernel", (0, 1, 2, 3), 60, 90, numbers=NUMBERS)
    assert torch_kernel((6, 4, 3, 5)) == Traits("kernel", (2, 3, 1, 0), 60, 90, numbers=NUMBERS)
    assert torch_kernel((6, 4, 3, 5), groups=2).numbers == {**NUMBERS, "groups": 2}
    assert torch_kernel((6, 4), role="recurrent_kernel", blocks=QKV).blocks is QKV
    given = kernel((3, 5), (1, 0), role="embedding", fans=(7, 8), column_axes=2, zero_rows=(1,), units=9)
    assert (given.role, given.axes, given.fans, given.column_axes, given.zero_rows) == (
        "embedding",
        (1, 0),
        (7, 8),
        2,
        (1,),
    )
    assert given.numbers == {"units": 9, "inputs": 5, "receptive_field": 1, "groups": 1}
    vector = kernel((5,))
    assert (vector.fans, vector.numbers["inputs"], vector.numbers["units"]) == ((5, 5), 1, 5)


def test_beside_a_kernel() -> None:
    """A bias has the kernel's fans, numbers and blocks, and no layout."""
    weight = torch_kernel((6, 4), blocks=QKV)
    assert beside(weight) == Traits("bias", None, 4, 6, blocks=QKV, numbers=weight.numbers)
    assert beside(weight, "recurrent_bias", LSTM).blocks is LSTM
    assert beside(weight, blocks=NO_BLOCKS).blocks is NO_BLOCKS


def test_known_fans() -> None:
    """Both fans, or none."""
    assert Traits(fan_in=3, fan_out=4).fans == (3, 4)
    assert Traits(fan_in=3).fans is None
    assert Traits(fan_out=0.5).fans is None
    more = Traits(numbers={"units": 3}).with_numbers(units=4, heads=2)
    assert more == Traits(numbers={"units": 4, "heads": 2})


def test_norms() -> None:
    """Scales, offsets and statistics, under the names that the frameworks use; anything else is none of a norm's."""
    names = {
        "scale": "weight scale gamma",
        "offset": "bias beta",
        "mean": "mean running_mean moving_mean",
        "variance": "var variance running_var moving_variance",
        "count": "count num_batches_tracked",
    }
    for role, leaves in names.items():
        for leaf in leaves.split():
            assert norm(leaf) == Traits(role)
    assert norm("kernel") is None


# equation → (shape, fan-in, fan-out, how many axes are the columns)
EINSUMS: dict[str, tuple[tuple[int, ...], int, int, int]] = {
    "ab,bc->ac": ((4, 6), 4, 6, 1),
    "abc,cde->abde": ((4, 2, 3), 4, 6, 2),
    "abcd,cde->abe": ((2, 3, 4), 6, 4, 1),
    "...x,xyz->...yz": ((4, 2, 3), 4, 6, 2),
    " ab , bc -> ac ": ((4, 6), 4, 6, 1),
    "ab,cb->ac": ((6, 4), 4, 6, 1),
    "abc,cbd->abd": ((4, 3, 5), 4, 5, 1),
    "ab,c->abc": ((5,), 1, 5, 1),
    "ab,cd->abcd": ((3, 4), 1, 12, 2),
    "ab,cbd->acd": ((3, 4, 5), 4, 15, 1),
    "ab,bacd->acd": ((4, 2, 3, 5), 4, 15, 1),
    "ab,ac->ac": ((4, 6), 1, 6, 1),
}


@pytest.mark.parametrize("equation", EINSUMS)
def test_einsums(equation: str) -> None:
    """Axes that are summed over make the fan-in, new ones the fan-out; a matrix is one where these stand apart."""
    shape, fan_in, fan_out, column_axes = EINSUMS[equation]
    traits = einsum(equation, shape)
    assert traits is not None
    assert (traits.role, traits.axes) == ("kernel", tuple(range(len(shape))))
    assert (traits.fans, traits.column_axes) == ((fan_in, fan_out), column_axes)
    expected = {"units": fan_out, "inputs": fan_in, "receptive_field": 1, "groups": 1}
    assert traits.numbers == expected
    if math.prod(shape) == fan_in * fan_out and column_axes > 1:
        assert math.prod(shape[-column_axes:]) == fan_out


@pytest.mark.parametrize(
    ("equation", "shape"),
    [("ab,bc->ac", (4, 6, 2)), ("ab->a", (4, 6)), ("", (2,)), ("ab,bc", (2, 2)), ("a,b,c->abc", (2,))],
)
def test_no_einsums(equation: str, shape: Any) -> None:
    """An equation of another kind, or of another rank, says nothing."""
    assert einsum(equation, shape) is None
