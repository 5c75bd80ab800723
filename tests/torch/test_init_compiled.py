"""`torch.compile`, `torch.func` and `torch.jit` around `fanin.torch.init` and `fanin.torch.patch`."""

from __future__ import annotations

import subprocess
import sys
import warnings
from typing import Any

import pytest

pytest.importorskip("torch")

import torch
from torch import nn
from torch.autograd import forward_ad
from torch.utils._python_dispatch import TorchDispatchMode

from fanin.torch import init, patch


@pytest.fixture(autouse=True)
def afresh() -> None:
    """What has been compiled before is forgotten."""
    torch._dynamo.reset()


def test_a_compiled_function_draws_as_it_does_without() -> None:
    """The call breaks the graph, nothing within it is traced, and nothing is warned of."""

    def draw(weight: torch.Tensor) -> torch.Tensor:
        return init.xavier_uniform_(weight, seed=3) + 1

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        compiled = torch.compile(draw, backend="eager")(torch.empty(4, 5))
    assert torch.equal(compiled, draw(torch.empty(4, 5)))


def test_compiled_under_the_patch() -> None:
    """PyTorch's function draws fanin's values in compiled code, too, layers included."""
    with patch():
        compiled = torch.compile(lambda weight: nn.init.normal_(weight) * 2, backend="eager")
        torch.manual_seed(1)
        drawn = compiled(torch.empty(3, 4))
        torch.manual_seed(1)
        assert torch.equal(drawn, nn.init.normal_(torch.empty(3, 4)) * 2)
        torch.manual_seed(1)
        weight = torch.compile(lambda: nn.Linear(3, 4).weight.detach(), backend="eager")()
        torch.manual_seed(1)
        assert torch.equal(weight, nn.Linear(3, 4).weight)


def test_importing_fanin_does_not_import_the_compiler() -> None:
    """It takes longer than all of fanin."""
    code = "import sys, fanin.torch; sys.exit('torch._dynamo' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


class Noise(nn.Module):
    """A module that draws as it runs."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Noise of the shape of what comes."""
        return torch.nn.init.normal_(x)


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")
def test_scripts_under_the_patch() -> None:
    """`torch.jit.script` reads the text of PyTorch's functions, which the patch does not hide."""
    with patch():
        scripted = torch.jit.script(Noise())
    torch.manual_seed(1)
    drawn = scripted(torch.zeros(2, 3))
    torch.manual_seed(1)
    assert torch.equal(drawn, torch.zeros(2, 3).normal_())


def test_transforms_are_refused_in_words_that_say_so() -> None:
    """A tensor within vmap has no memory of its own."""
    with pytest.raises(ValueError, match=r"within a transform of torch\.func, such as vmap"):
        torch.func.vmap(init.normal_, randomness="different")(torch.empty(3, 4))


def test_copies_of_layers_find_the_functions_that_they_call() -> None:
    """Layers of others call these of `torch.nn.init`, in whose place the module stands."""
    assert init._calculate_fan_in_and_fan_out(torch.empty(3, 4, 2)) == (8, 6)
    assert init._calculate_correct_fan(torch.empty(3, 4, 2), "fan_out") == 6


def functional(x: torch.Tensor) -> torch.Tensor:
    """What a function of functions makes of a draw."""
    return torch.func.functionalize(lambda y: nn.init.normal_(y.clone()) * 1)(x)


def traced(x: torch.Tensor) -> torch.Tensor:
    """What a trace draws."""
    function: Any = torch.jit.trace(lambda y: nn.init.normal_(y.clone()) * 1.0, x, check_trace=False)
    return function(x)


def with_a_tangent(x: torch.Tensor) -> torch.Tensor:
    """The derivative of a tensor after a draw, which is zero, and its values."""
    with forward_ad.dual_level():
        y = nn.init.normal_(forward_ad.make_dual(x, torch.ones_like(x)) * 1)
        values, tangent = forward_ad.unpack_dual(y)
        return torch.stack([values, torch.zeros_like(x) if tangent is None else tangent])


class Watching(TorchDispatchMode):
    """A mode that sees PyTorch's operators."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Notes the operator, and calls it."""
        self.seen.append(str(func))
        return func(*args, **(kwargs or {}))

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []


def watched(x: torch.Tensor) -> torch.Tensor:
    """A draw that a mode sees."""
    with Watching() as mode:
        nn.init.normal_(x)
    assert "aten.normal_.default" in mode.seen
    return x


@pytest.mark.parametrize("use", [functional, traced, with_a_tangent, watched])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_transforms_and_modes_under_the_patch(use: Any) -> None:
    """What looks at PyTorch's operators sees them: PyTorch's own code draws, and a warning says so."""
    torch.manual_seed(1)
    expected = use(torch.zeros(3))
    torch.manual_seed(1)
    with patch(), pytest.warns(UserWarning, match="PyTorch's own normal_"):
        drawn = use(torch.zeros(3))
    assert torch.equal(drawn, expected)
    assert drawn.any()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_transforms_refuse_direct_calls() -> None:
    """Values would be lost, or derivatives be those of other values."""
    with pytest.raises(ValueError, match="traced, made functional or has a tangent"):
        torch.func.functionalize(lambda y: init.normal_(y.clone(), seed=1) * 1)(torch.zeros(3))
    with pytest.raises(ValueError, match="traced, made functional or has a tangent"):
        torch.jit.trace(lambda y: init.normal_(y.clone(), seed=1) * 1.0, torch.zeros(3), check_trace=False)
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(torch.zeros(3), torch.ones(3))
        with pytest.raises(ValueError, match="traced, made functional or has a tangent"):
            init.normal_(dual, seed=1)
