"""A page in which people see what an initializer does to a deep network, and why: sliders, pictures, a verdict.

Its scripts draw fanin's own values and compute the numbers of `fanin.theory`, without a server: `pages/assets/` has
`philox.js`, `rounding.js`, `meanfield.js`, `simulation.js`, `initializers.js` and `explorer.js`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

from fanin.report import markup
from fanin.report.pages import page
from fanin.theory.activations import NAMES, default_param
from fanin.theory.blocks import BLOCKS, Activate, Block, Dense, Step

_SCRIPTS = ("philox.js", "rounding.js", "meanfield.js", "simulation.js", "initializers.js", "explorer.js")
_INITIALIZERS = (
    "he_normal",
    "he_uniform",
    "glorot_normal",
    "glorot_uniform",
    "lecun_normal",
    "lecun_uniform",
    "orthogonal",
    "variance_scaling",
    "random_normal",
    "truncated_normal",
    "random_uniform",
)
# Names of functions that have another one, under which they are listed.
_ALIASES = {"identity": "linear", "swish": "silu", "hardsilu": "hard_swish"}
# The least parameter of activations that are not defined for every one.
_LEAST = {"celu": 0.01, "softplus": 0.01, "squareplus": 0.0, "hardshrink": 0.0, "softshrink": 0.0}
_DTYPES = ("float32", "bfloat16", "float16", "float8_e4m3fn", "float8_e5m2")
_STORIES = {
    "ReLU, Glorot’s weights": "init=glorot_uniform&act=relu",
    "ReLU, He’s weights": "init=he_normal&act=relu",
    "A little too large": "init=he_normal&act=relu&gain=1.2",
    "tanh, LeCun’s weights": "init=lecun_normal&act=tanh",
    "A transformer’s block": "init=random_normal&stddev=0.02&act=gelu&block=pre_norm&fan_in=768&fan_out=768&depth=24",
    "Overflow in float16": "init=he_normal&act=relu&gain=1.5&dtype=float16",
}


@dataclass(frozen=True)
class Choice:
    """A control that offers names.

    Attributes:
        name: its key in the address.
        label: what it is called.
        options: the names.
        default: that which is chosen at first.
    """

    name: str
    label: str
    options: tuple[str, ...]
    default: str

    def html(self) -> str:
        """Its label and its element."""
        options = "".join(
            f"<option{' selected' if each == self.default else ''}>{markup.text(each)}</option>"
            for each in self.options
        )
        return _control(self.name, self.label, f'<select id="{self.name}">{options}</select>')


@dataclass(frozen=True)
class Number:
    """A control for a number: a field, and a slider beside it.

    Attributes:
        name: its key in the address.
        label: what it is called.
        default, low, high: the value at first, and the smallest and the largest one.
        scale: how the slider goes: in steps of 1 or of a hundredth ("whole", "hundredths"), through numbers such as
            1, 2, 3, 4, 6, 8, … ("binary"), or through 1, 1.5, 2, 3, 5, 7, 10, … ("decimal").
        ends: those of the slider, if it does not reach all values.
    """

    name: str
    label: str
    default: float
    low: float
    high: float
    scale: str = "hundredths"
    ends: tuple[float, float] | None = None

    def html(self) -> str:
        """Its label, slider and field."""
        first, last = self.ends or (self.low, self.high)
        label = markup.text(self.label)
        step = "1" if self.scale in ("whole", "binary") else "any"
        return _control(
            self.name,
            self.label,
            f'<input type="range" aria-label="{label}, slider" data-scale="{self.scale}" '
            f'data-ends="{first:g},{last:g}">'
            f'<input type="number" id="{self.name}" min="{self.low:g}" max="{self.high:g}" step="{step}" '
            f'value="{self.default:g}">',
        )


@dataclass(frozen=True)
class Seed:
    """The control for the seed, which has 64 bits: more than the numbers of JavaScript."""

    name: str = "seed"

    def html(self) -> str:
        """Its label, field and button."""
        return _control(
            self.name,
            "seed",
            '<button type="button" id="again">Draw again</button>'
            f'<input id="{self.name}" inputmode="numeric" autocomplete="off" value="1">',
        )


def _controls() -> dict[str, tuple[Choice | Number | Seed, ...]]:
    """The controls, by the heading that they stand under."""
    return {
        "Weights": (
            Choice("init", "initializer", _INITIALIZERS, "he_normal"),
            Number("scale", "scale", 2, 1e-4, 1e4, "decimal", (0.01, 100)),
            Choice("mode", "mode", ("fan_in", "fan_out", "fan_avg", "fan_geo_avg"), "fan_in"),
            Choice("dist", "distribution", ("truncated_normal", "untruncated_normal", "uniform"), "truncated_normal"),
            Number("stddev", "stddev", 0.05, 1e-6, 1e3, "decimal", (1e-4, 10)),
            Number("limit", "limit", 0.05, 1e-6, 1e3, "decimal", (1e-4, 10)),
            Number("gain", "gain", 1, 0.01, 100, "hundredths", (0.05, 3)),
            Number("bias", "bias stddev", 0, 0, 10, "hundredths", (0, 2)),
            Seed(),
        ),
        "Network": (
            Choice("act", "activation", tuple(activations()), "relu"),
            Number("param", "its parameter", 0, -10, 10, "hundredths", (0, 4)),
            Choice("block", "block", tuple(BLOCKS), "plain"),
            Number("depth", "depth", 50, 1, 1000, "whole", (1, 200)),
            Number("fan_in", "fan_in", 512, 1, 65536, "binary"),
            Number("fan_out", "fan_out", 512, 1, 65536, "binary"),
            Choice("dtype", "dtype", _DTYPES, "float32"),
        ),
    }


@lru_cache(maxsize=1)
def explorer() -> str:
    """A page that shows at once what an initializer, an activation, a depth and a dtype do to a deep network.

    It needs no network and no other file. Its address keeps what is chosen, so that it can be shared:
    `explorer.html#init=glorot_uniform&act=relu`.

    Returns:
        The page, as HTML to be written in UTF-8. `fanin explore -o explorer.html` writes it.

    References: `fanin.theory.fields` and `fanin.theory.blocks` name the sources of the theory.

    >>> import fanin.theory
    >>> fanin.theory.explorer().startswith("<!doctype html>")
    True
    """
    data = {
        "params": {name: param for name, param in activations().items() if param is not None},
        "aliases": _ALIASES,
        "blocks": {name: _as_data(block) for name, block in BLOCKS.items()},
    }
    return page("Initialization explorer", _body(), styles=("explorer.css",), scripts=_SCRIPTS, data=data)


def activations() -> dict[str, dict[str, float] | None]:
    """The activations of the page, each by one of its names.

    Returns:
        For each, the default and the least value of its parameter; None if it has none.

    >>> from fanin.theory.exploring import activations
    >>> activations()["leaky_relu"]
    {'default': 0.01, 'least': -10.0}
    """
    found: dict[str, dict[str, float] | None] = {}
    known: set[str] = set()
    for name in NAMES:  # spelled ones first
        plain_name = name.replace("_", "")
        if plain_name in known or plain_name in _ALIASES or plain_name.startswith("conv"):
            continue
        known.add(plain_name)
        default = default_param(name)
        found[name] = None if default is None else {"default": default, "least": _LEAST.get(plain_name, -10.0)}
    return dict(sorted(found.items()))


def _as_data(block: Block) -> dict[str, Any]:
    """A block for JavaScript, with the kind of each step."""
    data = {**asdict(block), "steps": list(map(_step, block.steps)), "after": list(map(_step, block.after))}
    del data["name"]  # which is the key that it has among all blocks
    return data


def _step(step: Step) -> dict[str, Any]:
    if isinstance(step, Dense):
        return {"kind": "dense", **asdict(step)}
    return {"kind": "activate"} if isinstance(step, Activate) else asdict(step)


def _control(name: str, label: str, inputs: str) -> str:
    return f'<div class="control"><label for="{name}">{markup.text(label)}</label>{inputs}</div>'


def _body() -> str:
    stories = "".join(f'<a href="#{markup.text(to)}">{markup.text(name)}</a>' for name, to in _STORIES.items())
    fields = "".join(
        f"<fieldset><legend>{heading}</legend>{''.join(each.html() for each in controls)}</fieldset>"
        for heading, controls in _controls().items()
    )
    return f"""<main>
<header>
<h1>What do these weights do to a deep network?</h1>
<p>Each layer multiplies its signal by weights. If they are a little too small, the signal fades on its way; if they are
a little too large, it explodes. Move something and see.</p>
<nav aria-label="Examples">{stories}</nav>
</header>
<section id="verdict" aria-labelledby="sentence">
<p id="setting"></p>
<h2 id="sentence"></h2>
</section>
<section id="todo" aria-label="What to do">
<p id="advice"></p>
<div id="mend"></div>
<ul id="notes"></ul>
</section>
<form autocomplete="off">{fields}
<button type="button" id="reset">Start over</button>
</form>
<section id="results" aria-label="Results">
<div class="figures"><figure id="signal"></figure><figure id="gradient"></figure></div>
<p class="reading">Lines are theory, for very wide layers. Dots are one network that this page draws: with fewer units,
to be quick, and with weights of the same spread. fan_in and fan_out say what that spread is, and every block has it.
σ_w is the standard deviation of the weights, times √fan_in.</p>
<section id="layer" aria-labelledby="layer-title"><h2 id="layer-title">Why: the first layer, in numbers</h2>
<div id="sums"></div>
<p class="reading">Signals of another size come to later layers, and most activations, other than relu and its like, let
another share of them pass. The sentence at the top has the mean of all layers.</p></section>
<div class="figures"><figure id="weights"></figure><figure id="activation"></figure></div>
<section aria-labelledby="numbers-title"><h2 id="numbers-title">In numbers</h2><dl id="numbers"></dl></section>
<section id="code" aria-labelledby="code-title"><h2 id="code-title">Take it with you</h2>
{_copies((("python", "Copy as Python"), ("rule", "Copy as recipe rule"), ("link", "Copy link")))}
</section>
</section>
<p class="unseen" role="status" id="spoken"></p>
</main>"""


def _copies(buttons: Iterable[tuple[str, str]]) -> str:
    """The buttons that copy, and what they copy."""
    made = [f'<button type="button" data-copies="{name}">{label}</button>' for name, label in buttons]
    return (
        f'<p class="copies">{"".join(made)}<span id="copied"></span></p>'
        '<pre tabindex="0" aria-label="Python"><code id="python"></code></pre>'
        '<pre tabindex="0" aria-label="Recipe rule"><code id="rule"></code></pre>'
    )
