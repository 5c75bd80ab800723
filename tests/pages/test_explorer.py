"""The explorer in a browser: what every control changes, its address, what it copies, and that everyone can use it."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import fanin
from browsers import Opened, opened
from fanin import theory
from fanin.models.lists import described_list
from fanin.report.pages import asset
from fanin.theory.blocks import BLOCKS

MOST_BYTES = 80_000
DEFAULT = "#init=he_normal&act=relu"
SCRIPTS = (
    "dom.js",
    "charts.js",
    "philox.js",
    "rounding.js",
    "meanfield.js",
    "simulation.js",
    "initializers.js",
    "explorer.js",
)
# For each control: the state that it is seen in, another value, and what shows it.
CONTROLS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "init": ("", "glorot_uniform", ("sentence", "signal", "gradient", "weights", "python", "rule")),
    "scale": ("init=variance_scaling", "3", ("sentence", "signal", "gradient", "weights", "python", "rule")),
    "mode": ("init=variance_scaling&fan_out=2048", "fan_out", ("sentence", "signal", "weights", "python", "rule")),
    "dist": ("init=variance_scaling", "uniform", ("weights", "python", "rule")),
    "stddev": ("init=random_normal", "0.1", ("sentence", "signal", "weights", "python", "rule")),
    "limit": ("init=random_uniform", "0.1", ("sentence", "signal", "weights", "python", "rule")),
    "gain": ("", "1.3", ("sentence", "signal", "gradient", "weights", "sums", "python", "rule")),
    "bias": ("", "0.5", ("signal", "sums", "python")),
    "seed": ("", "5", ("signal", "weights", "numbers", "python")),
    "act": ("", "tanh", ("sentence", "signal", "gradient", "activation", "sums", "python")),
    "param": ("act=leaky_relu", "0.5", ("signal", "gradient", "activation", "python")),
    "block": ("", "layer_norm", ("signal", "python", "setting")),
    "depth": ("", "20", ("signal", "gradient", "python", "setting")),
    "fan_in": ("", "128", ("weights", "sums", "python", "setting")),
    "fan_out": ("", "128", ("gradient", "sums", "python", "setting")),
    "dtype": ("", "float8_e4m3fn", ("weights", "numbers", "python", "setting")),
}


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The explorer, in a file."""
    path = tmp_path_factory.mktemp("explorer") / "explorer.html"
    path.write_text(theory.explorer(), encoding="utf-8")
    return path


@dataclass(frozen=True)
class Site:
    """The explorer in a browser.

    Attributes:
        browser: the browser.
        file: the page.
        shared: a window that tests share; it may read and write the clipboard.
    """

    browser: Any
    file: Path
    shared: Opened

    @contextmanager
    def at(self, fragment: str = "", **options: Any) -> Iterator[Opened]:
        """The page in a state, newly loaded: in the shared window, or with options in one of its own."""
        address = f"{self.file.as_uri()}{fragment}"
        with opened(self.browser, address, **options) if options else nullcontext(self.shared) as found:
            if not options:
                found.page.goto("about:blank")
                found.errors.clear()
                found.requests.clear()
                found.page.goto(address)
            yield found
            assert not found.errors
            assert not found.requests


@pytest.fixture(scope="module")
def site(browser: Any, file: Path) -> Iterator[Site]:
    """The explorer, and a window."""
    with opened(browser, file, permissions=["clipboard-read", "clipboard-write"]) as shared:
        yield Site(browser, file, shared)


def seen(page: Any, name: str) -> str:
    """What an element shows, pictures included."""
    return page.locator(f"#{name}").inner_html()


# ---------------------------------------------------------------- controls


@pytest.mark.parametrize("name", CONTROLS)
def test_control(site: Site, name: str) -> None:
    """A control changes what it should at once, and the address."""
    start, value, changed = CONTROLS[name]
    with site.at(f"#{start}") as found:
        page = found.page
        before = {each: seen(page, each) for each in changed}
        field = page.locator(f"#{name}")
        if field.evaluate("each => each.tagName") == "SELECT":
            field.select_option(value)
        else:
            field.fill(value)
            field.press("Enter")
        same = [each for each in changed if seen(page, each) == before[each]]
        assert not same
        assert f"{name}={value}" in page.url


@pytest.mark.parametrize("name", ["gain", "bias", "depth", "fan_in", "fan_out", "scale", "stddev", "limit", "param"])
def test_slider(site: Site, name: str) -> None:
    """A slider's arrow key changes the number beside it, and the number moves the slider."""
    start = CONTROLS[name][0]
    with site.at(f"#{start}") as found:
        slider, field = found.page.locator(f"input[type=range]:has(+ #{name})"), found.page.locator(f"#{name}")
        before = float(field.input_value()), int(slider.input_value())
        slider.focus()
        found.page.keyboard.press("ArrowRight")
        assert float(field.input_value()) > before[0]
        assert slider.get_attribute("aria-valuetext")
        field.fill(field.get_attribute("min") or "")
        assert int(slider.input_value()) == 0


def test_steps_draw_nothing_again(site: Site) -> None:
    """A step of a slider leaves the network's unit tensors as they are, even those of the deepest one with biases."""
    with site.at("#init=he_normal&act=relu&block=pre_norm&depth=1000&bias=0.1") as found:
        page = found.page
        counts = "() => { const { values } = philox; let calls = 0; const count = () => calls; "
        page.evaluate(counts + "philox.values = (...given) => (calls++, values(...given)); window.calls = count; }")
        page.fill("#bias", "0.2")
        assert page.evaluate("calls()") <= 1  # that of the weights which are shown


@pytest.mark.parametrize(
    ("fragment", "shown"),
    [
        ("#init=he_normal", set()),
        ("#init=variance_scaling", {"scale", "mode", "dist"}),
        ("#init=random_normal", {"stddev"}),
        ("#init=random_uniform", {"limit"}),
        ("#act=elu", {"param"}),
    ],
)
def test_controls_that_are_needed(site: Site, fragment: str, shown: set[str]) -> None:
    """Only the arguments of the chosen initializer and activation are asked for."""
    with site.at(fragment) as found:
        some = ("scale", "mode", "dist", "stddev", "limit", "param")
        assert {each for each in some if found.page.locator(f"#{each}").is_visible()} == shown


def test_draw_again(site: Site) -> None:
    """The button draws with the next seed, and the largest one is followed by the smallest."""
    with site.at(f"#seed={2**63 - 1}") as found:
        found.page.locator("#again").click()
        assert found.page.locator("#seed").input_value() == str(-(2**63))


# ---------------------------------------------------------------- words


def normal(stddev: float) -> fanin.RandomNormal:
    """Normal weights, whatever the fans."""
    return fanin.RandomNormal(stddev=stddev)


@pytest.mark.parametrize(
    ("fragment", "arguments"),
    [
        ("#init=he_normal&act=relu", ("he_normal", "relu", {})),
        ("#init=glorot_uniform&act=relu", ("glorot_uniform", "relu", {})),
        ("#init=he_normal&act=relu&gain=1.41", (("he_normal", 1.41), "relu", {})),
        ("#init=lecun_normal&act=tanh&bias=0.3&depth=20", ("lecun_normal", "tanh", {"bias_stddev": 0.3, "depth": 20})),
        ("#init=orthogonal&act=selu", ("orthogonal", "selu", {})),
        (
            "#init=he_uniform&act=gelu&block=post_norm&depth=12",
            ("he_uniform", "gelu", {"block": "post_norm", "depth": 12}),
        ),
        ("#init=random_normal&stddev=0.02&act=silu&block=pre_norm", (normal(0.02), "silu", {"block": "pre_norm"})),
        ("#init=he_normal&act=exponential&depth=5", ("he_normal", "exponential", {"depth": 5})),
        # Sizes that leave the range of floats on the way, and factors that need an exponent.
        ("#init=he_normal&act=relu&gain=2&depth=1000", (("he_normal", 2), "relu", {"depth": 1000})),
        ("#init=random_normal&stddev=100&act=relu&depth=200", (normal(100), "relu", {"depth": 200})),
        ("#init=random_normal&stddev=0.000001&act=tanh&depth=200", (normal(1e-6), "tanh", {"depth": 200})),
        ("#init=random_normal&stddev=0.001&act=tanh", (normal(1e-3), "tanh", {})),
        ("#init=he_normal&act=relu&block=rezero", ("he_normal", "relu", {"block": "rezero"})),
    ],
)
def test_verdict(site: Site, fragment: str, arguments: tuple[Any, Any, dict[str, Any]]) -> None:
    """The verdict is the sentence of `fanin.compare`."""
    initializer, activation, options = arguments
    report = fanin.compare([initializer], activation, **{"depth": 50, "width": 512, **options}, simulate=False)
    with site.at(fragment) as found:
        shown = found.page.locator("#sentence").inner_text().partition(" ")[2]
        assert shown.lower() == report.rows[0].verdict.lower()
        assert found.page.locator("#verdict").get_attribute("data-tone") == report.rows[0].tone


@pytest.mark.parametrize(
    ("fragment", "button", "expected"),
    [
        ("#init=glorot_uniform&act=relu", "Use he_uniform", "init=he_uniform"),
        ("#init=glorot_uniform&act=relu", "Multiply by 1.41", "gain=1.41421"),
        ("#init=he_normal&act=relu&gain=3", "Multiply by 0.333", "gain=1"),
        ("#init=he_normal&act=relu&block=residual", "Use residual_scaled", "block=residual_scaled"),
        ("#init=he_normal&act=sigmoid&block=post_norm", "Use pre_norm", "block=pre_norm"),
        ("#init=he_normal&act=gelu&gain=5", "Use layer_norm", "block=layer_norm"),
    ],
)
def test_advice(site: Site, fragment: str, button: str, expected: str) -> None:
    """A button does what is advised, and things are no worse then."""
    with site.at(fragment) as found:
        loss = """() => {
            const { signal, gradient } = explorer.model().verdict;
            return Math.max(...[signal, gradient].map((each) => Math.abs(Math.log(each.total))));
        }"""
        before = found.page.evaluate(loss)
        found.page.get_by_role("button", name=button, exact=True).click()
        assert expected in found.page.url or expected == "gain=1"
        assert found.page.evaluate(loss) < before


def test_a_scale_that_nobody_should_use(site: Site) -> None:
    """Sigmoid keeps sizes only with weights that saturate it, which is no advice."""
    with site.at("#init=he_normal&act=sigmoid") as found:
        assert "choose another activation" in found.page.locator("#advice").inner_text()
        assert found.page.get_by_role("button", name="Multiply").count() == 0


def test_he_suits_relu(site: Site) -> None:
    """The sums of the first layer say why: twice the variance, of which ReLU lets half pass."""
    with site.at() as found:
        sums = found.page.locator(".sum")
        assert sums.nth(0).locator("strong").all_inner_texts() == ["2.00", "0.50", "1.00"]
        assert sums.nth(1).locator("strong").all_inner_texts() == ["2.00", "0.50", "1.00"]


def test_overflow_is_said(site: Site) -> None:
    """The layer is named from which float16 is too narrow."""
    with site.at("#init=he_normal&gain=1.5&dtype=float16") as found:
        layer = math.ceil(math.log(65504) / math.log(1.5))
        assert f"The signal overflows in float16 from layer {layer} on." in found.page.locator("#notes").inner_text()


def test_zeros_are_said(site: Site) -> None:
    """Weights that a dtype rounds to zero are counted."""
    with site.at("#init=random_normal&stddev=0.001&dtype=float8_e4m3fn") as found:
        import ml_dtypes

        values = fanin.RandomNormal(stddev=0.001, seed=1)((512, 512)).ravel()[:16384].astype(ml_dtypes.float8_e4m3fn)
        share = float((values.astype("float32") == 0).mean())
        assert f"{100 * share:.3g} % of the weights are zero" in found.page.locator("#notes").inner_text()


def test_spoken(site: Site) -> None:
    """Those who do not see the page hear the verdict, once nothing changes any more."""
    with site.at() as found:
        found.page.locator("#init").select_option("glorot_uniform")
        found.page.wait_for_function(
            "() => document.getElementById('spoken').textContent.startsWith('vanishes (× 0.71')"
        )
        assert found.page.locator("#spoken").get_attribute("role") == "status"


# ---------------------------------------------------------------- simulation


@pytest.mark.parametrize(
    ("block", "fan_in", "fan_out"),
    [*((block, 512, 512) for block in BLOCKS), ("plain", 256, 1024), ("pre_norm", 1024, 256)],
)
def test_simulated_networks(site: Site, block: str, fan_in: int, fan_out: int) -> None:
    """On average over networks, sizes are those of theory, forwards and back, as far as small ones can be."""
    with site.at(f"#init=he_normal&act=relu&depth=4&block={block}&fan_in={fan_in}&fan_out={fan_out}") as found:
        ratios = found.page.evaluate(
            """() => {
                const logs = { signal: [], gradient: [] };
                for (let seed = 0; seed < 24; seed++) {
                    explorer.state.seed = String(seed);
                    const { simulated, theory } = explorer.model();
                    logs.signal.push(simulated.signal.at(-1) / theory.signal.at(-1));
                    logs.gradient.push(simulated.gradient[0] / theory.gradient[0]);
                }
                const mean = (all) => all.reduce((sum, each) => sum + each, 0) / all.length;
                return [mean(logs.signal), mean(logs.gradient)];
            }"""
        )
        assert ratios == pytest.approx([1, 1], abs=0.25)


# ---------------------------------------------------------------- address


def test_address_is_kept(site: Site) -> None:
    """A page that is loaded again shows the same state."""
    with site.at() as found:
        found.page.locator("#act").select_option("leaky_relu")
        found.page.locator("#param").fill("0.3")
        found.page.locator("#depth").fill("33")
        found.page.locator("#depth").press("Enter")
        before = {each: seen(found.page, each) for each in ("sentence", "signal", "setting", "python")}
        assert found.page.url.endswith("#init=he_normal&act=leaky_relu&param=0.3&depth=33")
        found.page.reload()
        assert {each: seen(found.page, each) for each in before} == before


def test_back_and_forward(site: Site) -> None:
    """Each change is a step of the history, and a drag is one."""
    with site.at(DEFAULT) as found:
        found.page.locator("#init").select_option("glorot_uniform")
        slider = found.page.locator("input[type=range]:has(+ #depth)")
        box = slider.bounding_box()
        found.page.mouse.move(box["x"] + box["width"] / 4, box["y"] + box["height"] / 2)
        found.page.mouse.down()
        for share in (0.5, 0.6, 0.7, 0.8):
            found.page.mouse.move(box["x"] + box["width"] * share, box["y"] + box["height"] / 2)
        found.page.mouse.up()
        depth = found.page.locator("#depth").input_value()
        assert int(depth) > 100
        found.page.go_back()
        assert found.page.locator("#depth").input_value() == "50"
        assert found.page.locator("#init").input_value() == "glorot_uniform"
        found.page.go_back()
        assert found.page.locator("#init").input_value() == "he_normal"
        found.page.go_forward()
        found.page.go_forward()
        assert found.page.locator("#depth").input_value() == depth


@pytest.mark.parametrize(
    ("fragment", "message"),
    [
        ("init=he_norml", "init must be one of those offered. Received: he_norml. he_normal is used."),
        ("depth=abc", "depth must be a whole number from 1 to 1,000. Received: abc. 50 is used."),
        ("depth=", "depth must be a whole number from 1 to 1,000. Received: nothing. 50 is used."),
        ("depth=1.5", "Received: 1.5."),
        ("depth=Infinity", "Received: Infinity."),
        ("fan_in=65537", "fan_in must be a whole number from 1 to 65,536."),
        ("gain=-1", "gain must be a number from 0.01 to 100. Received: −1."),
        ("seed=9223372036854775808", "seed must be a whole number from −2⁶³ to 2⁶³ − 1."),
        ("act=constructor", "act must be one of those offered."),
        ("constructor=1", '"constructor" is no control of this page: it is left out.'),
        ("act=celu&param=0", "param must be a number from 0.01 to 10."),
        ("init=<img src=x onerror=alert(1)>", "Received: <img src=x onerror=alert(1)>."),
        ("%=%", "is no control of this page"),
        ("depth=0x10", "Received: 0x10. 50 is used."),
        ("k" * 1000 + "=1", f'"{"k" * 60}…" is no control of this page'),
        ("act=" + "k" * 1000, f"Received: {'k' * 60}…. relu is used."),
    ],
)
def test_wrong_addresses(site: Site, fragment: str, message: str) -> None:
    """What cannot be is said, and the default is used."""
    with site.at(f"#{fragment}") as found:
        assert message.replace("−1", "-1") in found.page.locator("#notes").inner_text().replace("−1", "-1")
        assert found.page.locator("#sentence").inner_text()
        assert found.page.locator("#notes .refused").count() >= 1
        assert found.overflow() <= 0


def test_wrong_numbers(site: Site) -> None:
    """A wrong number is marked while it is typed; then it is said, and the last right one comes back."""
    with site.at() as found:
        field = found.page.locator("#depth")
        field.fill("0")
        assert field.get_attribute("aria-invalid") == "true"
        field.press("Enter")
        assert field.input_value() == "50"
        assert "depth must be a whole number from 1 to 1,000. Received: 0. 50 is used." in seen(found.page, "notes")


EXTREMES = ["fan_in=1&fan_out=1", "fan_in=65536&fan_out=65536", "depth=1", "depth=1000", "gain=100", "gain=0.01"]
EXTREMES += ["init=orthogonal&fan_in=1&fan_out=1", "init=orthogonal&fan_in=2&fan_out=3", "bias=10"]
EXTREMES += ["init=orthogonal&fan_in=65536&fan_out=1", "init=random_normal&stddev=1000&depth=1000"]
EXTREMES += ["init=random_uniform&limit=0.000001", "act=exponential&gain=3", "act=relu_squared&gain=0.01"]
EXTREMES += [f"act=squareplus&param=0&dtype={each}" for each in ("float16", "float8_e5m2", "float8_e4m3fn")]
EXTREMES += [f"act={each}&block=batch_norm&depth=3" for each in ("hardshrink", "sigmoid", "leaky_relu&param=-10")]


@pytest.mark.parametrize("fragment", EXTREMES)
def test_extremes(site: Site, fragment: str) -> None:
    """The ends of what can be chosen are no errors, and nothing that is shown is NaN or undefined."""
    with site.at(f"#{fragment}") as found:
        text = found.page.locator("main").inner_text()
        assert "NaN" not in text
        assert "undefined" not in text
        paths = found.page.locator("svg path").evaluate_all("all => all.map((each) => each.getAttribute('d')).join()")
        assert "NaN" not in paths
        assert "Infinity" not in paths


# ---------------------------------------------------------------- copies

COPIED = [
    "init=he_normal&act=relu",
    "init=glorot_uniform&act=leaky_relu&param=0.2&gain=1.3&depth=12",
    "init=orthogonal&act=tanh&gain=1.1&bias=0.1&seed=-7",
    "init=random_normal&stddev=0.02&act=gelu&block=pre_norm&fan_in=96&fan_out=96",
    "init=random_uniform&limit=0.07&act=silu&fan_in=64&fan_out=32&dtype=bfloat16",
    "init=variance_scaling&scale=0.3&mode=fan_geo_avg&dist=uniform&dtype=float8_e5m2",
    "init=truncated_normal&stddev=0.000001&dtype=float16",
]


@pytest.mark.parametrize("fragment", COPIED)
def test_python(site: Site, fragment: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The Python that is copied makes the tensor that is drawn, and prints the verdict."""
    with site.at(f"#{fragment}") as found:
        found.page.get_by_role("button", name="Copy as Python").click()
        found.page.wait_for_function("() => document.getElementById('copied').textContent === 'Copied: Python.'")
        code = found.page.evaluate("navigator.clipboard.readText()")
        drawn = found.page.evaluate("[...explorer.model().values]")
        sentence = found.page.locator("#sentence").inner_text().partition(" ")[2]
    made: dict[str, Any] = {}
    exec(code, made)
    values = made["weights"].astype("float32")
    values = values.ravel() if "orthogonal" not in fragment else values.T.ravel()
    assert drawn == pytest.approx(values[: len(drawn)].tolist(), abs=0 if "orthogonal" not in fragment else 1e-5)
    if "fan_out=32" not in fragment:
        assert capsys.readouterr().out.strip().lower() == sentence.lower()


@pytest.mark.parametrize("fragment", COPIED)
def test_rule(site: Site, fragment: str) -> None:
    """The rule that is copied is one of fanin's recipes, with the initializer that the Python has."""
    with site.at(f"#{fragment}") as found:
        found.page.get_by_role("button", name="Copy as recipe rule").click()
        found.page.wait_for_function("() => document.getElementById('copied').textContent === 'Copied: recipe rule.'")
        text = found.page.evaluate("navigator.clipboard.readText()")
        python: dict[str, Any] = {}
        exec(found.page.locator("#python").inner_text().partition("report =")[0], python)
    kernel = {"path": "dense.kernel", "shape": [64, 32], "role": "kernel", "layout": "keras"}
    (entry,) = fanin.Recipe.from_toml(text).with_seed(1).plan(described_list([kernel])).entries
    assert not entry.problem
    assert entry.placements[0].weight.distribution == python["initializer"].distribution((64, 32))


def test_link(site: Site) -> None:
    """The link that is copied is the page in its state."""
    with site.at("#init=he_normal&act=gelu") as found:
        found.page.get_by_role("button", name="Copy link").click()
        found.page.wait_for_function("() => document.getElementById('spoken').textContent === 'Copied: link.'")
        assert found.page.evaluate("navigator.clipboard.readText()") == f"{site.file.as_uri()}#init=he_normal&act=gelu"


@pytest.mark.parametrize("has_command", [True, False])
def test_denied_clipboard(site: Site, has_command: bool) -> None:
    """Without a clipboard the older way is taken, and without that the text is shown; either is said."""
    with site.at() as found:
        found.page.evaluate(
            """(has) => {
                navigator.clipboard.writeText = () => Promise.reject(new Error("denied"));
                document.execCommand = () => has;
            }""",
            has_command,
        )
        found.page.get_by_role("button", name="Copy link").click()
        start = "Copied: link." if has_command else "The browser does not let pages copy. Here it is: file:"
        found.page.wait_for_function(
            "(start) => document.getElementById('spoken').textContent.startsWith(start)", arg=start
        )
        assert found.page.locator("#copied").inner_text().startswith(start)


# ---------------------------------------------------------------- for everyone


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(
    "fragment", ["#init=glorot_uniform&act=elu", "#init=variance_scaling&gain=3&dtype=float16&depth=x"]
)
def test_accessible(site: Site, scheme: Any, fragment: str) -> None:
    """axe-core finds nothing serious, whether the verdict is good or bad."""
    with site.at(fragment, scheme=scheme) as found:
        assert not found.faults()


@pytest.mark.parametrize("width", [320, 390, 700, 1280, 2000])
def test_narrow_and_wide(site: Site, width: int) -> None:
    """Nothing is wider than the window."""
    for fragment in ("#init=glorot_uniform", "#init=variance_scaling&act=squareplus&gain=3&dtype=float8_e4m3fn"):
        with site.at(fragment, width=width) as found:
            assert found.overflow() <= 0


def test_keyboard(site: Site) -> None:
    """The tab key reaches every control that is shown, in the order of the page, and leaves it."""
    with site.at("#init=glorot_uniform&act=elu") as found:
        page = found.page
        wanted = page.locator("a, button, select, input, pre").evaluate_all(
            "all => all.filter((each) => each.checkVisibility()).length"
        )
        reached = []
        for _ in range(wanted):
            page.keyboard.press("Tab")
            reached.append(page.evaluate("document.activeElement.id || document.activeElement.outerHTML"))
        assert len(set(reached)) == wanted
        assert reached.index("init") < reached.index("depth") < reached.index("dtype")
        page.locator("#act").focus()
        page.keyboard.type("tanh")
        assert "act=tanh" in page.url


def test_no_motion(file: Path) -> None:
    """Nothing moves by itself, so that nothing must stop for those who ask for it."""
    text = file.read_text(encoding="utf-8")
    assert not [each for each in ("transition", "animation", "@keyframes", "scroll-behavior") if each in text]


def test_size(file: Path) -> None:
    """The page is small."""
    assert file.stat().st_size < MOST_BYTES


def test_is_deterministic(file: Path) -> None:
    """The page is the same wherever it is made."""
    assert file.read_text(encoding="utf-8") == theory.explorer()


def test_is_quick(site: Site) -> None:
    """A change is shown within a few frames: of a dozen, since a machine may do other things, the quickest."""
    with site.at("#init=he_normal&act=gelu") as found:
        times = found.page.evaluate(
            """() => Array.from({ length: 12 }, (_, place) => {
                const start = performance.now();
                explorer.change({ gain: String(1 + place / 100) }, false);
                return performance.now() - start;
            }).sort((a, b) => a - b)"""
        )
        assert times[0] < 250


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts_may_be_shortened(name: str) -> None:
    """No text of a script has several lines or begins a comment, so that a page may leave out space and comments."""
    for line in asset(name).splitlines():
        code = line.partition(" // ")[0]
        assert all(code.count(quote) % 2 == 0 for quote in '`"') or line.lstrip().startswith(("*", "/*", "//")), line
        assert not re.search(r" (=>|[!=]==|&&|\|\|) ", "".join(re.findall(r'"(?:\\.|[^"\\])*"', code))), line


def test_data_is_json(file: Path) -> None:
    """The page's data is JSON: what it knows of blocks and activations, from Python."""
    text = file.read_text(encoding="utf-8").partition('id="data">')[2].partition("</script>")[0]
    assert set(json.loads(text)["blocks"]) == set(BLOCKS)
