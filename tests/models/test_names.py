"""Names: paths without wrappers, globs, the numbers of repeated blocks, names in place of paths, and choices."""

from typing import Any

import pytest

import fanin
from fanin.models.names import NameMap, class_names, depths, selector, stripped
from fanin.models.patterns import AnyGlob
from fanin.recipes import Parameter
from recipe_kit import FLOAT32, NORMAL, planned

DEPTHS = {
    "h.3.w": (3, 5),
    "h.0.mlp.7.w": (0, 5),
    "encoder.block.3.layer.0.wq": (3, 4),
    "encoder.block.0.layer.1.wq": (0, 4),
    "decoder.block.0.layer.2.wq": (0, 1),
    "block_3.w": (3, 4),
    "fc_1.w": None,
    "fc_1.h.1.w": (1, 2),
    "conv_1.w": None,
    "alone_0.w": None,
    "h.4": None,
    "w_0": None,
    "wte": None,
}


def test_depths() -> None:
    """The outermost list of blocks counts; names with numbers are blocks where all of them are there."""
    others = ["h.4.x", "h.1.x", "encoder.block.1.x", "encoder.block.2.x", "fc_1.h.0.x", "conv_3.x"]
    others += ["h.2.x", "block_0.x", "block_1.x", "block_2.x"]
    rules = [{"path": "*.[wx]*", "initializer": "random_normal", "stddev": "depth + n_layers / 100"}]
    rules += [{"path": "*", "initializer": "random_normal", "stddev": "depth"}]
    plan = planned(rules, *DEPTHS, *others)
    for path, expected in DEPTHS.items():
        entry = plan.entry(path)
        if expected is None:
            assert "needs depth" in entry.problem
        else:
            assert (path, entry.initializer) == (
                path,
                fanin.RandomNormal(0.0, expected[0] + expected[1] / 100, entry.seeds[0]),
            )
    expected_depths = {path: depth for path, depth in DEPTHS.items() if depth is not None}
    assert expected_depths.items() <= depths([*DEPTHS, *others]).items()
    assert not {path for path, depth in DEPTHS.items() if depth is None} & {*depths([*DEPTHS, *others])}
    piece = planned(rules, "h.3.w", constants={"n_layers": 12}).entries[0]
    assert getattr(piece.initializer, "stddev", None) == 3.12


@pytest.mark.parametrize(
    "path", ["_orig_mod.a.w", "a._fsdp_wrapped_module.w", "_orig_mod.a._checkpoint_wrapped_module.w"]
)
def test_wrappers(path: str) -> None:
    """What wrappers put into paths does not matter."""
    assert planned([NORMAL], path).entries == planned([NORMAL], "a.w").entries


CONTAINERS: dict[str, tuple[list[str], dict[str, tuple[int, int]]]] = {
    "one list": (["0.w", "1.w"], {"0.w": (0, 2), "1.w": (1, 2)}),
    "a container of models": (
        ["0.h.0.w", "0.h.1.w", "0.h.2.w", "1.w"],
        {"0.h.0.w": (0, 3), "0.h.1.w": (1, 3), "0.h.2.w": (2, 3), "1.w": (1, 2)},
    ),
    "a model of lists": (["0.h.0.w", "1.h.0.w"], {"0.h.0.w": (0, 2), "1.h.0.w": (1, 2)}),
    "gaps": (["h.1.w", "h.4.w"], {"h.1.w": (1, 2), "h.4.w": (4, 2)}),
    "named, with a gap": (["h_0.w", "h_2.w"], {}),
    "named, from 1 on": (["h_1.w", "h_2.w"], {}),
    "no list": (["a.w", "b"], {}),
    "nothing": ([], {}),
}


@pytest.mark.parametrize("name", CONTAINERS)
def test_lists_of_blocks(name: str) -> None:
    """A list that is the model itself gives way to a longer one within it."""
    paths, expected = CONTAINERS[name]
    assert depths(paths) == expected


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("a.w", "a.w"),
        ("a/b/w:0", "a.b.w"),
        ("_orig_mod.a._fsdp_wrapped_module.w", "a.w"),
        ("_ddp_module._checkpoint_wrapped_module.w", "w"),
        ("_orig_mod", "_orig_mod"),
        ("a:b.w", "a:b.w"),
        ("", ""),
    ],
)
def test_stripped(path: str, expected: str) -> None:
    """Slashes are dots, and neither wrappers nor the numbers behind Keras's names are left."""
    assert stripped(path) == expected


def test_class_names() -> None:
    """A class and those that it is derived from, up to the framework's own, without what frameworks derive."""

    class Module:
        """A framework's base class."""

    class Linear(Module):
        """A layer."""

    class Wide(Linear):
        """One derived from it."""

    class ParametrizedWide(Wide):
        """What a framework makes of that."""

    class FSDPWide(Wide):
        """Another one."""

    assert class_names(Wide, "Module") == ("Wide", "Linear")
    assert class_names(ParametrizedWide, "Module") == class_names(FSDPWide, "Module") == ("Wide", "Linear")
    assert class_names(Module, "Module") == ("Module",)
    assert class_names(Wide, "Other") == ("Wide", "Linear", "Module", "object")


def test_globs() -> None:
    """A star stands for any text, dots among it; slashes are dots; the whole path must match."""
    assert AnyGlob(["a.*.w"]).matches("a.b.c.w")
    assert AnyGlob(["x", "a/*/w"]).matches("a.b.w")
    assert AnyGlob(["a.[!b].?"]).matches("a.c.w")
    assert AnyGlob(["a/w"]).matches("a.w")
    for pattern, path in (("a.*", "b.a.w"), ("a", "a.w"), ("A.*", "a.w"), ("a.+", "a.w"), ("*.w", "w")):
        assert not AnyGlob([pattern]).matches(path)


def named(path: str, **more: Any) -> Parameter:
    """A parameter of that path."""
    return Parameter(path, (3,), FLOAT32, **more)


def test_maps_of_names() -> None:
    """The first key that fits says the name, in which stars stand for what they stand for in the key."""
    names = NameMap({"enc.*.w": "encoder/*/kernel", "*.*": "*.x.*", "enc.*.w[q]": "q/*"})
    assert names.of(named("enc.0.w"), "enc.0.w") == "encoder.0.kernel"
    assert names.of(named("a.b.c"), "a.b.c") == "a.b.x.c"
    assert names.of(named("alone"), "alone") == "alone"
    assert (names.mapped("enc.3.w[q]"), names.mapped("enc.3.w[k]"), names.mapped("w")) == ("q.3", None, None)
    assert NameMap({"enc.(a)": "b"}).mapped("enc.(a)") == "b"


def test_own_names() -> None:
    """A parameter's own name counts where nothing else is said, and for itself alone, not for what it is part of."""
    assert NameMap(None).of(named("a", name="b"), "a") == "b"
    assert NameMap({"a": "c"}).of(named("a", name="b"), "a") == "c"
    assert NameMap({"x": "c"}).of(named("a", name="b"), "a") == "b"
    assert NameMap(None).of(named("a", name="b"), "whole") == "whole"
    assert NameMap(lambda each: f"_orig_mod/{each.path}/{each.shape[0]}:0").of(named("a", name="b"), "a") == "a.3"


CHOSEN: dict[str, tuple[Any, list[str]]] = {
    "one": ("a.*", ["a.w", "a.b"]),
    "slashes": ("a/*", ["a.w", "a.b"]),
    "several": (["a.w", "c"], ["a.w", "c"]),
    "a set": ({"c"}, ["c"]),
    "a tie": (("t.*",), ["c"]),
    "all": ("*", ["a.w", "a.b", "c"]),
}


@pytest.mark.parametrize("name", CHOSEN)
def test_selectors(name: str) -> None:
    """Globs of any of a parameter's paths."""
    patterns, expected = CHOSEN[name]
    parameters = [named("a.w"), named("a.b"), named("c", tied=("t.c",))]
    paths = ["a.w", "a.b", "c", "t.c"]
    for known in (paths, None, iter(paths)):
        select = selector("only", patterns, known)
        assert [each.path for each in parameters if select(each)] == expected


def test_bad_selectors() -> None:
    """What matches nothing, or is no glob, is said with the option's name."""
    with pytest.raises(
        ValueError, match=r"^`only` must match parameters of the model\. Received: 'a\.q', which matches no"
    ):
        selector("only", "a.q", ["a.w"])
    assert not selector("only", "a.q", None)(named("a.w"))
    for bad in (3, [3], None, {"a": 1}):
        with pytest.raises(TypeError, match=r"^`skip` must be a glob of paths, or several\. Received: skip="):
            selector("skip", bad, ["a.w"])  # pyright: ignore[reportArgumentType]
