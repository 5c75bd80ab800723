"""`initialize`, which fills the parameters of a module: in their own memory, or in new memory if they have none."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import torch
from torch import nn

from fanin._core.memory import as_numpy, borrows_memory, note_write, overlaps_itself, read_only
from fanin._core.messages import class_name, visible, warn
from fanin._core.streams import checked_seed
from fanin._core.types import Globs, Unmatched
from fanin.models.names import Names, stripped
from fanin.models.registry import tensors_hint
from fanin.recipes.entry import Entry
from fanin.recipes.execution import Execution, Options, Report
from fanin.recipes.plan import Plan, PlanError
from fanin.recipes.recipe import Recipe, recipe_of
from fanin.torch.buffers import restoration
from fanin.torch.describe import Held, Scan, joined, put
from fanin.torch.recording.described import own_code
from fanin.torch.recording.recorded import Alias, Recorded, SeededRecording
from fanin.torch.refusals import check_mode
from fanin.torch.reparametrized import refresh
from fanin.torch.shards import (
    GivenShards,
    Shard,
    Shards,
    fill_shard,
    is_dtensor,
    is_fsdp,
    materialize,
    mesh_device,
    reset_fsdp,
)
from fanin.torch.twins import note_drawn, warn_of_twins

_CPU = torch.device("cpu")


def initialize(
    model: nn.Module,
    recipe: Recipe | Recorded | str | None = None,
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
    shards: Shards | None = None,
) -> Report:
    """Gives every parameter of a module the values that a recipe, or a recording of its own code, has for it.

    The values are a function of the seed, the parameter's name and the index: other parameters and their order do not
    matter. A module on the meta device is materialized, one parameter at a time. Tied parameters stay tied, and buffers
    without values (rotary tables, position ids) are rebuilt by the code of the modules that own them, as are frozen
    parameters that this code makes (tables of sinusoids), which stay as they are if they have values. Running
    statistics are reset. A recording has the values of all buffers, which are restored with it.

    Of sharded parameters (DTensors, as `fully_shard` and `parallelize_module` make them), each process makes what it
    holds, without communication; the values are those of the unsharded model. Sharded parameters on the meta device get
    memory on the device of their mesh, and stay the same objects, with their placements.

    Args:
        model: a module, which is changed in place. Wrappers (`torch.compile`, `DataParallel`) make no difference.
        recipe: a recipe, or the name of a preset; or what `fanin.torch.recording()` read, for the distributions that
            the module's own code draws from; or None, to read that now: from the recording that the module was made in,
            or from its code, called again on the meta device. `recipe.plan(model)` shows what each parameter gets.
        seed: a seed that replaces the recipe's; without a recipe, 0 by default.
        only, skip, names, unmatched, progress, prefix: see `fanin.recipes.Options`. Without `prefix`, a second call
            that draws the same values for another module warns; `prefix=""` says that this is intended.
        only_missing: a state dict, its keys, or the result of `load_state_dict(…, strict=False)`: parameters that were
            loaded stay as they are.
        device: the device for parameters that are on the meta device; by default the CPU.
        buffers: values for buffers, by globs of their paths.
        remake_buffers: whether to rebuild non-persistent buffers and frozen tables that have memory, too. Use it after
            `model.to_empty(device=…)`, which leaves them without their values.
        shards: what this process holds of parameters that are sharded in another way: a function of a path and a
            parameter that returns a `Shard`, or None for a whole one; or a mapping of globs of paths to a `Shard` or a
            function of a parameter.

    Returns:
        A report of what was filled, kept and restored, and of what has no values, which there is a warning for, too.

        If the call is interrupted, by Ctrl-C or by an exception of another signal's handler, each parameter and buffer
        has its old or its new values, but for the parameter that it was at, which the exception's note names: that may
        be partly written, unless it was on the meta device. Tied parameters are still tied, and a second call completes
        the work.

    Raises:
        fanin.recipes.PlanError: the recipe does not fit the module, a parameter cannot be written (a partial sum, a
            shard of unknown place, a tensor class with operations of its own, read-only memory), a buffer cannot be
            rebuilt, or no code of the module initializes a parameter. Nothing has been written then. (A ValueError.)
        RecordingError: without a recipe, the module's code does not tell what each parameter gets. (A RuntimeError.)
        TypeError: an argument is not a module, or not a recipe.

    >>> import fanin, fanin.torch, torch
    >>> with torch.device("meta"):
    ...     model = torch.nn.Sequential(torch.nn.Linear(784, 256), torch.nn.ReLU(), torch.nn.Linear(256, 10))
    >>> report = fanin.torch.initialize(model, "keras", seed=1)
    >>> len(report.filled), model[2].weight.device
    (4, device(type='cpu'))
    """
    if not isinstance(model, nn.Module):
        received = f"model of type {type(model).__name__}.{tensors_hint(model)}"
        if isinstance(model, type) and issubclass(model, nn.Module):
            received = f"the class {class_name(model)}. Pass an instance of it."
        raise TypeError(f"`model` must be a torch.nn.Module. Received: {received}")
    check_mode()
    rules, recorded = _rules_and_recording(model, recipe, seed)
    place = None if device is None else _checked_device(device)
    options = Options(only, skip, names, unmatched, progress, prefix)
    _reshard(model)
    shard_of = GivenShards(shards)
    scan = Scan(model, lambda path, tensor: shard_of(options.placed(path), tensor), as_stored=recorded is not None)
    held = {options.placed(each.parameter.path): each for each in scan.all()}
    shard_of.check_used(held)
    described, own = scan.model(), None
    if recorded is not None:
        own = SeededRecording(recorded, scan, rules.seed if rules else checked_seed(seed) or 0, options.placed)
        described = own.with_own_code(described, names=names)
    planning = rules or own
    assert planning is not None
    execution = Execution(described, planning, options, there=_there(only_missing, held))
    _check_memory(execution.plan, held, place)
    everything = only is None and skip is None and only_missing is None
    _warn_of_kept(execution)
    aliases = [] if own is None else own.aliases()
    given = {} if buffers is None else buffers
    known = {} if own is None else own.buffers()
    made = restoration(scan, given, known, everything=everything, remake=remake_buffers)
    if prefix is None:
        warn_of_twins(execution.plan, held)
    for each in made.restored:
        each.restore(_CPU if place is None else place)
        execution.buffers[options.placed(each.path)] = each.how

    def fill(entry: Entry) -> None:
        _fill(entry, held[entry.path], place)
        execution.buffers.update(_derive(entry, held[entry.path], place, execution.plan.seed, options))

    execution.run(fill)
    reset_fsdp(model.modules())
    if own is not None:
        refresh(model)
        _fill_attributes(own, aliases, _CPU if place is None else place, execution)
    for module in scan.recurrent:
        if not any(is_dtensor(each) for each in module.parameters()):
            module.flatten_parameters()
    execution.empty |= {options.placed(path): reason for path, reason in made.empty.items()}
    for path, reason in execution.kept.items():
        if held[path].local.is_meta:
            stays = f"it is on the meta device, and stays there: {reason}"
            execution.empty |= dict.fromkeys((path, *map(options.placed, held[path].derived_paths)), stays)
    note_drawn(execution.plan, held)
    _warn_of_empty(execution.empty)
    return execution.report()


def _rules_and_recording(
    model: nn.Module, recipe: Recipe | Recorded | str | None, seed: int | None
) -> tuple[Recipe | None, Recorded | None]:
    """The recipe, and the recording of the module's own code, as far as each is needed."""
    if isinstance(recipe, Recorded):
        return None, recipe
    if isinstance(recipe, AbstractContextManager):
        raise TypeError(
            "`recipe` must be what a recording yields. Received: the context itself. Write "
            "`with fanin.torch.recording() as recorded:`, make the model in it, and pass `recorded`."
        )
    rules = None if recipe is None else recipe_of(recipe, seed)
    if rules is not None and not any(rule.as_written for rule in rules.rules):
        return rules, None
    return rules, own_code(model)


def _fill_attributes(
    own: SeededRecording, aliases: Iterable[Alias], device: torch.device, execution: Execution
) -> None:
    """Gives the tensors that modules keep as plain attributes their values.

    Args:
        own: the recording.
        aliases: the attributes that are parameters or buffers, with the places of these.
        device: the device of the others.
        execution: what tells of it.
    """
    for attribute, (module, leaf) in aliases:
        attribute.put({**module._parameters, **module._buffers}[leaf])
    for path, attribute, make in own.attributes():
        if make is None:
            execution.empty[path] = "a tensor that its module keeps as an attribute, which the recording does not know"
        else:
            attribute.put(make().to(device).requires_grad_(attribute.tensor.requires_grad))
            execution.buffers[path] = "as recorded"


def _warn_of_kept(execution: Execution) -> None:
    """Warns of parameters that follow from others, as copies do, if these stay as they are."""
    follows = {
        each.path: other for each in execution.plan.entries for other in each.follows if other in execution.passed
    }
    if follows:
        (path, other), more = next(iter(follows.items())), len(follows) - 1
        others = f" So do {more} more." if more else ""
        warn(
            f"{path} gets values that follow from those that {other} would be given, as the model's code has it, but "
            f"{other} is left as it is ({execution.passed[other]}).{others}"
        )


def _warn_of_empty(empty: Mapping[str, str]) -> None:
    if empty:
        (path, reason), more = next(iter(empty.items())), len(empty) - 1
        others = f", and {more} more, which the report lists as `empty`" if more else ""
        warn(f"Not every tensor of the model has values: {path} ({reason}){others}.")


def _reshard(model: nn.Module) -> None:
    """Has FSDP2 put the sharded parameters in the place of the unsharded ones, which it frees before long."""
    for module in model.modules():
        if is_fsdp(module):
            module.reshard()  # pyright: ignore[reportCallIssue]


def _checked_device(device: Any) -> torch.device:
    """The device, if it has memory."""
    try:
        found = torch.device(device)
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


def _check_memory(plan: Plan, held: Mapping[str, Held], device: torch.device | None) -> None:
    """Raises for parameters that cannot be written, before anything is written."""
    wrong = []
    borrowed: dict[str, Any] = {}
    for entry in plan.entries:
        each = held[entry.path]
        tensor = each.local
        if entry.placements and tensor.is_meta and (problem := _unplaced(each, device)):
            wrong.append(f"{entry.path}: {problem}")
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


def _unplaced(held: Held, device: torch.device | None) -> str:
    """Why a parameter cannot get new memory on a device, and what to do; "" if it can."""
    if is_dtensor(held.tensor):
        own = mesh_device(held.tensor)
        if device is not None and device.type not in (own.type, "cpu"):  # FSDP2 can keep its shards on the CPU
            return f"Its mesh is on {own.type}, not on {device}. Leave `device` out."
        if weakref.getweakrefs(held.tensor):
            return (
                "Something has a weak reference to it, so that PyTorch cannot give it memory. Initialize before that."
            )
    elif held.shard is not None and held.shard.tensor is not None:
        return "The tensor of its Shard is on the meta device. Give it memory first."
    return ""


def _underived(entry: Entry, held: Held, seed: int) -> str:
    """Why the tensors that follow from a drawn one cannot be computed from its values; "" if they can."""
    if not entry.placements or held.weight is None or not held.weight.derived:
        return ""
    try:
        held.weight.values(_drawn(entry, held.tensor), seed, entry.name)
    except ValueError as error:
        return f"{entry.path}: {error}"
    return ""


def _fill(entry: Entry, held: Held, device: torch.device | None) -> None:
    """Gives one parameter, or what this process holds of it, its values, in its own memory or in new memory."""
    tensor, local = held.tensor, held.local
    if local.is_meta and is_dtensor(tensor):
        materialize(tensor, partial(_fill_memory, entry, held.shard), device)
    elif local.is_meta:
        fresh = _drawn(entry, tensor, held.shard)
        held.tensor = put(held.owners, tensor, fresh.to(_CPU if device is None else device))
    else:
        for each in {id(each): each for each in (tensor, local)}.values():
            note_write(each)  # before it is written: an interrupt may leave it partly so
        _fill_memory(entry, held.shard, local)


def _fill_memory(entry: Entry, shard: Shard | None, local: torch.Tensor) -> None:
    """Fills the memory that holds a parameter, or a shard of it, on any device."""
    shard = shard or Shard(entry.shape)
    at_once = any(each.weight.distribution.is_made_whole for each in entry.placements)
    with torch.no_grad():
        fill_shard(entry.fill, shard, local, covers=entry.covers, at_once=at_once)


def _drawn(entry: Entry, tensor: torch.Tensor, shard: Shard | None = None) -> torch.Tensor:
    """A new CPU tensor with the parameter's values and the strides of the given tensor, in memory of PyTorch's own.

    Blocks that a rule keeps are those of the given tensor.

    FSDP and others free and resize such memory, which they cannot do with an array's.
    """
    old = tensor.detach()
    make = torch.empty_like if shard is None or shard.flat is None else torch.zeros_like  # zeros for its padding
    fresh = make(old, device="cpu") if entry.covers else old.to("cpu", copy=True)
    _fill_memory(entry, shard, fresh)
    return fresh


def _derive(entry: Entry, held: Held, device: torch.device | None, seed: int, options: Options) -> dict[str, str]:
    """Computes the tensors that follow from a drawn one, such as its norm, and returns how, by path."""
    weight = held.weight
    if weight is None:
        return {}
    how = {}
    for raw, value in weight.values(weight.tensor, seed, entry.name).items():
        module, leaf = weight.derived[raw]
        old = getattr(module, leaf)
        if old.is_meta:
            put([(module, leaf)], old, value.to(_CPU if device is None else device))
        else:
            with torch.no_grad():
                old.copy_(value)
        how[options.placed(joined(held.layer_path, raw))] = f"{weight.description}, computed from its drawn values"
    weight.refresh()
    return how
