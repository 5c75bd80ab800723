"""`initialize`, which fills the parameters of a module: in their own memory, or in new memory if they have none."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import nn

from fanin._core.memory import as_numpy, borrows_memory, note_write, overlaps_itself, read_only
from fanin._core.messages import visible, warn
from fanin._core.types import Globs, Unmatched
from fanin.models.names import Names, stripped
from fanin.models.registry import tensors_hint
from fanin.recipes.entry import Entry
from fanin.recipes.execution import Execution, Options, Report
from fanin.recipes.plan import Plan, PlanError
from fanin.recipes.recipe import Recipe, recipe_of
from fanin.torch.buffers import restoration
from fanin.torch.describe import Held, Scan, joined, put
from fanin.torch.refusals import check_mode
from fanin.torch.twins import note_drawn, warn_of_twins


def initialize(
    model: nn.Module,
    recipe: Recipe | str,
    *,
    seed: int | None = None,
    only: Globs | None = None,
    skip: Globs | None = None,
    names: Names = None,
    unmatched: Unmatched = "error",
    progress: bool | None = None,
    prefix: str | None = None,
    only_missing: Mapping[str, Any] | Iterable[str] | None = None,
    device: str | torch.device | None = None,
    buffers: Mapping[str, torch.Tensor] | None = None,
    remake_buffers: bool = False,
) -> Report:
    """Gives every parameter of a module the values that a recipe has for it.

    The values are a function of the recipe's seed, the parameter's name and the index: other parameters and their order
    do not matter. A module on the meta device is materialized, one parameter at a time. Tied parameters stay tied, and
    buffers without values (rotary tables, position ids) are rebuilt by the code of the modules that own them, as are
    frozen parameters that this code makes (tables of sinusoids), which stay as they are if they have values. Running
    statistics are reset.

    Args:
        model: a module, which is changed in place. Wrappers (`torch.compile`, `DataParallel`) make no difference.
        recipe: a recipe, or the name of a preset. `recipe.plan(model)` shows what each parameter gets.
        seed: a seed that replaces the recipe's.
        only, skip, names, unmatched, progress, prefix: see `fanin.recipes.Options`. Without `prefix`, a second call
            that draws the same values for another module warns; `prefix=""` says that this is intended.
        only_missing: a state dict, its keys, or the result of `load_state_dict(…, strict=False)`: parameters that were
            loaded stay as they are.
        device: the device for parameters that are on the meta device; by default the CPU.
        buffers: values for buffers, by globs of their paths.
        remake_buffers: whether to rebuild non-persistent buffers and frozen tables that have memory, too. Use it after
            `model.to_empty(device=…)`, which leaves them without their values.

    Returns:
        A report of what was filled, kept and restored, and of what has no values, which there is a warning for, too.

        If the call is interrupted, by Ctrl-C or by an exception of another signal's handler, each parameter and buffer
        has its old or its new values, but for the parameter that it was at, which the exception's note names: that may
        be partly written, unless it was on the meta device. Tied parameters are still tied, and a second call completes
        the work.

    Raises:
        fanin.recipes.PlanError: the recipe does not fit the module, a parameter cannot be written (a shard, a tensor
            class with operations of its own, read-only memory), or a buffer cannot be rebuilt. Nothing has been written
            then. (A ValueError.)
        TypeError: an argument is not a module, or not a recipe.

    >>> import fanin, fanin.torch, torch
    >>> with torch.device("meta"):
    ...     model = torch.nn.Sequential(torch.nn.Linear(784, 256), torch.nn.ReLU(), torch.nn.Linear(256, 10))
    >>> report = fanin.torch.initialize(model, "keras", seed=1)
    >>> len(report.filled), model[2].weight.device
    (4, device(type='cpu'))
    """
    recipe = recipe_of(recipe, seed)
    if not isinstance(model, nn.Module):
        raise TypeError(
            f"`model` must be a torch.nn.Module. Received: model of type {type(model).__name__}.{tensors_hint(model)}"
        )
    place = _checked_device(device)
    options = Options(only, skip, names, unmatched, progress, prefix)
    check_mode()
    scan = Scan(model)
    held = {options.placed(each.parameter.path): each for each in scan.all()}
    execution = Execution(scan.model(), recipe, options, there=_there(only_missing, held))
    _check_memory(execution.plan, held)
    everything = only is None and skip is None and only_missing is None
    made = restoration(scan, {} if buffers is None else buffers, everything=everything, remake=remake_buffers)
    if prefix is None:
        warn_of_twins(execution.plan, held)
    for each in made.restored:
        each.restore(place)
        execution.buffers[options.placed(each.path)] = each.how

    def fill(entry: Entry) -> None:
        _fill(entry, held[entry.path], place)
        execution.buffers.update(_derive(entry, held[entry.path], place, execution.plan.seed, options))

    execution.run(fill)
    for module in scan.recurrent:
        module.flatten_parameters()
    execution.empty |= {options.placed(path): reason for path, reason in made.empty.items()}
    for path, reason in execution.kept.items():
        if held[path].tensor.is_meta:
            stays = f"it is on the meta device, and stays there: {reason}"
            execution.empty |= dict.fromkeys((path, *map(options.placed, held[path].derived_paths)), stays)
    note_drawn(execution.plan, held)
    _warn_of_empty(execution.empty)
    return execution.report()


def _warn_of_empty(empty: Mapping[str, str]) -> None:
    if empty:
        (path, reason), more = next(iter(empty.items())), len(empty) - 1
        others = f", and {more} more, which the report lists as `empty`" if more else ""
        warn(f"Not every tensor of the model has values: {path} ({reason}){others}.")


def _checked_device(device: Any) -> torch.device:
    """The device, if it has memory."""
    try:
        found = torch.device("cpu" if device is None else device)
        if found.type == "meta":
            raise ValueError("the meta device has no memory")
        torch.empty(0, device=found)
    except (AssertionError, RuntimeError, TypeError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(f"`device` must be a device with memory. Received: device={device!r} ({reason}).") from None
    return found


def _there(only_missing: Any, held: Mapping[str, Held]) -> set[str]:
    """The paths of parameters that a state dict has, or that were not among its missing keys."""
    if only_missing is None:
        return set()
    if hasattr(only_missing, "missing_keys"):  # the result of load_state_dict
        missing = {stripped(key) for key in only_missing.missing_keys}
        return _wholly(held, lambda names: not missing & names)
    if isinstance(only_missing, (str, bytes)) or not isinstance(only_missing, Iterable):
        raise TypeError(
            "`only_missing` must be a state dict, its keys, or what `load_state_dict` returned. "
            f"Received: {type(only_missing).__name__}."
        )
    keys = {stripped(str(key)) for key in only_missing}
    return _wholly(held, lambda names: bool(keys & names))


def _wholly(held: Mapping[str, Held], is_loaded: Callable[[set[str]], bool]) -> set[str]:
    """The paths of parameters that were loaded, with all that their layers have in place of the weight.

    Raises:
        PlanError: only a part of that was loaded.
    """
    there = {path for path, each in held.items() if is_loaded(_wrapped(_names(each)))}
    for path, each in held.items():
        lacking = [name for name in each.derived_paths if is_loaded(_wrapped({name})) != (path in there)]
        if lacking:
            words = ("was", "were not") if path in there else ("was not", "were")
            raise PlanError(
                f"What a layer computes its weight from must be loaded as a whole, or not at all; nothing has been "
                f"written. Received: {path} {words[0]} loaded, but {', '.join(lacking)} {words[1]}. Load both, or "
                "leave both out of `only_missing`."
            )
    return there


def _names(held: Held) -> set[str]:
    return {stripped(path) for path in held.paths} | {held.parameter.path, *held.parameter.tied}


def _wrapped(names: set[str]) -> set[str]:
    return names | {f"module.{name}" for name in names}


def _check_memory(plan: Plan, held: Mapping[str, Held]) -> None:
    """Raises for parameters that cannot be written, before anything is written."""
    wrong = []
    borrowed: dict[str, Any] = {}
    for entry in plan.entries:
        tensor = held[entry.path].tensor
        if tensor.is_meta and (entry.kept or (entry.placements and not entry.covers)):
            what = "it as it is" if entry.kept else "some of its blocks"
            wrong.append(f"{entry.path}: {entry.rule} keeps {what}, but it is on the meta device and has no values.")
        if not entry.placements or tensor.is_meta or not tensor.is_cpu:
            continue
        try:
            array = as_numpy(tensor)
            if overlaps_itself(array):
                raise ValueError(
                    "Its elements must have separate memory; those of an expanded tensor do not. Clone it first."
                )
            if borrows_memory(tensor):
                borrowed[entry.path] = array
        except ValueError as error:
            wrong.append(f"{entry.path}: {error}")
    paths = list(borrowed)
    for number in read_only(list(borrowed.values())):
        wrong.append(f"{paths[number]}: Its memory is read-only, such as that of a memory-mapped file. Clone it first.")
    if not wrong:
        wrong = [text for entry in plan.entries if (text := _underived(entry, held[entry.path], plan.seed))]
    if wrong:
        lines = "".join(f"\n  {visible(each)}" for each in wrong)
        raise PlanError(f"Parameters of {visible(plan.model.name)} cannot be written; nothing has been written.{lines}")


def _underived(entry: Entry, held: Held, seed: int) -> str:
    """Why the tensors that follow from a drawn one cannot be computed from its values; "" if they can."""
    if not entry.placements or held.weight is None or not held.weight.derived:
        return ""
    try:
        held.weight.values(_drawn(entry, held.tensor), seed, entry.name)
    except ValueError as error:
        return f"{entry.path}: {error}"
    return ""


def _fill(entry: Entry, held: Held, device: torch.device) -> None:
    """Gives one parameter its values, in its own memory or, if it has none, in new memory."""
    tensor = held.tensor
    if tensor.is_meta:
        held.tensor = put(held.owners, tensor, _drawn(entry, tensor).to(device))
    elif tensor.is_cpu:
        note_write(tensor)  # before it is written: an interrupt may leave it partly so
        entry.fill(as_numpy(tensor))
    else:
        with torch.no_grad():
            tensor.copy_(_drawn(entry, tensor))


def _drawn(entry: Entry, tensor: torch.Tensor) -> torch.Tensor:
    """A new CPU tensor with the parameter's values and the strides of the given tensor, in memory of PyTorch's own.

    Blocks that a rule keeps are those of the given tensor.

    FSDP and others free and resize such memory, which they cannot do with an array's.
    """
    old = tensor.detach()
    fresh = torch.empty_like(old, device="cpu") if entry.covers else old.to("cpu", copy=True)
    entry.fill(as_numpy(fresh))
    return fresh


def _derive(entry: Entry, held: Held, device: torch.device, seed: int, options: Options) -> dict[str, str]:
    """Computes the tensors that follow from a drawn one, such as its norm, and returns how, by path."""
    weight = held.weight
    if weight is None:
        return {}
    how = {}
    for raw, value in weight.values(weight.tensor, seed, entry.name).items():
        module, leaf = weight.derived[raw]
        old = getattr(module, leaf)
        if old.is_meta:
            put([(module, leaf)], old, value.to(device))
        else:
            with torch.no_grad():
                old.copy_(value)
        how[options.placed(joined(held.layer_path, raw))] = f"{weight.description}, computed from its drawn values"
    weight.refresh()
    return how
