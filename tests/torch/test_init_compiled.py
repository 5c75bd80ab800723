"""`torch.compile`, `torch.func` and `torch.jit` around `fanin.torch.init` and `fanin.torch.patch`."""

from __future__ import annotations

import subprocess
import sys
import warnings

import pytest

torch: Any = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from fanin.torch import init, patch  # noqa: E402


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
