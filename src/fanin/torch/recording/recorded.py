"""`recording()`, the context in which a model's code is read, and `Recorded`, what was read in it."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn.modules import module as nn_module

from fanin._core.environment import undisturbed
from fanin._core.memory import as_numpy
from fanin._core.messages import class_name, suggestion, visible, warn
from fanin._core.streams import checked_seed
from fanin.models.names import NameMap, Names
from fanin.models.parameters import Model, Parameter, Written
from fanin.recipes.entry import Entry, Placement
from fanin.recipes.folding import recipe_from
from fanin.recipes.plan import Plan, PlanError
from fanin.recipes.recipe import Recipe
from fanin.recipes.tables import folded_lines
from fanin.torch.describe import Scan, joined, put, put_itself, visits
from fanin.torch.recording.attributes import Attribute, attributes_of
from fanin.torch.recording.drawing import Drawing
from fanin.torch.recording.expressions import Expression, Values
from fanin.torch.recording.places import Note, RecordingError
from fanin.torch.recording.reading import Reading, reading_of
from fanin.torch.recording.recorder import Recorder, watching
from fanin.torch.refusals import outline
from fanin.torch.reparametrized import Place
from fanin.torch.shards import is_dtensor

# The recording that each module was made in, as long as both live.
_recorded: weakref.WeakKeyDictionary[nn.Module, Recorded] = weakref.WeakKeyDictionary()


Alias = tuple[Attribute, Place]

_MOST_AT_ONCE = 2**20  # elements of a tensor that is no parameter and gets its values when the recording ends

_NOTHING = "The recording has nothing: its context has not ended, or no model was made in it, or it is gone."


@dataclass(frozen=True)
class _Taken:
    """A tensor of a module as it was when its recording ended.

    Attributes:
        expression: what it gets.
        tensor: the tensor, on the meta device; None if it is not known.
    """

    expression: Expression
    tensor: torch.Tensor | None = None


class Recorded(Mapping[str, Reading]):
    """What the code of a model writes into its parameters and buffers: a reading for each, by its path.

    `fanin.torch.recording` makes it. It is empty until the context ends. Its `notes` name random numbers that could not
    be read, because they do not come from PyTorch's own generator.

    >>> import fanin.torch, torch
    >>> with fanin.torch.recording() as recorded:
    ...     model = torch.nn.Linear(256, 10)
    >>> recorded["weight"]
    <Reading of weight: uniform(minval=-0.0625, maxval=0.0625)>
    >>> list(recorded)
    ['weight', 'bias']
    """

    def __init__(self) -> None:
        self._recorder: Recorder | None = None
        self._taken: weakref.WeakKeyDictionary[nn.Module, Mapping[str, _Taken]] = weakref.WeakKeyDictionary()
        self._by_tensor: dict[int, _Taken] = {}  # those whose tensors are known, which live as long
        self._roots: list[weakref.ref[nn.Module]] = []
        self._found: tuple[list[int], Mapping[str, Reading]] = [], {}  # of the only model, with the ids of its tensors

    @property
    def notes(self) -> tuple[str, ...]:
        """What could not be read, each with the line of the code."""
        return () if self._recorder is None else tuple(map(str, self._recorder.notes))

    @classmethod
    def of_existing(
        cls, recorder: Recorder, model: nn.Module, expressions: Mapping[nn.Module, Mapping[str, Expression]]
    ) -> Recorded:
        """What a model that exists gets, as its code was read again.

        Args:
            recorder: who read it.
            model: the model.
            expressions: what the tensors of each of its modules get, by their names.
        """
        recorded = cls()
        recorded._recorder = recorder
        recorded._roots.append(weakref.ref(model))
        for module, taken in expressions.items():
            recorded._taken[module] = {leaf: _Taken(expression) for leaf, expression in taken.items()}
        return recorded

    def take(self, recorder: Recorder, existing: Iterable[nn.Module], made: Iterable[nn.Module]) -> None:
        """Takes what was read for models, at the end of a recording.

        Args:
            recorder: who read it.
            existing: models that existed before, whose tensors stay as they are.
            made: models that were made in the recording, whose tensors are left on the meta device.

        Raises:
            RecordingError: a model was sharded within the recording.
        """
        self._recorder = recorder
        known: dict[int, tuple[torch.Tensor, _Taken]] = {}  # with the tensors, for their ids
        for root in existing:
            for leaf, tensor in ((leaf, each) for module in root.modules() for leaf, each in _tensors(module).items()):
                _refuse_sharded(tensor, leaf)
                known[id(tensor)] = tensor, _Taken(recorder.read(tensor), tensor)
        for root in (*existing, *made):
            self._roots.append(weakref.ref(root))
            for module in root.modules():
                if module not in self._taken:
                    kept = self._kept(module, recorder)
                    self._taken[module] = {
                        leaf: self._taken_of(module, leaf, tensor, known)
                        for leaf, tensor in {**kept, **_tensors(module)}.items()
                    }
                    _recorded[module] = self
        self._by_tensor = {id(each.tensor): each for _, each in known.values()}

    @staticmethod
    def _kept(module: nn.Module, recorder: Recorder) -> dict[str, torch.Tensor]:
        """The tensors that a module keeps as attributes and that are drawn or large. Others get their values now."""
        own = set(map(id, _tensors(module).values()))
        kept = {}
        for each in attributes_of(module):
            if id(each.tensor) in own or isinstance(each.tensor, nn.Parameter) or not recorder.knows(each.tensor):
                continue
            expression = recorder.read(each.tensor)
            if expression.is_drawn or not expression.is_written or expression.size > _MOST_AT_ONCE:
                kept[each.path] = each.tensor
            else:
                each.put(Values().of(expression).clone().requires_grad_(each.tensor.requires_grad))
        return kept

    def _taken_of(
        self, module: nn.Module, leaf: str, tensor: torch.Tensor, known: dict[int, tuple[torch.Tensor, _Taken]]
    ) -> _Taken:
        assert self._recorder is not None
        _refuse_sharded(tensor, leaf)
        if id(tensor) not in known:
            expression = self._recorder.read(tensor)
            on_meta = tensor if tensor.is_meta else put([(module, leaf)], tensor, tensor.detach().to("meta"))
            known[id(tensor)] = known[id(on_meta)] = tensor, _Taken(expression, on_meta)
        taken = known[id(tensor)][1]
        if taken.tensor is not None and taken.tensor is not tensor:
            put_itself([(module, leaf)], taken.tensor)
        return taken

    def expression(self, module: nn.Module, leaf: str) -> Expression | None:
        """What one tensor of a module gets; None if the recording does not know it.

        That is what the tensor was given if it is one of the recording's, and else what the one in its place was given.
        """
        tensor = _tensors(module).get(leaf)
        if (taken := self._by_tensor.get(id(tensor))) is not None:
            return taken.expression
        if (own := self._taken.get(module)) is not None:
            return own[leaf].expression if leaf in own else None
        other = _recorded.get(module)
        if self._recorder is None or tensor is None or other is not None or not self._recorder.knows(tensor):
            return None
        return self._recorder.read(tensor)

    def reading(self, path: str, module: nn.Module, leaf: str) -> Reading | None:
        """The reading of one tensor of a module, under a path; None if the recording does not know it."""
        expression = self.expression(module, leaf)
        return None if expression is None else reading_of(path, expression)

    def models(self) -> list[nn.Module]:
        """The recorded models that are still there."""
        roots = [root for ref in self._roots if (root := ref()) is not None]
        if len(roots) > 1:
            gc.collect()  # modules that the code only needed for a while may wait to be collected
            roots = [root for ref in self._roots if (root := ref()) is not None]
        return roots

    @property
    def model(self) -> nn.Module:
        """The model that was recorded.

        Raises:
            ValueError: none was, or several were; or it is gone.
        """
        roots = self.models()
        if len(roots) != 1:
            received = ", ".join(class_name(type(root)) for root in roots) or "none"
            raise ValueError(
                "The recording must have one model, for its paths to mean something. "
                f"Received: {visible(received)}. For one of several, or for a copy, use recorded.of(model)."
            )
        return roots[0]

    def of(self, model: nn.Module) -> Mapping[str, Reading]:
        """The readings of one of several recorded models, or of a part of one, by their paths in it.

        Args:
            model: a module that was made in the recording.

        Raises:
            ValueError: the recording does not know it.
        """
        if self._recorder is None:
            raise ValueError(_NOTHING)
        found: dict[str, Reading] = {}
        for visit in visits(model):
            for leaf in (*visit.module._parameters, *visit.module._buffers):
                path = joined(visit.path, leaf)
                reading = self.reading(path, visit.module, leaf)
                if reading is not None:
                    found.setdefault(path, reading)
        if not found and any(True for _ in model.parameters()):
            raise ValueError(
                f"The model must be one that was made in the recording. Received: {class_name(type(model))}."
            )
        return found

    def whole_of(self, module: nn.Module) -> tuple[nn.Module, str] | None:
        """The recorded model that a module is a part of, and its path there; None if there is none any more."""
        roots = [root for ref in self._roots if (root := ref()) is not None]
        return next(((root, visit.path) for root in roots for visit in visits(root) if visit.module is module), None)

    def _all(self) -> Mapping[str, Reading]:
        if not self._roots:
            return {}  # the context has not ended, or nothing was made in it
        model = self.model
        tensors = list(map(id, (*model.parameters(), *model.buffers())))
        if self._found[0] != tensors:
            self._found = tensors, self.of(model)
        return self._found[1]

    def __getitem__(self, path: str) -> Reading:
        found = self._all()
        if not self._roots:
            raise KeyError(f"No parameter or buffer {path!r}. {_NOTHING}")
        if path not in found:
            raise KeyError(f"No parameter or buffer {path!r}.{suggestion(path, list(found))}")
        return found[path]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())

    def plan(self, model: nn.Module | None = None, *, seed: int = 0, names: Names = None) -> Plan:
        """What each parameter gets for a seed, as for a recipe: see `fanin.Recipe.plan`. Nothing is drawn.

        Args:
            model: the model, or one that has the recorded one in it; by default the one that was recorded.
            seed: the seed.
            names: the names that parameters are drawn under, as for `Recipe.plan`.
        """
        scan = Scan(self.model if model is None else model, as_stored=True)
        return SeededRecording(self, scan, checked_seed(seed) or 0).plan(scan.model(), names=names)

    def recipe(self, seed: int = 0, *, model: nn.Module | None = None, twin: Recorded | None = None) -> Recipe:
        """The recording as a recipe: few rules, which make the same plan.

        Args:
            seed: the recipe's seed.
            model: as in `plan`.
            twin: a recording of the same model at another size. With it, numbers that follow from the configuration
                become expressions, such as `0.02 / sqrt(2 * n_layers)`.

        Raises:
            TypeError: `twin` is no recording.
        """
        if twin is not None and not isinstance(twin, Recorded):
            raise TypeError(f"`twin` must be a recording. Received: {class_name(type(twin))}.")
        root = self.model if model is None else model
        plan = self.plan(root, seed=seed)
        other = None if twin is None else twin.plan(seed=seed)
        recipe = recipe_from(plan, twin=other, description=f"{class_name(type(root))}, as its own code initializes it")
        # Without `as_written`, a recipe is for weights as their layers use them; for others, the code must be asked.
        used = {entry.path: entry for entry in recipe.plan(root).entries}
        unlike = [each.path for each in plan.entries if each.path not in used or used[each.path].problem]
        if not unlike:
            return recipe
        asking = recipe.extend([{"path": unlike, "initializer": "as_written"}])
        needed = {number for entry in asking.plan(root).entries for number in entry.rules}
        rules = [rule for number, rule in enumerate(asking.rules) if number in needed]
        return Recipe(rules, seed, description=recipe.description).commented(recipe.comment)

    def __bool__(self) -> bool:
        return bool(self._roots)

    def __str__(self) -> str:
        roots = self.models()
        if not roots:
            return _NOTHING
        lines = []
        for root in roots:
            lines += [f"{class_name(type(root))}:"] if len(roots) > 1 else []
            texts = {path: str(reading) for path, reading in self.of(root).items()}
            lines += [f"{path}: {text}" for path, text in folded_lines(texts)]
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes)])

    def __repr__(self) -> str:
        names = ", ".join(class_name(type(root)) for root in self.models())
        return f"<Recorded: {names or 'nothing'}>"


class SeededRecording:
    """A recording with a seed, which plans a scanned model as a recipe does.

    Args:
        recorded: the recording.
        scan: the model, scanned as it is stored.
        seed: the seed.
        placed: the path of a tensor of the model in a larger model that it is a part of.

    Attributes:
        seed: the seed.
        entries: what each parameter and buffer gets, by its path; empty before the first plan.
    """

    def __init__(
        self, recorded: Recorded, scan: Scan, seed: int, placed: Callable[[str], str] = lambda path: path
    ) -> None:
        self._recorded, self._scan, self._placed = recorded, scan, placed
        self.seed: int = seed
        self.entries: Mapping[str, Entry] = {}

    @undisturbed
    def drawn(self, parameters: Iterable[Parameter], seed: int, names: NameMap) -> dict[str, Entry]:
        """The entries of the model's parameters and buffers."""
        own = {each.path: each for each in parameters}
        tensors = self._readings(self._scan, lambda path, parameter: own.get(self._placed(path), parameter))
        if tensors and not any(reading for _, reading in tensors.values()):
            known = ", ".join(class_name(type(root)) for root in self._recorded.models())
            raise PlanError(
                f"`model` must be the model that was recorded, or a part of it; nothing has been written. Received: "
                f"{class_name(type(self._scan.inner))}, of which the recording, of {known or 'nothing'}, knows no "
                "parameter. Make it within `with fanin.torch.recording() as recorded:`. (A copy that was made later "
                "is another model.)"
            )
        aside = {self._placed(path) for path, _ in _attributes(self._scan)}
        return Drawing([*self._beside(tensors), *tensors.values()], seed, names, aside).entries()

    def _readings(
        self, scan: Scan, described: Callable[[str, Parameter], Parameter]
    ) -> dict[Place, tuple[Parameter, Reading | None]]:
        """The parameters of a scanned model, and then its buffers, each with its reading, by one of its places.

        Args:
            scan: the model.
            described: the description of a parameter, from its path in the model and what the scan says.
        """
        found = {}
        for held in scan.all():
            parameter = described(held.parameter.path, held.parameter)
            found[held.owners[0]] = self._read(parameter, *held.owners[0])
        for visit, leaf, tensor in scan.buffers:
            shape, dtype = outline(tensor)
            path = joined(visit.path, leaf)
            buffer = Parameter(self._placed(path) if scan is self._scan else path, shape, dtype, trainable=False)
            found[visit.module, leaf] = self._read(buffer, visit.module, leaf)
        for path, each in _attributes(scan) if scan is self._scan else ():
            shape, dtype = outline(each.tensor)
            parameter = Parameter(self._placed(path), shape, dtype, trainable=False)
            found[each.module, each.path] = self._read(parameter, each.module, each.path)
        return found

    def _beside(
        self, tensors: Mapping[Place, tuple[Parameter, Reading | None]]
    ) -> list[tuple[Parameter, Reading | None]]:
        """The tensors of the whole model that are not among these and have values in common with them.

        A part that has copies of what is outside of it has, with its path in the whole as prefix, the values that it
        has in the whole.
        """
        whole = self._recorded.whole_of(self._scan.inner)
        if whole is None or not whole[1] or whole[1] != self._placed(""):
            return []
        needed = {source for _, reading in tensors.values() if reading is not None for source in reading.sources}
        others = self._readings(Scan(whole[0], as_stored=True), lambda _, each: each)
        return [
            (parameter, reading)
            for place, (parameter, reading) in others.items()
            if place not in tensors and reading is not None and needed.intersection(reading.sources)
        ]

    def _read(self, parameter: Parameter, module: nn.Module, leaf: str) -> tuple[Parameter, Reading | None]:
        reading = self._recorded.reading(parameter.path, module, leaf)
        if reading is not None and reading.shape != parameter.shape and not parameter.problem:
            problem = f"it has the shape {parameter.shape}, but was recorded with the shape {reading.shape}"
            return replace(parameter, problem=f"{problem}. Record the model again, as it is now."), reading
        return parameter, reading

    def plan(self, model: Model, *, names: Names = None) -> Plan:
        """The plan of a model, as the scan describes it, with its prefix."""
        found = NameMap(names)
        self.entries = self.drawn(model.parameters, self.seed, found)
        model = replace(
            model,
            notes=(*model.notes, *self._recorded.notes),
            written=self._written(model.parameters, found, lambda parameter: parameter.path),
        )
        entries = tuple(self.entries[each.path] for each in model.parameters)
        return Plan(entries, self.seed, model, origin="recording")

    def with_own_code(self, model: Model, *, names: Names = None) -> Model:
        """The scanned model, still without its prefix, of which recipes can ask what its own code makes."""
        placed = model.placed(self._placed("")).parameters
        by_path = {each.path: other.path for each, other in zip(model.parameters, placed, strict=True)}
        return replace(model, written=self._written(placed, NameMap(names), lambda each: by_path[each.path]))

    def _written(
        self, parameters: tuple[Parameter, ...], names: NameMap, path_of: Callable[[Parameter], str]
    ) -> Written:
        """A function that says what the model's own code makes of a parameter.

        Args:
            parameters: the model's parameters, with its prefix.
            names: the names that they are drawn under.
            path_of: the path with the prefix of a parameter that is asked about.
        """

        def written(parameter: Parameter, name: str, seed: int) -> tuple[Placement, ...]:
            del name  # those of all parameters are needed, for copies and programs
            if not self.entries or seed != self.seed:
                self.entries, self.seed = self.drawn(parameters, seed, names), seed
            entry = self.entries[path_of(parameter)]
            if entry.problem:
                raise ValueError(entry.problem.removeprefix(f"{entry.path}: ").removesuffix("."))
            return entry.placements

        return written

    def aliases(self) -> list[Alias]:
        """The attributes of modules that are parameters or buffers without values, with the places of these."""
        places = {id(each.tensor): each.owners[0] for each in self._scan.all()}
        places |= {id(tensor): (visit.module, leaf) for visit, leaf, tensor in self._scan.buffers}
        found = (each for visit in visits(self._scan.root) for each in attributes_of(visit.module))
        return [(each, places[id(each.tensor)]) for each in found if id(each.tensor) in places]

    def attributes(self) -> Iterator[tuple[str, Attribute, Callable[[], torch.Tensor] | None]]:
        """The tensors without values that modules keep as attributes, with paths and functions that make the values.

        There is no function for one that the recording does not know.
        """
        for inner, each in _attributes(self._scan):
            path = self._placed(inner)
            entry = self.entries.get(path)
            if entry is None or entry.problem:
                yield path, each, None
            else:
                yield path, each, partial(_values, entry, each.tensor.dtype)

    def buffers(self) -> dict[str, Callable[[], torch.Tensor]]:
        """Functions that make the values of the buffers that the recording knows, by their paths in the model."""
        found = {}
        for visit, leaf, tensor in self._scan.buffers:
            path = joined(visit.path, leaf)
            entry = self.entries.get(self._placed(path))
            if entry is not None and not entry.problem:
                found[path] = partial(_values, entry, tensor.dtype)
        return found


def _attributes(scan: Scan) -> list[tuple[str, Attribute]]:
    """The tensors without values that modules keep as attributes, but for parameters and buffers, by their paths."""
    own = {id(each.tensor) for each in scan.all()} | {id(tensor) for _, _, tensor in scan.buffers}
    return [
        (joined(visit.path, each.path), each)
        for visit in visits(scan.root)
        for each in attributes_of(visit.module)
        if id(each.tensor) not in own
    ]


def _values(entry: Entry, dtype: torch.dtype) -> torch.Tensor:
    values = torch.empty(entry.shape, dtype=dtype, device="cpu")
    entry.fill(as_numpy(values))
    return values


@contextmanager
def recording(*models: nn.Module) -> Iterator[Recorded]:
    """Reads how models initialize themselves, while their own code makes them.

    In this context nothing is allocated and nothing is drawn: tensors have meta storage, but say that they are on the
    CPU, and what the code writes to them is followed. The models that come out are on the meta device, with their ties,
    buffers and flags as their constructors made them; `fanin.torch.initialize(model, recorded, seed=…)` gives them
    their values, before or after they are sharded. Other threads are not touched.

    Args:
        *models: models that exist already, if their code is called again in the context. They stay as they are; what
            the code does not write has its present values.

    Yields:
        A `Recorded`, which has its readings once the context has ended.

    Raises:
        RecordingError: the code needs values that are random: it looks at them, or takes a shape from them; or a model
            was sharded in the context. (A RuntimeError.)

    >>> import fanin.torch, torch
    >>> with fanin.torch.recording() as recorded:
    ...     model = torch.nn.Sequential(torch.nn.Linear(784, 256), torch.nn.LayerNorm(256))
    >>> report = fanin.torch.initialize(model, recorded, seed=42)
    >>> len(report.filled), model[0].weight.device
    (4, device(type='cpu'))
    """
    for model in models:
        if not isinstance(model, nn.Module):
            raise TypeError(f"`models` must be torch.nn.Module. Received: {class_name(type(model))}.")
    recorded = Recorded()
    with ExitStack() as stack:
        made = stack.enter_context(_noting_modules())
        recorder = stack.enter_context(watching())
        yield recorded
    recorded.take(recorder, models, made())
    warn_of_notes(recorder.notes)


def warn_of_notes(notes: Sequence[Note]) -> None:
    """Warns of what could not be read, if there is something."""
    if notes:
        more = len(notes) - 1
        others = f" And {more} more, which `recorded.notes` lists." if more else ""
        warn(f"Not all of the model's random numbers can be read: {notes[0]}.{others}")


@contextmanager
def _noting_modules() -> Iterator[Callable[[], list[nn.Module]]]:
    """Yields a function that returns the modules that this thread made in the context and that are in no other one."""
    thread = threading.get_ident()
    made: dict[int, weakref.ref[nn.Module]] = {}

    def note(module: nn.Module, name: str, value: Any) -> None:
        if threading.get_ident() == thread:
            for each in (module, value):
                if isinstance(each, nn.Module):
                    made[id(each)] = weakref.ref(each)

    def found() -> list[nn.Module]:
        alive = [module for ref in made.values() if (module := ref()) is not None]
        inner = {id(child) for module in alive for child in module.children()}
        return [module for module in alive if id(module) not in inner]

    handles = [
        nn_module.register_module_parameter_registration_hook(note),
        nn_module.register_module_buffer_registration_hook(note),
        nn_module.register_module_module_registration_hook(note),
    ]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def _refuse_sharded(tensor: torch.Tensor, leaf: str) -> None:
    if is_dtensor(tensor):
        raise RecordingError(
            "A model must be sharded after its recording, which reads whole parameters. Received: a sharded parameter, "
            f"{leaf}. End the context before `fully_shard` and the like."
        )


def _tensors(module: nn.Module) -> dict[str, torch.Tensor]:
    """A module's own dense tensors by name. Sparse ones keep what they have."""
    tensors = (*module._parameters.items(), *module._buffers.items())
    return {leaf: each for leaf, each in tensors if each is not None and each.layout == torch.strided}


def recording_of(model: nn.Module) -> Recorded | None:
    """The recording that a model was made in, if there was one and it is still there."""
    return _recorded.get(model)
