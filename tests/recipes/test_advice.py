"""What is said of parameters that no rule matches: norms that may add one, and kernels of no known layout."""

import numpy as np
import pytest

from fanin.recipes import Model, Parameter, PlanError, Recipe

FLOAT32 = np.dtype(np.float32)
RECIPE = Recipe([{"role": "kernel", "initializer": "he_normal"}])
OF_NORM = (
    "MyNorm is a norm that scales by one more than its weight, or that could not be run to find out. Write "
    '`layer = "MyNorm"` and `initializer = "zeros"` if it adds one, `initializer = "ones"` if it does not.'
)
OF_KERNEL = (
    'experts.up has axes of no known order. If it is a kernel, its rule can say `layout = "torch"` or '
    '`layout = "keras"`, with `stacked = 1` if its first axis is a stack of kernels.'
)


@pytest.mark.parametrize(
    ("path", "shape", "layer", "advice"),
    [
        ("h.norm.weight", (3,), "MyNorm", OF_NORM),
        ("h.norm.scale", (3,), "MyNorm", OF_NORM),
        ("h.norm.gamma", (3,), "MyNorm", OF_NORM),
        ("experts.up", (2, 3, 4), "Experts", OF_KERNEL),
        ("token", (1, 3), "Tokens", ""),
        ("h.scale", (3,), "LayerScale", ""),
        ("h.norm.alpha", (3,), "MyNorm", ""),
    ],
)
def test_advice(path: str, shape: tuple[int, ...], layer: str, advice: str) -> None:
    """In the error and below the plan, or not at all."""
    plan = RECIPE.plan(Model((Parameter(path, shape, FLOAT32, layer),), "a model"))
    with pytest.raises(PlanError) as caught:
        plan.check()
    lines = str(caught.value).splitlines()[3:-1]
    assert lines == ([f"    {advice}"] if advice else [])
    said = [line for line in plan.table().splitlines() if line.startswith("advice: ")]
    assert said == ([f"advice: {advice}"] if advice else [])
