"""From a recipe and a model's parameters to a plan: which rule counts, which tensor is drawn, with which numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from fanin import initializers
from fanin._layouts import keras_axes
from fanin._parameters import STATISTICS, NameMap, Parameter, depths
from fanin._shapes import fans as fans_of_shape
from fanin.base import Initializer
from fanin.distributions import Distribution
from fanin.plans import Draw, Entry, Found, Plan


def made(recipe: Any, found: Found, names: NameMap) -> Plan:
    """The plan of a `Recipe` for a model's parameters."""
    paths = [path for each in found.parameters for path in (each.path, *each.tied)]
    own = Counter(each.path for each in found.parameters)
    if own and own.most_common(1)[0][1] > 1:
        raise ValueError(f"Each parameter must have a path of its own. Received: {own.most_common(1)[0][0]!r} twice.")
    depth_of = depths([*paths, *found.layers])
    entries = []
    for parameter in found.parameters:
        known: dict[str, float] = {f"config.{name}": value for name, value in found.config.items()}
        known |= {"rank": len(parameter.shape), "size": parameter.size}
        if parameter.path in depth_of:
            known["depth"], known["n_layers"] = depth_of[parameter.path]
        known |= parameter.known | recipe.constants
        entries.append(_Planner(recipe, parameter, known, names).entry())
    used = {number for entry in entries for number in entry.rules}
    unused = tuple(rule.label for rule in recipe.rules if rule.number not in used)
    return Plan(tuple(entries), recipe.seed, found, unused)


class _Planner:
    """Makes the entry of one parameter."""

    def __init__(self, recipe: Any, parameter: Parameter, known: Mapping[str, float], names: NameMap) -> None:
        self.recipe, self.parameter, self.known, self.names = recipe, parameter, known, names
        self.home = parameter.path if parameter.part is None else parameter.part.path
        self.name = names.of(parameter, self.home)

    def entry(self) -> Entry:
        """The entry, whatever stands in the way."""
        parameter = self.parameter
        if parameter.problem:
            return Entry(parameter, self.name, problem=f"{parameter.path}: {parameter.problem}")
        matching = [rule for rule in self.recipe.rules if rule.matches(parameter, self.name)]
        declared = next((rule.blocks for rule in matching if rule.blocks), ())
        blocks = parameter.blocks or declared
        here: tuple[str | None, ...] = (parameter.part.block,) if parameter.part else blocks or (None,)
        chosen = {block: next((rule for rule in matching if _concerns(rule, block)), None) for block in here}
        rules = [rule for rule in dict.fromkeys(chosen.values()) if rule is not None]
        numbers = tuple(rule.number for rule in rules)
        if not rules:
            return self._start()
        label = ", ".join(rule.label for rule in rules)
        entry = Entry(parameter, self.name, label, numbers)
        missing = [str(block) for block, rule in chosen.items() if rule is None]
        try:
            if missing:
                raise ValueError(
                    f"no rule matches its {'blocks' if len(missing) > 1 else 'block'} {', '.join(missing)}"
                )
            overridden = next((rule.layout for rule in rules if rule.layout is not None), None)
            stacked = next((rule.stacked for rule in rules if rule.stacked), parameter.stacked)
            if overridden is not None:
                inner = keras_axes(overridden, max(0, len(parameter.shape) - stacked))
                axes = (*range(stacked), *(axis + stacked for axis in inner))
                # A layout says which axes are in and out; the table's fans, if any, know more.
                parameter = replace(parameter, axes=axes, stacked=stacked)
                if self.parameter.fans is None:
                    parameter = replace(parameter, fans=fans_of_shape(parameter.kernel_shape[stacked:]))
                self.parameter = parameter
            entry = replace(entry, parameter=parameter)
            if all(rule.keeps for rule in rules):
                return replace(entry, kept=True)
            draws = tuple(self._draws(chosen, blocks))
            return replace(entry, draws=(*draws, *self._padding()))
        except (TypeError, ValueError, MemoryError) as error:
            text = str(error).removesuffix(".")
            return replace(entry, problem=f"{parameter.path}, by {label}: {text}.")

    def _start(self) -> Entry:
        """What running statistics and counters get without a rule."""
        parameter = self.parameter
        if parameter.role not in STATISTICS:
            return Entry(parameter, self.name)
        initializer = initializers.Constant(STATISTICS[parameter.role])
        try:
            drawn = initializer.distribution(parameter.kernel_shape, parameter.dtype)
        except (TypeError, ValueError) as error:
            return Entry(parameter, self.name, problem=f"{parameter.path}, by its usual start: {error}")
        target = tuple((0, length) for length in parameter.kernel_shape)
        draw = Draw(self.name, initializer, drawn, target, (0,) * len(target))
        return Entry(parameter, self.name, "its usual start", (), (draw,))

    def _draws(self, chosen: Mapping[str | None, Any], blocks: Sequence[str]) -> Iterator[Draw]:
        shape = self.parameter.kernel_shape
        if None in chosen:
            yield self._draw(chosen[None], self.name, shape, 1)
            return
        part = self.parameter.part
        if part is not None:
            (rule,) = chosen.values()
            if rule.by_block:
                yield self._draw(rule, self._block_name(part.block), shape, 1, label=part.block)
                return
            count, position = len(part.blocks), part.blocks.index(part.block)
            yield self._draw(rule, self.name, shape, 1, whole=count, source=position, label=part.block)
            return
        if not shape or shape[-1] % len(blocks):
            raise ValueError(f"the last axis of {shape} cannot be cut into the blocks {', '.join(blocks)}")
        keras_blocks = self.parameter.keras_blocks or blocks
        rules = set(chosen.values())
        if len(rules) == 1 and not next(iter(rules)).by_block and tuple(blocks) == tuple(keras_blocks):
            yield self._draw(rules.pop(), self.name, shape, 1)
            return
        length = shape[-1] // len(blocks)
        for position, block in enumerate(blocks):
            rule = chosen[block]
            if rule.keeps:
                continue
            target = (*shape[:-1], length)
            if rule.by_block:
                name = self._block_name(block)
                yield self._draw(rule, name, target, len(blocks), offset=position * length, label=block)
            else:
                source = keras_blocks.index(block)
                yield self._draw(
                    rule,
                    self.name,
                    target,
                    len(blocks),
                    offset=position * length,
                    whole=len(blocks),
                    source=source,
                    label=block,
                )

    def _block_name(self, block: str) -> str:
        return self.names.mapped(f"{self.home}[{block}]") or f"{self.name}[{block}]"

    def _draw(
        self,
        rule: Any,
        name: str,
        shape: tuple[int, ...],
        cut: int,
        *,
        offset: int = 0,
        whole: int = 1,
        source: int = 0,
        label: str = "",
    ) -> Draw:
        """A draw for a target of this shape: one of `cut` blocks of the parameter, from a tensor of `whole` of them."""
        fans = self.parameter.fans
        fan_in, fan_out = (self.parameter.known.get(key) for key in ("fan_in", "fan_out"))
        if fans is not None:
            fan_in, fan_out = fans[0], fans[1] * whole // cut
        known = dict(self.known)
        known |= {} if fan_in is None else {"fan_in": fan_in}
        known |= {} if fan_out is None else {"fan_out": fan_out}
        own_in, own_out = rule.fans(known)
        fan_in, fan_out = fan_in if own_in is None else own_in, fan_out if own_out is None else own_out
        known |= {} if fan_in is None else {"fan_in": fan_in}
        known |= {} if fan_out is None else {"fan_out": fan_out}
        initializer = rule.make(known, self.recipe.seed).spawn(name)
        drawn_shape = (*shape[:-1], shape[-1] * whole) if whole > 1 else shape
        matrix = self.parameter.matrix_shape
        if isinstance(initializer, (initializers.Orthogonal, initializers.Identity)):
            if self.parameter.stacked:
                raise ValueError(
                    f"{type(initializer).__name__} makes one matrix, and this is a stack of kernels of several layers"
                )
            drawn_shape = drawn_shape if matrix is None else matrix
        drawn = self._distribution(rule, initializer, drawn_shape, fan_in, fan_out)
        starts = [0] * len(shape)
        target = [(0, length) for length in shape]
        if shape:
            target[-1] = offset, offset + shape[-1]
            starts[-1] = source * shape[-1]
        return Draw(name, initializer, drawn, tuple(target), tuple(starts), label)

    def _distribution(
        self, rule: Any, initializer: Initializer, shape: tuple[int, ...], fan_in: Any, fan_out: Any
    ) -> Distribution:
        dtype = self.parameter.dtype
        if not isinstance(initializer, initializers.VarianceScaling):
            drawn = initializer.distribution(shape, dtype)
            return drawn if fan_in is None or fan_out is None else drawn.with_fans(fan_in, fan_out)
        needed = {"fan_in": fan_in, "fan_out": fan_out}
        lacking = [key for key, value in needed.items() if value is None and initializer.mode in (key, "fan_avg")]
        if lacking:
            layer = self.parameter.layer
            owner = f"a layer of type {layer}" if layer else "no known layer"
            raise ValueError(
                f"{type(initializer).__name__} needs the fans of a parameter of {owner}, which nobody knows. Write "
                f"{' and '.join(f'`{key} = …`' for key in lacking)} into {rule.label}, or, if it is a kernel, "
                '`layout = "torch"` or `layout = "keras"`, with `stacked = 1` if its first axis is a stack of kernels'
            )
        both = (1 if each is None else each for each in (fan_in, fan_out))
        return initializer.distribution_of_fans(shape, dtype, *both)

    def _padding(self) -> Iterator[Draw]:
        shape = self.parameter.kernel_shape
        for row in self.parameter.zero_rows:
            zeros = initializers.Zeros()
            drawn = zeros.distribution((1, *shape[1:]), self.parameter.dtype)
            target = ((row, row + 1), *((0, length) for length in shape[1:]))
            yield Draw(self.name, zeros, drawn, target, (0,) * len(shape), "padding")


def _concerns(rule: Any, block: str | None) -> bool:
    """Whether a rule that matches a parameter is about this block of it, or about the parameter that has none."""
    if not rule.by_block:
        return True
    return block is not None and rule.matches_block(block)
