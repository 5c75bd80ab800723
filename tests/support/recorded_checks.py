"""What is checked of a recorded model: that everything is accounted for, and that it is what its author's code makes.

`measure` records a model of any size on the meta device. `compare` makes one for real, three times by its author's code
and once by fanin, and compares the values. What the author's code makes alike each time must be equal; what it draws
must have the distribution that was read.
"""

from __future__ import annotations

import math
import random
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from scipy import stats
from torch import nn

import fanin.torch
from fanin.torch.describe import joined, visits
from recorded_cases import Case

SEEDS = (1, 2, 3)  # of the author's code
SEED = 42
MOST_ERRORS = 4.0  # standard errors
LEAST_P = 1e-6
FEW = 32  # of fewer values, a standard deviation has no standard error to speak of
SLICES = 12
MANY = 100_000  # values are compared at most
DISCRETE = {"bernoulli", "sparse", "random", "randint", "formula", "program"}  # may draw one value twice
BOUNDED = {"uniform", "truncated_normal"}  # normals end where their generator's resolution does
UNREAD = "nothing"
PLAIN = {"constant", "table"}


@dataclass(frozen=True)
class Recorded:
    """What was read of a model.

    Attributes:
        library, name: the model.
        kinds: the number of parameters by the kind of their readings.
        elements: the number of their elements, likewise.
        seconds: how long recording took.
        rules: the number of rules of its recipe.
        same: whether the plan of that recipe is the recorded one.
        notes: what the recording remarks.
        faults: what is wrong.
        unmade: why nobody can make the model, recorded or not; "" for one that was recorded.
    """

    library: str
    name: str
    kinds: dict[str, int] = field(default_factory=dict)
    elements: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    rules: int = 0
    same: bool = False
    notes: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()
    unmade: str = ""

    def as_dict(self) -> dict[str, Any]:
        """The same as plain data."""
        return asdict(self)


@dataclass
class Compared:
    """How a model made by fanin compares with its author's code.

    Attributes:
        library, name: the model.
        kinds: the number of parameters by the kind of their readings.
        exact: the number of parameters and buffers that are equal, and must be.
        drawn: the number of those that were compared as samples.
        errors: the furthest moment, in standard errors.
        least: the least p of all tests of Kolmogorov and Smirnov.
        seconds: how long all of it took.
        faults: what is wrong.
        unmade: why the author's code does not make the model; "" for one that was compared.
    """

    library: str
    name: str
    kinds: dict[str, int] = field(default_factory=dict)
    exact: int = 0
    drawn: int = 0
    errors: float = 0.0
    least: float = 1.0
    seconds: float = 0.0
    faults: list[str] = field(default_factory=list)
    unmade: str = ""

    def as_dict(self) -> dict[str, Any]:
        """The same as plain data."""
        return asdict(self)


def record(make: Callable[[], Any]) -> tuple[nn.Module, Any]:
    """A model and its recording."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with fanin.torch.recording() as recorded:
            model = make()
    return model, recorded


def measure(case: Case, *, fold: bool = True) -> Recorded:
    """What is read of a model, and whether its recipe makes the same plan."""
    try:
        make = case.prepare()
        start = time.perf_counter()
        model, recorded = record(make)
    except Exception:
        if reason := refusal(case):
            return Recorded(case.library, case.name, unmade=reason)
        raise
    seconds = time.perf_counter() - start
    kinds: Counter[str] = Counter()
    elements: Counter[str] = Counter()
    faults = []
    readings = recorded.of(model)
    faults += [f"{path} is on {each.device}" for path, each in tensors_of(model).items() if not each.is_meta]
    plan = recorded.plan(model, seed=SEED)
    paths = parameters_of(model)
    for entry in (each for each in plan.entries if each.path in paths):  # running statistics have entries, too
        kind = readings[entry.path].kind
        kinds[kind] += 1
        elements[kind] += entry.parameter.size
        if kind == UNREAD:
            faults.append(f"{entry.path} is not accounted for")
        if entry.problem:
            faults.append(f"{entry.path}: {entry.problem}")
    faults += [f"{path} is not in the plan" for path in paths - {entry.path for entry in plan.entries}]
    rules, same = 0, False
    if fold:
        try:
            recipe = recorded.recipe(seed=SEED, model=model)
        except ValueError as error:
            faults.append(f"it has no recipe: {in_short(error)}")
        else:
            rules = len(recipe.rules)
            differing = differences(plan, recipe.plan(model))
            same = not differing
            faults += [f"its recipe's plan differs: {', '.join(differing[:5])}"] if differing else []
    return Recorded(
        case.library, case.name, dict(kinds), dict(elements), seconds, rules, same, tuple(recorded.notes), tuple(faults)
    )


def differences(recorded: Any, other: Any) -> list[str]:
    """The paths of a recorded plan for which another one has other weights; one of them may have other names for them.

    What a recipe leaves alone, since it is frozen and its module's own code makes it, does not differ.
    """
    entries = {entry.path: entry for entry in other.entries}
    missing = [each.path for each in recorded.entries if each.path not in entries and each.path not in other.model.left]
    found = [each for each in recorded.entries if each.path in entries]
    return missing + [each.path for each in found if weights_of(each) != weights_of(entries[each.path])]


def weights_of(entry: Any) -> list[Any]:
    """What an entry draws and where, in a form that can be compared."""
    found = []
    for each in entry.placements:
        distribution = each.weight.distribution
        values = {name: np.asarray(value).tolist() for name, value in distribution.parameters().items()}
        found.append(
            (type(distribution), distribution.shape, distribution.dtype, values, each.seed, each.target, each.source)
        )
    return found


def compare(case: Case) -> Compared:
    """Makes a model by its author's code and by fanin, and compares them."""
    start = time.perf_counter()
    found = Compared(case.library, case.name)
    try:
        make = case.prepare()
        theirs = [tensors_of(authors(make, seed)) for seed in SEEDS]
    except Exception as error:
        return Compared(case.library, case.name, unmade=in_short(error))
    model, recorded = record(make)
    readings = recorded.of(model)
    entries = {entry.path: entry for entry in recorded.plan(model, seed=SEED).entries}
    found.kinds = dict(Counter(readings[path].kind for path in parameters_of(model)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fanin.torch.initialize(model, recorded, seed=SEED)
    ours = tensors_of(model)
    if ours.keys() != theirs[0].keys():
        found.faults.append(f"tensors differ: {sorted(ours.keys() ^ theirs[0].keys())[:5]}")
    for path in ours.keys() & theirs[0].keys():
        draws = [each[path] for each in theirs]
        faults = [*_faults(found, readings[path].kind, draws, ours[path])]
        if (entry := entries.get(path)) is not None:
            faults += _unlike(found, readings[path].kind, entry, draws)
        found.faults += [f"{path} ({readings[path]}): {fault}" for fault in faults]
    found.seconds = time.perf_counter() - start
    return found


def refusal(case: Case) -> str:
    """Why a model cannot be made on the meta device without recording; "" if it can."""
    try:
        with torch.device("meta"):
            case.prepare()()
    except Exception as error:
        return in_short(error)
    return ""


def in_short(error: Exception) -> str:
    """An error in a line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"


def authors(make: Callable[[], Any], seed: int) -> Any:
    """The model that its author's code makes on the CPU under a seed."""
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed)
        return make()


def tensors_of(model: Any) -> dict[str, torch.Tensor]:
    """All parameters and buffers, each once, by the paths that they have without wrappers and adapters."""
    return {path: tensor.detach() for path, tensor in _first_places(model).items()}


def _first_places(model: Any) -> dict[str, torch.Tensor]:
    found: dict[int, tuple[str, torch.Tensor]] = {}
    for visit in visits(model):
        for leaf, tensor in (*visit.module._parameters.items(), *visit.module._buffers.items()):
            if tensor is not None:
                found.setdefault(id(tensor), (joined(visit.path, leaf), tensor))
    return dict(found.values())


def parameters_of(model: Any) -> set[str]:
    """The paths of `tensors_of` that are parameters."""
    parameters = {id(each) for each in model.parameters()}
    return {path for path, tensor in _first_places(model).items() if id(tensor) in parameters}


def _faults(found: Compared, kind: str, draws: list[torch.Tensor], made: torch.Tensor) -> Iterator[str]:
    """What is wrong with the values of one tensor, of which the author's code has made several."""
    first = draws[0]
    if (made.shape, made.dtype, made.device) != (first.shape, first.dtype, first.device):
        yield f"{made.shape}, {made.dtype}, {made.device}, not {first.shape}, {first.dtype}, {first.device}"
        return
    fixed = alike(first, draws[1]) & alike(first, draws[2])
    if bool(fixed.all()):
        found.exact += 1
        if not bool(alike(made, first).all()):
            yield f"{values(made)} is not what the code makes each time, {values(first)}"
        return
    found.drawn += 1
    if kind in PLAIN:
        yield f"the code draws it: {values(first)}"
    if kind not in DISCRETE and not bool(alike(made, first)[fixed].all()):
        yield f"{int(fixed.sum())} elements that the code makes alike each time are not all alike"
    whole = made, first, ~fixed
    # What differs by regions is compared in slices, too, where a boundary in the wrong place shows.
    slices = zip(*(each.chunk(SLICES) for each in whole), strict=True) if kind == "regions" else ()
    for ours, theirs, moving in (whole, *slices):
        if bool(moving.any()):
            test: Any = stats.ks_2samp(sample(ours[moving]), sample(theirs[moving]))
            found.least = min(found.least, float(test.pvalue))
            if not test.pvalue >= LEAST_P:
                yield f"{values(ours[moving])} is not distributed as {values(theirs[moving])}: p = {test.pvalue:.1e}"


def _unlike(found: Compared, kind: str, entry: Any, draws: list[torch.Tensor]) -> Iterator[str]:
    """What of the author's values does not fit the distribution that an entry has for the whole of a parameter."""
    if len(entry.placements) != 1 or not entry.covers or not entry.placements[0].weight.distribution.random:
        return
    if kind == "program":  # it has no moments but those of the values that it makes
        return
    distribution = entry.placements[0].weight.distribution
    low, high = distribution.bounds
    bounded = kind in BOUNDED
    rounding = torch.finfo(draws[0].dtype).eps  # values are rounded, and so may be bounds
    slack = rounding * max((abs(each) for each in (low, high) if math.isfinite(each)), default=0.0)
    deviations = []
    for each in draws:
        wide = each.double()
        if wide.numel() >= FEW:
            deviations.append(max(map(abs, errors_of(_usual(wide, distribution.moments), distribution.moments))))
        if bounded and not (low - slack <= float(wide.min()) and float(wide.max()) <= high + slack):
            yield f"{values(each)} is beyond [{low}, {high}]"
    if deviations:
        # Of some ten thousand parameters, chance alone has a few beyond four errors, but none of them twice.
        repeated = sorted(deviations)[1]
        found.errors = max(found.errors, repeated)
        if repeated > MOST_ERRORS:
            yield f"{values(draws[0])} is {repeated:.1f} standard errors from {distribution.moments}"


def _usual(drawn: torch.Tensor, moments: Any) -> torch.Tensor:
    """A sample without the very few values that are no draws of its distribution, but PyTorch's rounding.

    A truncated normal of old is `uniform_(-1, 1).erfinv_()`. Of a uniform of exactly -1, one in 2**24, that is -inf,
    which is clamped to the bound: -2 where the standard deviation is 0.02.
    """
    usual = (drawn - moments.mean).abs() < 20 * moments.stddev
    return drawn[usual] if int((~usual).sum()) <= 1 + drawn.numel() // 2**21 else drawn


def errors_of(drawn: torch.Tensor, moments: Any) -> tuple[float, float]:
    """How far the mean and standard deviation of a sample are from those of its distribution, in standard errors."""
    mean, stddev, kurtosis = moments
    root = math.sqrt(drawn.numel())
    if kurtosis is None:
        kurtosis = float(stats.kurtosis(drawn.reshape(-1).numpy(), fisher=False))
    spread = stddev * math.sqrt(max(kurtosis - 1, 1e-3) / 4) / root
    return (float(drawn.mean()) - mean) / (stddev / root), (float(drawn.std()) - stddev) / spread


def alike(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Which elements are equal; NaNs are."""
    return (first == second) | ((first != first) & (second != second))


def sample(drawn: torch.Tensor) -> np.ndarray:
    """Some of the values, evenly chosen."""
    flat = torch.view_as_real(drawn).reshape(-1) if drawn.is_complex() else drawn.reshape(-1)
    return flat[:: max(1, flat.numel() // MANY)].double().numpy()


def values(tensor: torch.Tensor) -> str:
    """A tensor in short."""
    if tensor.numel() == 0 or tensor.is_complex():
        return f"{tensor.dtype} {tuple(tensor.shape)}"
    wide = tensor.double()
    spread = f" ± {float(wide.std(correction=0)):.4g}"
    return f"{float(wide.mean()):.4g}{spread} in [{float(wide.min()):.4g}, {float(wide.max()):.4g}]"
