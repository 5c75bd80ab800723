"""A layer's call while it is probed: what is told of it piece by piece, until it is a row of the report."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fanin._core.types import Shape
from fanin.theory.probes import ProbedLayer, ProbedParameter
from fanin.theory.signals import Signal, Values, expected_std, measure, second_moment

FanIn = Callable[[Shape, Shape], float | None]


@dataclass
class Record:
    """A call of a layer.

    Attributes:
        path: the layer's path.
        layer: its type.
        call: the number of the call.
        axis: the axis of its units.
        ends: the ends of its activation's range.
        fan_in: its fan-in, as a function of the shapes of its inputs and outputs; None if theory says nothing of it.
        array: a function that turns the framework's tensors into arrays.
        owner: what tells the layer from others, to find its parameters by.
    """

    path: str
    layer: str
    call: int = 1
    axis: int = -1
    ends: tuple[float, float] | None = None
    fan_in: FanIn | None = None
    array: Callable[[Any], Any] = np.asarray
    owner: Any = None
    output: Signal | None = field(default=None, init=False)
    gradient: Signal | None = field(default=None, init=False)
    inputs: tuple[Shape, float] | None = field(default=None, init=False)  # their shape and their second moment
    is_looped: bool = field(default=False, init=False)  # whether it stands for several calls, in a compiled loop

    def note_input(self, tensor: Any) -> None:
        """Takes the inputs, for theory."""
        values = Values.of(self.array(tensor))
        self.inputs = values.shape, second_moment(values)

    def note_output(self, tensor: Any) -> None:
        """Takes the outputs, once more and alike where they are computed again for a backward pass."""
        output = measure(Values.of(self.array(tensor), self.axis), self.ends)
        self.is_looped = self.is_looped or (self.output is not None and output != self.output)
        self.output = output

    def note_gradient(self, tensor: Any) -> None:
        """Takes the gradient with respect to the outputs."""
        self.gradient = measure(Values.of(self.array(tensor), self.axis), rank=False)

    def probed(
        self, parameters: Mapping[str, ProbedParameter], kernel: str = "kernel", *, asked: bool
    ) -> ProbedLayer | None:
        """The row of the report; None if the call told nothing, or stands for several.

        Args:
            parameters: the layer's own parameters.
            kernel: the name of its kernel.
            asked: whether gradients were asked for.
        """
        if self.output is None or self.is_looped:
            return None
        return ProbedLayer(
            self.path,
            self.layer,
            self.output,
            self.call,
            self.gradient,
            parameters,
            self._expected(parameters, kernel),
            asked,
        )

    def _expected(self, parameters: Mapping[str, ProbedParameter], kernel: str) -> float | None:
        if self.fan_in is None or self.inputs is None or self.output is None or kernel not in parameters:
            return None
        shape, moment = self.inputs
        fan_in, bias = self.fan_in(shape, self.output.shape), parameters.get("bias")
        if fan_in is None:
            return None
        of_bias = 0.0 if bias is None else bias.values.second_moment
        return expected_std(fan_in, parameters[kernel].values.second_moment, moment, of_bias)


def normal_cotangent(shape: Shape, seed: int) -> np.ndarray:
    """Independent standard normal numbers in float32, which a gradient begins with where there is no loss.

    >>> from fanin.theory.records import normal_cotangent
    >>> normal_cotangent((2, 3), seed=0).shape
    (2, 3)
    """
    from fanin.initializers import RandomNormal  # which needs more than reports do

    return RandomNormal(stddev=1.0, seed=seed).spawn("cotangent")(shape)
