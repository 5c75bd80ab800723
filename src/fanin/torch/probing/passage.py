"""The passage of a batch through a module, forwards and back, with what each layer saw of it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils import _pytree as pytree

from fanin._core.messages import shown
from fanin.initializers import RandomNormal
from fanin.theory.probes import ProbedLayer, ProbedParameter
from fanin.theory.signals import Signal, measure
from fanin.torch.describe import Visit
from fanin.torch.fill import fill_
from fanin.torch.probing.layers import Theory, ends_of, first_tensor, type_of, units_axis, values_of


@dataclass
class _Call:
    """A call of a layer, as it is measured."""

    module: nn.Module
    probed: ProbedLayer
    has_graph: bool
    gradient: Signal | None = None


@dataclass
class _Watched:
    """A parameter: the tensor that stands for it, whether it is trained, how many calls use it, and its gradient."""

    tensor: torch.Tensor
    is_trained: bool
    calls: int = 0
    values: Signal | None = None
    gradient: Signal | None = None


class Passage:
    """What layers do, measured by hooks while a batch passes through them. Nothing is kept but the measurements.

    Args:
        layers: the layers to watch.
        parameters: the replacements of parameters, by the ids of the parameters.
        frozen: the ids of the parameters that are not trained; their replacements have gradients all the same.
        gradients: whether there is a backward pass.
    """

    def __init__(
        self,
        layers: Iterable[Visit],
        parameters: Mapping[int, torch.Tensor],
        frozen: Collection[int],
        *,
        gradients: bool,
    ) -> None:
        self._layers = {id(visit.module): visit for visit in layers}
        self._gradients = gradients
        self._watched = {id(each): _Watched(each, key not in frozen) for key, each in parameters.items()}
        self._calls: list[_Call] = []
        self._axes: dict[Any, int] = {}
        self._theory = Theory()
        self._is_forward = True

    @contextmanager
    def hooks(self) -> Iterator[None]:
        """Has the layers measured while the context lasts."""
        handles = [visit.module.register_forward_hook(self._note, with_kwargs=True) for visit in self._layers.values()]
        if self._gradients:
            handles += [
                each.tensor.register_post_accumulate_grad_hook(self._note_parameter)
                for each in self._watched.values()
                if each.tensor.requires_grad
            ]
        try:
            yield
        finally:
            for each in handles:
                each.remove()

    def _note(self, module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        tensor = first_tensor(output)
        if tensor is None or not tensor.numel():
            return
        if not self._is_forward:
            self._note_again(module, tensor)
            return
        axis = units_axis(module, tensor, self._axes)
        self._axes[tuple(tensor.shape)] = axis
        visit = self._layers[id(module)]
        probed = ProbedLayer(
            visit.path,
            type_of(module),
            measure(values_of(tensor, axis), ends_of(module)),
            1 + sum(each.module is module for each in self._calls),
            expected=self._theory.expected(module, first_tensor([*args, kwargs]), tensor),
            asked=self._is_asked(module, tensor),
        )
        call = _Call(module, probed, tensor.requires_grad)
        self._calls.append(call)
        for each in self._own(module):
            each.calls += 1
        if tensor.requires_grad:
            tensor.register_hook(partial(self._note_gradient, call, axis))

    def _is_asked(self, module: nn.Module, output: torch.Tensor) -> bool:
        """Whether a layer should get a gradient: one that runs without a graph needs none, unless it is trained."""
        is_trained = any(each.is_trained for each in self._own(module))
        return self._gradients and (output.requires_grad or is_trained)

    def _note_again(self, module: nn.Module, tensor: torch.Tensor) -> None:
        """Takes the gradient where a checkpoint runs a part of the model again, if its first run had no graph."""
        waiting = [each for each in self._calls if each.module is module and not each.has_graph]
        if not waiting or not tensor.requires_grad:
            return
        axis = units_axis(module, tensor, self._axes)
        if len(waiting) > 1:
            signal = measure(values_of(tensor, axis), rank=False)
            same = (signal.shape, signal.mean, signal.std)
            waiting = [
                each
                for each in waiting
                if (each.probed.output.shape, each.probed.output.mean, each.probed.output.std) == same
            ] or waiting
        call = waiting[-1]  # the parts run again from the last to the first
        call.has_graph = True
        tensor.register_hook(partial(self._note_gradient, call, axis))

    @staticmethod
    def _note_gradient(call: _Call, axis: int, gradient: torch.Tensor) -> None:
        call.gradient = measure(values_of(gradient, axis), rank=False)

    def _note_parameter(self, tensor: torch.Tensor) -> None:
        if tensor.grad is None:
            return
        watched = self._watched[id(tensor)]
        watched.gradient = measure(values_of(tensor.grad, 0), rank=False)
        if watched.calls < 2:  # else further parts of it may come, from checkpoints
            tensor.grad = None

    def _own(self, module: nn.Module) -> list[_Watched]:
        return [self._watched[id(each)] for each in module._parameters.values() if id(each) in self._watched]

    def backward(self, output: Any, loss: Callable[..., Any] | None, target: Any, seed: int) -> None:
        """Sends a gradient back from the outputs of the model.

        Args:
            output: what the model returned.
            loss: a function of it, and of the target if there is one; None for a random cotangent.
            target: what the loss compares it with.
            seed: the seed of the cotangent.

        Raises:
            ValueError: no gradient can begin at the output, or the loss is not a number that depends on it.
        """
        self._is_forward = False
        roots, gradients = _begin(output, loss, target, seed)
        torch.autograd.backward(roots, gradients)

    def probed(self) -> tuple[ProbedLayer, ...]:
        """The layers, in the order of their calls."""
        return tuple(
            replace(call.probed, gradient=call.gradient, parameters=self._measured(call.module)) for call in self._calls
        )

    def unreached(self) -> list[str]:
        """The paths of layers that did not run, and whose parameters got no gradient either, though all could.

        Without a backward pass none are known: a layer's parameters may be used without a call of it.
        """
        ran = {id(call.module) for call in self._calls}
        waiting = [visit for key, visit in self._layers.items() if self._gradients and key not in ran]
        owned = {visit.path: self._own(visit.module) for visit in waiting}
        return [
            path
            for path, own in owned.items()
            if own and all(each.tensor.requires_grad and each.gradient is None for each in own)
        ]

    def _measured(self, module: nn.Module) -> dict[str, ProbedParameter]:
        found = {}
        for name, tensor in module._parameters.items():
            watched = self._watched.get(id(tensor))
            if tensor is None or watched is None or not (tensor.is_floating_point() or tensor.is_complex()):
                continue
            watched.values = watched.values or measure(values_of(tensor, 0), rank=False)
            found[name] = ProbedParameter(watched.values, watched.gradient)
        return found


def _begin(
    output: Any, loss: Callable[..., Any] | None, target: Any, seed: int
) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """The tensors that the gradient begins at, and the gradient with respect to each."""
    if loss is None:
        own = getattr(output, "loss", None)  # as models of transformers have one, if they are given labels
        outputs = [own] if isinstance(own, torch.Tensor) else _outputs(output)
        begun = [each for each in outputs if each.requires_grad]
        if not begun:
            raise ValueError(
                "A gradient must be able to begin at the model's output. Received: an output of type "
                f"{type(output).__name__} {'that has no graph' if outputs else 'without tensors of floats'}. "
                "Give a `loss`, or `gradients=False`."
            )
        if isinstance(own, torch.Tensor):
            return begun, [torch.ones_like(own)]
        return begun, [_cotangent(each, seed, number) for number, each in enumerate(begun)]
    leaves, structure = pytree.tree_flatten(output)
    roots = [each for each in leaves if isinstance(each, torch.Tensor) and each.requires_grad]
    cut = {id(each): each.detach().requires_grad_() for each in roots}
    value = _loss_of(loss, pytree.tree_unflatten([cut.get(id(each), each) for each in leaves], structure), target)
    if not roots:  # an output of a class that only its loss understands
        return [value], [torch.ones_like(value)]
    found = torch.autograd.grad(value, [cut[id(each)] for each in roots], allow_unused=True)
    begun = [(root, gradient) for root, gradient in zip(roots, found, strict=True) if gradient is not None]
    return [root for root, _ in begun], [gradient for _, gradient in begun]


def _outputs(output: Any) -> list[torch.Tensor]:
    """The outputs of a model: each tensor of a plain tuple, list or dict, or else the first one, such as the logits."""
    inner = output.values() if type(output) is dict else output if type(output) in (tuple, list) else ()
    several = [each for each in inner if isinstance(each, torch.Tensor) and first_tensor(each) is not None]
    first = first_tensor(output)
    return several or ([] if first is None else [first])


def _loss_of(loss: Callable[..., Any], output: Any, target: Any) -> torch.Tensor:
    value = loss(output) if target is None else loss(output, target)
    if not isinstance(value, torch.Tensor) or value.numel() != 1 or not value.requires_grad:
        raise ValueError(
            f"`loss` must return one number that depends on the output. Received: {shown(value)}. "
            "Return a tensor of one element, such as a mean."
        )
    return value


def _cotangent(root: torch.Tensor, seed: int, number: int) -> torch.Tensor:
    """Independent standard normal numbers in the shape of an output of this number, the same on every device."""
    name = f"cotangent {number}" if number else "cotangent"
    dtype = root.real.dtype if root.is_complex() else root.dtype
    made = torch.empty((*root.shape, 2) if root.is_complex() else root.shape, dtype=dtype, device="cpu")
    fill_(made, RandomNormal(stddev=1.0, seed=seed).spawn(name), layout="keras")
    return (torch.view_as_complex(made) if root.is_complex() else made).to(root.device)
