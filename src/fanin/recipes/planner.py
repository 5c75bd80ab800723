"""The planner, from a recipe and a model to a plan: which rule applies to each parameter, and which weight it draws."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

from fanin import initializers
from fanin._core import dtypes
from fanin._core.environment import undisturbed
from fanin._core.layouts import keras_axes
from fanin._core.messages import shown
from fanin._core.shapes import fans as fans_of_shape
from fanin._core.streams import Stream
from fanin._core.types import DType, Shape
from fanin.distributions import Distribution, Matrix
from fanin.distributions.weight import Weight
from fanin.initializers import Initializer, SeededInitializer
from fanin.models.names import NameMap, depths
from fanin.models.parameters import Model, Parameter, Written
from fanin.models.traits import STATISTICS, Traits
from fanin.recipes.advice import lacking_fans
from fanin.recipes.entry import Entry, Fans, Placement
from fanin.recipes.plan import Plan
from fanin.recipes.rules import AS_WRITTEN, Rule
from fanin.recipes.stacks import LAYER, joined, layer_of, places, restricted, stack_axes, stack_lengths

_USUAL = "its default initial value"  # of statistics and adapters
_MATRICES = (initializers.Orthogonal, initializers.Identity)
# Those of values that are given, which each dtype rounds by itself; all others are drawn or computed.
_GIVEN = (initializers.Constant, initializers.Ones, initializers.Table, initializers.Zeros)


@undisturbed
def plan(model: Model, rules: Sequence[Rule], constants: Mapping[str, float], seed: int, names: NameMap) -> Plan:
    """The plan of a recipe's rules, constants and seed for a model's parameters."""
    counts = Counter(each.path for each in model.parameters)
    if counts and counts.most_common(1)[0][1] > 1:
        raise ValueError(
            f"Each parameter must have its own path. Received: {shown(counts.most_common(1)[0][0])} twice."
        )
    recipe = _Recipe(rules, seed, names, model.written)
    if model.complete:
        recipe.check_names(model.parameters)
    entries = [
        _Planner(recipe, parameter, {**numbers, **constants}).entry_of_any()
        for parameter, numbers in zip(model.parameters, numbers_of(model), strict=True)
    ]
    used = {number for entry in entries for number in entry.rules}
    unused = [rule for number, rule in enumerate(rules) if number not in used]
    unmet = tuple(rule.label for rule in unused if rule.names_its_parameters and rule.sets_scale and not rule.optional)
    return Plan(tuple(entries), seed, model, tuple(rule.label for rule in unused), unmet)


def numbers_of(model: Model) -> Iterator[dict[str, float]]:
    """The numbers that expressions can use for each parameter of a model, besides fans and a recipe's constants."""
    paths = [path for each in model.parameters for path in (each.path, *each.tied)]
    depth_of = depths([*paths, *model.layers])
    configs: dict[tuple[str, ...], dict[str, float]] = {}
    for parameter in model.parameters:
        parts = model.parts_of(parameter.path)
        if parts not in configs:
            configs[parts] = {f"config.{key}": value for part in parts for key, value in model.configs[part].items()}
        numbers = {**configs[parts], "rank": len(parameter.shape), "size": parameter.size}
        if parameter.path in depth_of:
            numbers["depth"], numbers["n_layers"] = depth_of[parameter.path]
        yield {**numbers, **parameter.traits.numbers}


def entries_of(seed: int, names: NameMap) -> Callable[[Parameter, tuple[Rule, ...]], Entry]:
    """A function that makes the entry of a parameter from its own rules, whatever other rules and parameters there are.

    Args:
        seed: the seed that those of parameters are spawned from.
        names: the names that are drawn under.
    """
    recipes: dict[tuple[Rule, ...], _Recipe] = {}

    def entry(parameter: Parameter, rules: tuple[Rule, ...]) -> Entry:
        if rules not in recipes:
            recipes[rules] = _Recipe(rules, seed, names, None)
        numbers = {"rank": len(parameter.shape), "size": parameter.size, **parameter.traits.numbers}
        return _Planner(recipes[rules], parameter, numbers).entry_of_any()

    return entry


class _Recipe:
    """What is common to all parameters of a plan.

    Attributes:
        rules: the recipe's rules.
        seed: the recipe's seed.
        names: the names that are drawn under.
        written: what the model's own code makes; None if that is not known.
        has_blocks: whether some rules are about blocks, so that others can apply to the same parameter.
    """

    def __init__(self, rules: Sequence[Rule], seed: int, names: NameMap, written: Written | None = None) -> None:
        self.rules, self.seed, self.names, self.written = rules, seed, names, written
        self.has_blocks = any(rule.by_block for rule in rules)
        self._made: dict[Any, tuple[Initializer, Distribution, Fans]] = {}  # those of equal parameters, once

    def matching(self, parameter: Parameter, name: str) -> list[int]:
        """The numbers of the rules that match a parameter, up to one that leaves nothing to those after it."""
        matching = (number for number, rule in enumerate(self.rules) if rule.matches(parameter, name))
        return list(matching if self.has_blocks else islice(matching, 1))

    def check_names(self, parameters: Sequence[Parameter]) -> None:
        """Raises an exception if a key of the names matches no parameter, and no block of one."""
        declared = tuple(block for rule in self.rules for block in rule.blocks)

        def blocks() -> Iterator[str]:
            for each in parameters:
                part, stored = each.traits.part, each.traits.blocks.stored
                for block in (part.block,) if part else stored or declared:
                    yield f"{_home(each)}[{block}]"

        self.names.check(map(_home, parameters), blocks)

    def made(
        self, rule: Rule, parameter: Parameter, numbers: Mapping[str, float], shape: Shape, fans: Fans
    ) -> tuple[Initializer, Distribution, Fans]:
        """The initializer of a rule with the recipe's seed, its distribution for a tensor, and the fans that count.

        Args:
            rule: the rule.
            parameter: the parameter that the tensor is, or is a part of.
            numbers: the values of the variables besides the fans.
            shape: the shape of the tensor, in Keras's axis order.
            fans: the fans that follow from the layer, as far as they are known.
        """
        traits, of_fans = parameter.traits, _known(fans)
        values = tuple(of_fans.get(name, numbers.get(name)) for name in rule.variables)
        of_traits = traits.role, traits.column_axes, traits.stacked
        key = id(rule), shape, parameter.dtype, fans, values, of_traits
        if key not in self._made:
            own = rule.fans({**numbers, **of_fans})
            fans = fans[0] if own[0] is None else own[0], fans[1] if own[1] is None else own[1]
            initializer = _of_stack(rule.initializer({**numbers, **_known(fans)}, self.seed), traits)
            self._made[key] = initializer, _distribution(rule, initializer, parameter, shape, fans), fans
        return self._made[key]


class _Planner:
    """Makes the entry of one parameter."""

    def __init__(
        self, recipe: _Recipe, parameter: Parameter, numbers: Mapping[str, float], layer: int | None = None
    ) -> None:
        """Plans a parameter, or one layer of a stack.

        Args:
            recipe: what is common to all parameters.
            parameter: the parameter, or the layer.
            numbers: the numbers that expressions can use.
            layer: the number of the layer in the stack.
        """
        self.recipe, self.rules, self.names = recipe, recipe.rules, recipe.names
        self.parameter, self.numbers, self.layer = parameter, numbers, layer
        self.home = _home(parameter)
        self.name = self._numbered(self.names.of(parameter, self.home))

    def _numbered(self, name: str) -> str:
        """A name, with the number of the layer in it."""
        return name if self.layer is None else name.replace(LAYER, str(self.layer))

    def entry_of_any(self) -> Entry:
        """The entry of a parameter, or of a stack whose layers have names of their own."""
        if LAYER not in self.name or self.parameter.problem:
            return self.entry()
        parameter = self.parameter
        try:
            count = math.prod(parameter.shape[axis] for axis in stack_axes(parameter))
            layer = layer_of(parameter)
            numbers = [
                {**_numbers_of_layer(self.numbers, number, count), "rank": len(layer.shape), "size": layer.size}
                for number in range(count)
            ]
            entries = [_Planner(self.recipe, layer, each, number).entry() for number, each in enumerate(numbers)]
            return joined(parameter, self.name, entries)
        except ValueError as error:
            return Entry(parameter, self.name, problem=f"{parameter.path}: {error}.")

    def entry(self) -> Entry:
        """The entry of the parameter, with a problem if it cannot be drawn."""
        parameter, traits = self.parameter, self.parameter.traits
        if parameter.problem:
            return Entry(parameter, self.name, problem=f"{parameter.path}: {parameter.problem}")
        matching = self.recipe.matching(parameter, self.name)
        declared = next((self.rules[number].blocks for number in matching if self.rules[number].blocks), ())
        blocks = traits.blocks.stored or declared
        here: tuple[str | None, ...] = (traits.part.block,) if traits.part else blocks or (None,)
        first = {
            block: next((number for number in matching if _concerns(self.rules[number], block)), None) for block in here
        }
        numbers = tuple(number for number in dict.fromkeys(first.values()) if number is not None)
        rules = [self.rules[number] for number in numbers]
        if not rules:
            return self._usual_start()
        label = ", ".join(rule.label for rule in rules)
        try:
            missing = [str(block) for block, number in first.items() if number is None]
            if missing:
                raise ValueError(
                    f"no rule matches its {'blocks' if len(missing) > 1 else 'block'} {', '.join(missing)}"
                )
            chosen = {block: self.rules[number] for block, number in first.items() if number is not None}
            self.parameter = self._with_layout(rules)
            if all(rule.keeps for rule in rules):
                return Entry(self.parameter, self.name, label, numbers, kept=True)
            if any(rule.as_written for rule in rules):
                return Entry(self.parameter, self.name, label, numbers, self._written(rules))
            placements = (*self._placements(chosen, blocks), *self._padding(rules))
            return Entry(self.parameter, self.name, label, numbers, placements)
        except (TypeError, ValueError, MemoryError) as error:
            text = str(error).removesuffix(".")
            problem = f"{parameter.path}, in {label}: {text}."
            return Entry(self.parameter, self.name, label, numbers, problem=problem)

    def _with_layout(self, rules: Sequence[Rule]) -> Parameter:
        """The parameter, with the layout that a rule sets, if one does."""
        parameter, traits = self.parameter, self.parameter.traits
        layout = next((rule.layout for rule in rules if rule.layout is not None), None)
        if layout is None:
            return parameter
        stacked = next((rule.stacked for rule in rules if rule.stacked), traits.stacked)
        inner = keras_axes(layout, max(0, len(parameter.shape) - stacked))
        axes = (*range(stacked), *(axis + stacked for axis in inner))
        parameter = replace(parameter, traits=replace(traits, axes=axes, stacked=stacked))
        # The layout's fans follow from its axes; the layer table's fans, if any, are more accurate.
        fan_in, fan_out = fans_of_shape(parameter.kernel_shape[stacked:])
        return replace(
            parameter,
            traits=replace(
                parameter.traits,
                fan_in=fan_in if traits.fan_in is None else traits.fan_in,
                fan_out=fan_out if traits.fan_out is None else traits.fan_out,
            ),
        )

    def _usual_start(self) -> Entry:
        """The entry without a rule: running statistics, counters and adapters get their usual start."""
        parameter = self.parameter
        if not parameter.has_usual_start:
            return Entry(parameter, self.name)
        if parameter.traits.start is not None:
            rule = Rule(role=parameter.role, **parameter.traits.start)
            placement = self._placement(rule, self.name, parameter.kernel_shape, self.numbers)
            return Entry(parameter, self.name, _USUAL, (), (placement,))
        initializer = initializers.Constant(STATISTICS[parameter.role])
        try:
            weight = initializer.weight(parameter.kernel_shape, parameter.dtype)
        except (TypeError, ValueError) as error:
            return Entry(parameter, self.name, problem=f"{parameter.path}, by its default initial value: {error}")
        target = tuple((0, length) for length in parameter.kernel_shape)
        placement = Placement(self.name, initializer, weight, target, (0,) * len(target))
        return Entry(parameter, self.name, _USUAL, (), (placement,))

    def _placements(self, chosen: Mapping[str | None, Rule], blocks: tuple[str, ...]) -> Iterator[Placement]:
        shape, traits = self.parameter.kernel_shape, self.parameter.traits
        if None in chosen:
            yield from self._by_layer(chosen[None], self.name, shape)
            return
        part = traits.part
        if part is not None:
            (rule,) = chosen.values()
            if rule.by_block:
                yield from self._by_layer(rule, self._block_name(part.block), shape, label=part.block)
                return
            count, position = len(part.blocks), part.blocks.index(part.block)
            yield from self._by_layer(rule, self.name, shape, whole=count, source=position, label=part.block)
            return
        if not shape or shape[-1] % len(blocks):
            raise ValueError(f"the last axis of {shape} cannot be split into the blocks {', '.join(blocks)}")
        keras_blocks = traits.blocks.keras or blocks
        rules = list({id(rule): rule for rule in chosen.values()}.values())
        if len(rules) == 1 and not rules[0].by_block and blocks == keras_blocks:
            yield from self._by_layer(rules[0], self.name, shape)
            return
        count, length = len(blocks), shape[-1] // len(blocks)
        for position, block in enumerate(blocks):
            rule = chosen[block]
            if rule.keeps:
                continue
            target, offset = (*shape[:-1], length), position * length
            if rule.by_block:
                yield from self._by_layer(rule, self._block_name(block), target, cut=count, offset=offset, label=block)
            else:
                source = keras_blocks.index(block)
                yield from self._by_layer(
                    rule, self.name, target, cut=count, offset=offset, whole=count, source=source, label=block
                )

    def _block_name(self, block: str) -> str:
        mapped = self.names.mapped(f"{self.home}[{block}]")
        return f"{self.name}[{block}]" if mapped is None else self._numbered(mapped)

    def _by_layer(self, rule: Rule, name: str, shape: Shape, **blocks: Any) -> Iterator[Placement]:
        """The placement of a rule, or one for each layer of a stack that it draws differently."""
        lengths = stack_lengths(self.parameter)
        count = math.prod(lengths)
        if not lengths or not count:
            yield self._placement(rule, name, shape, self.numbers, **blocks)
            return
        layers = [
            self._placement(rule, name, shape, _numbers_of_layer(self.numbers, number, count), **blocks)
            for number in range(count)
        ]
        if all(_draws(each) == _draws(layers[0]) for each in layers):
            yield layers[0]
        else:
            yield from (restricted(each, place) for each, place in zip(layers, places(lengths), strict=True))

    def _placement(
        self,
        rule: Rule,
        name: str,
        shape: Shape,
        numbers: Mapping[str, float],
        *,
        cut: int = 1,
        offset: int = 0,
        whole: int = 1,
        source: int = 0,
        label: str = "",
    ) -> Placement:
        """The placement of a rule for a target of this shape.

        Args:
            rule: the rule.
            name: the name that the seed is spawned from.
            shape: the shape of the target: one of `cut` blocks of the parameter.
            numbers: the numbers that expressions can use.
            cut: the number of blocks in the parameter.
            offset: where the target begins in the parameter, along the last axis.
            whole: the number of such blocks in the tensor that is drawn.
            source: the position of the target among these.
            label: the name of the block.
        """
        fan_in, fan_out = self.parameter.traits.fan_in, self.parameter.traits.fan_out
        fans = fan_in, None if fan_out is None else fan_out * whole // cut
        drawn_shape = (*shape[:-1], shape[-1] * whole) if whole > 1 else shape
        prototype, distribution, fans = self.recipe.made(rule, self.parameter, numbers, drawn_shape, fans)
        initializer, stream = prototype, Stream(0)
        if isinstance(prototype, SeededInitializer):
            initializer = prototype.spawn(name)
            stream = Stream(initializer.settled_seed())
        starts = [0] * len(shape)
        target = [(0, length) for length in shape]
        if shape:
            target[-1] = offset, offset + shape[-1]
            starts[-1] = source * shape[-1]
        weight = Weight(distribution, stream, self.parameter.dtype)
        return Placement(name, initializer, weight, tuple(target), tuple(starts), label, fans)

    def _written(self, rules: Sequence[Rule]) -> tuple[Placement, ...]:
        """The placements that the model's own code makes.

        Raises:
            ValueError: there is no such code here, or it does not say what it makes; the message says why.
        """
        if len(rules) > 1:
            raise ValueError(f"{AS_WRITTEN} makes a whole parameter, but another rule is about a block of it")
        if self.recipe.written is None or self.layer is not None:
            raise ValueError(
                f"{AS_WRITTEN} asks the model's own code, which only models of PyTorch and built ones of Keras can be "
                "asked. Give the parameter an initializer by a rule in front"
            )
        return self.recipe.written(self.parameter, self.name, self.recipe.seed)

    def _padding(self, rules: Sequence[Rule]) -> Iterator[Placement]:
        shape = self.parameter.kernel_shape
        given = next((rule.zero_rows for rule in rules if rule.zero_rows is not None), None)
        if given and (not shape or max(given) >= shape[0]):
            has = f"has {shape[0]} rows" if shape else "has no rows"
            raise ValueError(f"`zero_rows` must be rows of the parameter, which {has}. Received: {list(given)}")
        for row in self.parameter.traits.zero_rows if given is None else given:
            zeros = initializers.Zeros()
            weight = zeros.weight((1, *shape[1:]), self.parameter.dtype)
            target = ((row, row + 1), *((0, length) for length in shape[1:]))
            yield Placement(self.name, zeros, weight, target, (0,) * len(shape), "padding")


def _home(parameter: Parameter) -> str:
    """The path that a parameter is named by: its own, or that of the fused tensor that it is a block of."""
    part = parameter.traits.part
    return parameter.path if part is None else part.path


def _known(fans: Fans) -> dict[str, float]:
    return {key: value for key, value in zip(("fan_in", "fan_out"), fans, strict=True) if value is not None}


def _of_stack(initializer: Initializer, traits: Traits) -> Initializer:
    """The initializer with a matrix for each layer of a stack, if it makes matrices and says nothing of batches."""
    if not traits.stacked or not isinstance(initializer, _MATRICES) or initializer.batch_axis != ():
        return initializer
    return type(initializer).from_config({**initializer.get_config(), "batch_axis": [*range(traits.stacked)]})


def _distribution(rule: Rule, initializer: Initializer, parameter: Parameter, shape: Shape, fans: Fans) -> Distribution:
    dtype, traits, (fan_in, fan_out) = _drawn_dtype(parameter.dtype, initializer), parameter.traits, fans
    if isinstance(initializer, initializers.VarianceScaling):
        needed = {"fan_in": fan_in, "fan_out": fan_out}
        of_mode = [initializer.mode] if initializer.mode in needed else [*needed]
        lacking = [key for key in of_mode if needed[key] is None]
        if lacking and not initializer.has_own_axes:
            raise ValueError(lacking_fans(type(initializer).__name__, rule.label, parameter.layer, lacking))
        return initializer.distribution_of_fans(
            shape, dtype, 1 if fan_in is None else fan_in, 1 if fan_out is None else fan_out
        )
    _check_structure(initializer, parameter)
    distribution = initializer.distribution(_matrix_shape(shape, initializer, traits), dtype)
    if isinstance(distribution, Matrix) and traits.column_axes > 1:
        distribution = distribution.reshaped(shape, traits.column_axes)
    if fan_in is None or fan_out is None or distribution.own_fans is not None:  # those of a batch's matrices
        return distribution
    return distribution.with_fans(fan_in, fan_out)


def _check_structure(initializer: Initializer, parameter: Parameter) -> None:
    """Raises if an initializer of matrices or kernels would take an axis of this parameter for another one."""
    name, traits = type(initializer).__name__, parameter.traits
    if isinstance(initializer, _MATRICES) and traits.stacked and traits.column_axes > 1:
        raise ValueError(
            f"{name} makes matrices of the last axis, but this parameter stacks kernels whose outputs are "
            f"{traits.column_axes} axes"
        )
    if not initializer.is_kernel:
        return
    if traits.stacked:
        raise ValueError(f"{name} makes a single kernel, but this parameter stacks the kernels of several layers")
    if traits.axes is None and len(parameter.shape) > 1:
        raise ValueError(f"{name} needs the order of the axes, which is unknown here. Give the rule a `layout`")


def _numbers_of_layer(numbers: Mapping[str, float], layer: int, count: int) -> dict[str, float]:
    """The numbers of one layer of a stack. If the stack is itself within a list of blocks, that list counts."""
    return {"depth": layer, "n_layers": count, **numbers}


def _draws(placement: Placement) -> tuple[Any, ...]:
    """What a placement draws, whatever its place."""
    fans = getattr(placement.weight.distribution, "fans", None)
    return type(placement.initializer), placement.initializer.get_config(), placement.weight.distribution, fans


def _drawn_dtype(dtype: DType, initializer: Initializer) -> DType:
    """The dtype to draw values in: float32 for narrower floats, which are rounded once when they are stored."""
    narrow = dtypes.kind(dtype) == "float" and dtype.itemsize < 4
    if not narrow or isinstance(initializer, _GIVEN):
        return dtype
    if not dtypes.is_signed(dtype):
        raise ValueError(f"values need a dtype that has zero and negative numbers. Received: dtype={dtype.name}")
    return dtypes.FLOAT32


def _matrix_shape(shape: Shape, initializer: Initializer, traits: Traits) -> Shape:
    """The shape to give an initializer: that of the matrix, if several axes are its columns."""
    if not isinstance(initializer, _MATRICES) or traits.column_axes == 1:
        return shape
    if isinstance(initializer, initializers.Identity) and traits.role == "depthwise_kernel":
        return shape  # Identity raises for it: the rows are a window
    cut = len(shape) - traits.column_axes
    return math.prod(shape[:cut]), math.prod(shape[cut:])


def _concerns(rule: Rule, block: str | None) -> bool:
    """Whether a rule that matches a parameter applies to this block of it, or to the whole parameter for None."""
    if not rule.by_block:
        return True
    return block is not None and rule.matches_block(block)
