"""What the pages of audits and plans hold: data for programs, explanations, probes; and how they are written."""

from __future__ import annotations

import html as markup
import json
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fanin
import reports
from browsers import opened
from fanin.audits.pages.sparklines import BARS, Sparklines
from fanin.audits.verdicts import CODES, KINDS, MEANINGS, SIGNIFICANCE, STANDARD_ERRORS
from fanin.report import plain
from fanin.report.pages import write_page
from fanin.theory.findings import ADVICE

SOURCES = Path(fanin.__file__).parent / "audits"
PAGES = Path(__file__).parents[2] / "docs"
LAYER = {
    "path": "fc",
    "call": 1,
    "std": 1.0,
    "expected_std": 2.0,
    "gradient_std": 0.5,
    "verdict": {"word": "ok", "sentence": "nothing to remark"},
}
PROBE = {
    "model": "Net",
    "gradients": True,
    "layers": [LAYER, {**LAYER, "path": "out", "std": 3.0, "expected_std": None}],
    "verdicts": [{"word": "signal explodes", "sentence": "× 3 a layer"}],
    "remarks": [],
    "notes": [],
}


def test_values_at_the_ends_of_doubles(browser: Any, tmp_path: Path) -> None:
    """Subnormal numbers, and huge ones beside usual ones, are shown like others."""
    normal = np.random.default_rng(0).normal
    arrays = {
        "subnormal": np.arange(900, dtype="u8").view("f8").reshape(30, 30),
        "tiny": 3e-308 * normal(size=(30, 30)),
        "usual": normal(size=(30, 30)),
        "huge": 1e300 * normal(size=(30, 30)),
    }
    audit = fanin.audit(arrays)
    assert audit._repr_html_().count("<svg") > 2
    with opened(browser, reports.written(audit.to_html(), tmp_path)) as found:
        assert found.page.inner_text(".status") == "4 tensors in 4 rows"
        assert found.page.locator("#charts svg").count() == 1
        assert found.errors == []


@pytest.mark.parametrize("make", [reports.faulty, reports.hostile])
def test_island_of_an_audit(make: Any) -> None:
    """The element `data` has what `as_dict` returns, number for number, and the probe."""
    audit = make()
    assert reports.data_of(audit.to_html()) == {"kind": "audit", "audit": plain(audit.as_dict()), "probe": None}


def test_island_of_a_plan() -> None:
    """The element `data` has what `as_dict` returns."""
    expected = json.loads(json.dumps(plain(reports.plan().as_dict())))
    assert reports.data_of(reports.plan().to_html()) == {"kind": "plan", "plan": expected}


def test_the_page_can_be_written(tmp_path: Path) -> None:
    """Names that UTF-8 cannot hold are no obstacle; the file has what is returned."""
    text = reports.hostile().to_html(tmp_path / "report.html")
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == text
    assert [each.name for each in tmp_path.iterdir()] == ["report.html"]


def test_links_and_permissions_stay(tmp_path: Path) -> None:
    """A page that is replaced keeps its permissions, and the file that a link leads to is what is replaced."""
    page, link = tmp_path / "page.html", tmp_path / "link.html"
    page.write_text("old")
    page.chmod(0o600)
    link.symlink_to(page)
    text = reports.faulty().to_html(link)
    assert link.is_symlink()
    assert page.read_text(encoding="utf-8") == text
    assert page.stat().st_mode & 0o777 == 0o600


def test_an_old_page_stays_if_the_new_one_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page is written beside its place: if that fails, the old one is whole, and nothing else is left."""
    file = tmp_path / "report.html"
    file.write_text("old")

    def refuse(self: Path, target: Path) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(OSError, match="No space"):
        reports.plan().to_html(file)
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_no_folder(tmp_path: Path) -> None:
    """A folder that is not there is the user's error."""
    with pytest.raises(FileNotFoundError):
        reports.plan().to_html(tmp_path / "none" / "report.html")


def test_many_tensors_stay_small() -> None:
    """A tensor takes less than a kilobyte beside the charts."""
    assert len(reports.large().to_html()) < 10_000 * 1000


def test_sparkline_counts_the_values() -> None:
    """The bars are the histogram of the values, and the shape is that of the law's, to a digit of 36."""
    values = fanin.RandomNormal(stddev=0.02, seed=1)((200, 200))
    plan = fanin.Recipe([{"path": "*", "initializer": "random_normal", "stddev": 0.02}], seed=1).plan(
        [{"path": "w", "shape": [200, 200], "layout": "keras"}]
    )
    made = Sparklines.of(fanin.audit({"w": values}, plan).tensors)
    assert made.lines[0] is not None
    digits = np.array([int(each, 36) for each in made.lines[0][0]])
    edges = np.linspace(-0.06, 0.06, BARS + 1)
    edges[0], edges[-1] = -1, 1
    counts = np.histogram(values, edges)[0]
    assert np.abs(digits - 35 * counts / counts.max()).max() <= 1.5
    stats = pytest.importorskip("scipy.stats")
    shares = np.diff(stats.norm.cdf(np.linspace(-3, 3, BARS + 1)))
    law = np.array([int(each, 36) for each in made.laws[made.lines[0][1]]])
    assert np.abs(law - 35 * shares / shares.max()).max() <= 0.51


def test_constants_have_no_sparkline() -> None:
    """A tensor whose elements are equal has no bars."""
    assert Sparklines.of(fanin.audit({"fc.bias": np.zeros(64, np.float32)}).tensors).lines == [None]


def test_thresholds_are_those_in_force() -> None:
    """The appendix names the significance and the standard errors that verdicts use."""
    text = reports.faulty().to_html()
    assert f"from {STANDARD_ERRORS:g} standard errors on" in text
    assert f"once in {1 / SIGNIFICANCE:,.0f} times" in text


def test_initializers_that_occur_are_explained() -> None:
    """The appendix has the formulas of the initializers that occur, as their own descriptions have them."""
    text = reports.plan().to_html()
    assert "<code>limit = sqrt(6 / fan_in)</code>" in text
    assert "Delving Deep into Rectifiers" in text
    assert "GlorotUniform" not in text


def test_every_code_is_explained() -> None:
    """Each code that the source gives a problem has a meaning."""
    given = r'(?:Problem|_suspicious|_broken)\(\s*"([a-z-]+)"'
    found = {code for path in SOURCES.rglob("*.py") for code in re.findall(given, path.read_text(encoding="utf-8"))}
    assert len(found) > 10
    assert found <= set(CODES)
    assert set(MEANINGS) == set(KINDS)


@pytest.mark.parametrize("code", CODES)
def test_every_code_is_in_the_documentation(code: str) -> None:
    """The page on audits has each code."""
    assert f"`{code}`" in (PAGES / "audit.md").read_text(encoding="utf-8")


def test_probe(browser: Any, tmp_path: Path) -> None:
    """The data of a probe gives charts of signal and gradient; what it finds is a finding, with what to do."""
    path = reports.written(reports.faulty().to_html(probe=PROBE), tmp_path)
    assert reports.data_of(path.read_text())["probe"] == PROBE
    with opened(browser, path) as found:
        titles = found.page.locator("#charts figcaption").all_inner_texts()
        assert titles[-2:] == ["Signal by depth", "Gradient by depth"]
        assert "In the probe: signal explodes." in found.page.inner_text(".masthead .lead")
        [told] = [each for each in found.page.locator(".finding").all() if "signal explodes" in each.inner_text()]
        assert "× 3 a layer." in told.inner_text()
        assert ADVICE["signal explodes"] in told.inner_text()


def test_findings_come_by_how_bad_they_are() -> None:
    """What is not finite in a probe is broken, and stands before what is suspicious in the tensors or the probe."""
    verdicts = [{"word": word, "sentence": "three"} for word in ("dead", "not finite")]
    found = reports.data_of(reports.faulty().to_html(probe={**PROBE, "verdicts": verdicts}), "view")["findings"]
    kinds = [each["kind"] for each in found]
    assert kinds == sorted(kinds)  # broken, then suspicious
    assert {each["code"]: each["kind"] for each in found if each["path"] == "probe of Net"} == {
        "not finite": "broken",
        "dead": "suspicious",
    }
    assert {"broken", "suspicious"} == {each["kind"] for each in found if each["path"] != "probe of Net"}


def test_a_probe_of_good_tensors(browser: Any, tmp_path: Path) -> None:
    """Where all tensors are as they should be, the head still says what the probe found, or that it is in order."""
    audit = fanin.audit({"fc.weight": fanin.HeNormal(seed=1)((64, 32))})
    ok = {**PROBE, "verdicts": [{"word": "ok", "sentence": "signal × 1 a layer"}]}
    for number, (probe, tone, text) in enumerate(
        [(PROBE, "warn", "In the probe: signal explodes."), (ok, "good", "Probe: ok: signal × 1 a layer.")]
    ):
        path = reports.written(audit.to_html(probe=probe), tmp_path, f"{number}.html")
        with opened(browser, path) as found:
            assert tone in found.page.locator(".masthead .lead").get_attribute("class").split()
            assert text in found.page.inner_text(".masthead")
            assert found.page.locator(".finding").count() == (tone == "warn")


@pytest.mark.parametrize(
    ("path", "names", "is_other"),
    [
        ("fc", ["fc.weight"], False),
        ("encoder.fc", ["model.encoder.fc.weight", "head.weight"], False),
        ("fc", ["model.fc.weight", "model.out.weight"], False),
        ("fc", ["layers/fc/vars/0", "layers/out/vars/0"], False),
        ("", ["weight"], False),
        ("fc", [], False),
        ("fc", ["h.0.fc.weight", "wte.weight"], True),
        ("fc", ["fc2.weight", "out.weight"], True),
    ],
)
def test_the_probe_of_another_model(path: str, names: list[str], is_other: bool) -> None:
    """Where no layer of the probe leads to a tensor, a note says so, whatever all names begin with."""
    audit = fanin.audit({name: fanin.HeNormal(seed=1)((64, 32)) for name in names})
    page = audit.to_html(probe={**PROBE, "layers": [{**LAYER, "path": path}]})
    assert ("The probe of Net seems to be of another model: no tensor is of one of its layers" in page) == is_other


def test_probe_of_a_model() -> None:
    """What `probe` returns may be given as it is."""
    torch = pytest.importorskip("torch")
    import fanin.torch

    model = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.ReLU(), torch.nn.Linear(8, 4))
    probe = fanin.torch.probe(model, torch.randn(32, 8))
    page = fanin.audit(model).to_html(probe=probe)
    assert reports.data_of(page)["probe"] == plain(probe.as_dict())
    assert "Signal by depth" in page


@pytest.mark.parametrize(
    ("probe", "error", "message"),
    [
        (3, TypeError, "`probe` must be what `fanin.torch.probe` .* Received: 3 "),
        ({"a": 1}, ValueError, "Received: data with the keys 'a'"),
        ({**PROBE, "layers": [{"path": "x"}]}, ValueError, "each of its layers has path, call, std"),
        ({**PROBE, "layers": None}, ValueError, "whose layers are a list. Received: None"),
        ({**PROBE, "verdicts": None}, ValueError, "whose verdicts are a list. Received: None"),
        ({**PROBE, "verdicts": [{"word": 3, "sentence": ""}]}, ValueError, "word of each of its verdicts must be text"),
        ({**PROBE, "layers": [{**LAYER, "verdict": "ok"}]}, ValueError, "verdict on each of its layers has word"),
        (
            {**PROBE, "layers": [{**LAYER, "std": "1"}]},
            ValueError,
            "std of each of its layers must be a number or null",
        ),
        ({**PROBE, "layers": [{**LAYER, "std": 10**400}]}, ValueError, "std of each of its layers must be a number"),
        ({**PROBE, "layers": [{**LAYER, "path": 3}]}, ValueError, "path of each of its layers must be text"),
    ],
)
def test_no_probe(probe: Any, error: type[Exception], message: str) -> None:
    """What is no probe is refused."""
    with pytest.raises(error, match=message):
        reports.faulty().to_html(probe=probe)


def test_plan_that_does_not_fit(browser: Any, tmp_path: Path) -> None:
    """Parameters without a rule are findings, and counted."""
    plan = fanin.Recipe([{"path": "h.*", "initializer": "he_normal"}], seed=1).plan(reports.shapes())
    with opened(browser, reports.written(plan.to_html(), tmp_path)) as found:
        assert found.page.inner_text(".lead") == "The recipe does not fit the model."
        assert found.page.locator(".finding h3").all_inner_texts() == ["embed.weight", "head.weight"]
        found.page.click("[data-verdict=unmatched]")
        assert found.page.inner_text(".status") == "2 of 18 parameters"
        assert (found.errors, found.requests) == ([], [])


def test_plan(browser: Any, tmp_path: Path) -> None:
    """A parameter of a plan is shown with its rule, its initializer, and its seed."""
    with opened(browser, reports.written(reports.plan().to_html(), tmp_path)) as found:
        assert found.page.inner_text(".lead") == "Every parameter gets its values."
        found.page.fill("[name=search]", "embed")
        found.page.click(".treegrid .spacer .row >> nth=0")
        text = found.page.inner_text(".detail")
        entry = reports.plan().entry("embed.weight")
        assert entry.description in text
        assert str(entry.seeds[0]) in text
        assert found.faults() == []


def test_missing_parameters_are_findings() -> None:
    """A parameter that a checkpoint lacks is a finding, and so is the sentence on the whole."""
    made = {each.path: each.make() for each in reports.plan().entries if each.path != "head.weight"}
    page = fanin.audit(made, reports.plan()).to_html()
    [finding] = reports.data_of(page, "view")["findings"]
    assert (finding["code"], finding["path"]) == ("missing", "head.weight")
    assert "1 parameter missing." in markup.unescape(page)


def test_empty() -> None:
    """No tensors are no error."""
    assert "There are no tensors." in fanin.audit({}).to_html()


def test_transformers() -> None:
    """A model of transformers, built offline, as it was initialized."""
    pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    config = transformers.GPT2Config(n_layer=2, n_embd=64, n_head=2, vocab_size=200, n_positions=32)
    page = fanin.audit(transformers.GPT2LMHeadModel(config)).to_html()
    assert reports.data_of(page)["audit"]["ok"]
    assert any(path.startswith("transformer.h.[0-1].") for path, _ in reports.data_of(page, "view")["rows"])


def test_keras(browser: Any, tmp_path: Path) -> None:
    """A model of Keras, whose names have slashes, as a tree."""
    keras = pytest.importorskip("keras")
    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(16, name="a"), keras.layers.Dense(4, name="b")])
    with opened(browser, reports.written(fanin.audit(model).to_html(), tmp_path)) as found:
        assert found.page.locator(".treegrid .branch .named bdi").all_inner_texts() == ["a", "b"]
        assert found.errors == []


def test_rules_that_are_not_used(browser: Any, tmp_path: Path) -> None:
    """A plan with rules that fit nothing says so first; rules are called by their number and name."""
    rules = [
        {"path": "none.*", "name": "of another model", "initializer": "zeros"},
        {"path": "*", "name": "all", "initializer": "random_normal", "stddev": 0.02},
    ]
    plan = fanin.Recipe(rules, seed=1).plan(reports.shapes())
    with opened(browser, reports.written(plan.to_html(), tmp_path), width=1440) as found:
        lead = found.page.locator(".lead")
        assert lead.inner_text() == "Every parameter gets its values, but 1 of 2 rules is not used."
        assert "warn" in str(lead.get_attribute("class"))
        assert "No parameter uses rule 1 “of another model”" in found.page.inner_text(".masthead")
        assert found.page.locator(".spacer .cell.rule").first.inner_text() == "2: all"
        assert "are all 0.02." in found.page.inner_text("#charts")
        assert "Rule 2 “all” has 100 % of the" in found.page.inner_text("#charts")


def test_writers_of_one_page(tmp_path: Path) -> None:
    """Several writers of one page do not disturb one another, and leave nothing beside it."""
    page = "x" * 300_000
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: write_page(page, tmp_path / f"{'n' * 240}.html"), range(100)))
    assert [(each.name[-5:], each.read_text()) for each in tmp_path.iterdir()] == [(".html", page)]


@pytest.mark.parametrize("make", [lambda: fanin.audit({}), reports.plan], ids=["audit", "plan"])
@pytest.mark.parametrize(
    ("place", "error", "message"),
    [
        ("no/such/x.html", FileNotFoundError, r"must be in a folder that exists\. Received: 'no/such/x\.html'\."),
        ("folder.html", IsADirectoryError, r"must be no folder\. Received: 'folder\.html'\."),
        ("x.txt", ValueError, r"The page must be a file that ends in \.html or \.htm\. Received: 'x\.txt'\."),
    ],
)
def test_places_of_pages(
    make: Any, place: str, error: type[Exception], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that cannot be a page is named as it was given, and nothing is written."""
    monkeypatch.chdir(tmp_path)
    Path("folder.html").mkdir()
    with pytest.raises(error, match=message):
        make().to_html(place)
    assert [each.name for each in tmp_path.iterdir()] == ["folder.html"]


@pytest.mark.parametrize("name", ["x.HTML", "x.htm"])
def test_ends_of_pages(name: str, tmp_path: Path) -> None:
    """Both ends will do, in letters of any case."""
    page = fanin.audit({}).to_html(tmp_path / name)
    assert (tmp_path / name).read_text(encoding="utf-8") == page


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("text.safetensors", b"This is a text, and no checkpoint at all."),
        ("empty.safetensors", b""),
        ("pickle.pt", b"\x80\x04N."),
        ("short.safetensors", b"\x88\x13" + bytes(6) + b'{"a"'),
    ],
)
def test_files_that_are_no_checkpoints(name: str, content: bytes, tmp_path: Path) -> None:
    """They have a page, whose finding asks whether they are checkpoints; that there are no tensors says nothing new."""
    (tmp_path / name).write_bytes(content)
    audit = fanin.audit(tmp_path / name)
    [finding] = reports.data_of(audit.to_html(), "view")["findings"]
    assert finding["code"] == "unreadable"
    assert finding["advice"].startswith("Is it a checkpoint, and of the format that its name says?")
    assert audit.notes == ()
