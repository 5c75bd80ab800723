"""The command line: exact output, exit codes, what goes to which stream, and what `--help` may not import."""

import importlib
import json
import os
import subprocess
import sys
from typing import Any

import pytest

import fanin

click_testing = pytest.importorskip("click.testing")
pytest.importorskip("rich")
cli = importlib.import_module("fanin.cli")

ISSUE = ["show", "he_normal", "--shape", "3x3x64x128", "--seed", "1", "--dtype", "bfloat16"]
ISSUE_OUTPUT = """\
HeNormal  3x3x64x128  bfloat16  truncated_normal(mean=0, stddev=0.0668945)
n 73,728  144 KiB  -0.134 … 0.134  mean 0.000139  std 0.0589  ▂▃▄▅▆▇████▇▆▅▄▃▂

            measured     theory  difference
mean     0.000138953          0  +0.64 s.e.
std        0.0589002  0.0588409  +0.47 s.e.
min        -0.133789  -0.133789      within
max         0.133789   0.133789      within
fan_in       574.842        576  -0.47 s.e.
fan_out            –       1152           –

-0.134  ██████████│                                                   1,346
-0.117  ████████████████│                                             2,115
-0.100  ██████████████████████│                                       2,877
-0.084  ███████████████████████████████│                              4,088
-0.067  ██████████████████████████████████████████│                   5,373
-0.050  ████████████████████████████████████████████████│▎            6,281
-0.033  ████████████████████████████████████████████████████████│     7,142
-0.017  ██████████████████████████████████████████████████████████▎│  7,423
 0.000  ███████████████████████████████████████████████████████████│  7,622
 0.017  ████████████████████████████████████████████████████████│     7,168
 0.033  █████████████████████████████████████████████████│▎           6,413
 0.050  █████████████████████████████████████████│                    5,320
 0.067  ████████████████████████████████│                             4,193
 0.084  ██████████████████████│                                       2,854
 0.100  ████████████████│                                             2,170
 0.117  ██████████│                                                   1,343
        █ measured  │ theory

fanin.HeNormal(seed=1)((3, 3, 64, 128), dtype="bfloat16")
"""


def run(*arguments: str, **environment: str | None) -> Any:
    """The outcome of a command, in an environment without settings of the machine's."""
    clean = dict.fromkeys(("NO_COLOR", "FORCE_COLOR", "COLUMNS", "TERM", "COLORTERM"))
    return click_testing.CliRunner(env={**clean, **environment}).invoke(cli.main, arguments, prog_name="fanin")


def python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A fresh interpreter's outcome."""
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)


def test_the_example_of_the_issue() -> None:
    """All of the output, to the character."""
    outcome = run(*ISSUE)
    assert outcome.stdout == ISSUE_OUTPUT
    assert outcome.stderr == ""
    assert outcome.exit_code == 0


def test_json() -> None:
    """One line, one object, the documented keys, and nothing else."""
    outcome = run(*ISSUE, "--json", FORCE_COLOR="1", TERM="xterm-256color")
    assert (outcome.stdout.count("\n"), outcome.stderr, outcome.exit_code) == (1, "", 0)
    shown = json.loads(outcome.stdout)
    histogram, statistics = shown.pop("histogram"), shown.pop("statistics")
    assert shown == {
        "initializer": "HeNormal",
        "arguments": {"seed": 1},
        "shape": [3, 3, 64, 128],
        "dtype": "bfloat16",
        "kind": "truncated_normal",
        "parameters": {"mean": 0.0, "stddev": 0.06689453125},
        "count": 73728,
        "bytes": 147456,
        "agrees": True,
        "sparkline": "▂▃▄▅▆▇████▇▆▅▄▃▂",
        "python": 'fanin.HeNormal(seed=1)((3, 3, 64, 128), dtype="bfloat16")',
    }
    assert list(histogram) == ["edges", "counts", "expected"]
    assert [len(values) for values in histogram.values()] == [17, 16, 16]
    assert list(statistics) == ["mean", "std", "min", "max", "fan_in", "fan_out"]
    for statistic in statistics.values():
        assert list(statistic) == ["measured", "theory", "standard_error", "difference", "agrees"]
    assert statistics["max"] == {
        "measured": 0.1337890625,
        "theory": 0.1337890625,
        "standard_error": None,
        "difference": None,
        "agrees": True,
    }
    assert statistics["fan_out"]["measured"] is None


def test_json_has_no_infinities() -> None:
    """What is not finite is null."""
    shown = json.loads(run("show", "constant", "--set", "value=inf", "--shape", "3", "--json").stdout)
    assert shown["arguments"] == {"value": None}
    assert shown["statistics"]["mean"]["measured"] is None
    assert shown["histogram"]["edges"] == [None, None]


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        ("3x3x64x128", [3, 3, 64, 128]),
        ("3,3,64,128", [3, 3, 64, 128]),
        ("(3, 3)", [3, 3]),
        ("(3,)", [3]),
        ("7", [7]),
        ("0x3", [0, 3]),
        ("()", []),
        ("scalar", []),
    ],
)
def test_shapes(text: str, shape: list[int]) -> None:
    """Shapes as people write them."""
    assert json.loads(run("show", "ones", "--shape", text, "--json").stdout)["shape"] == shape


@pytest.mark.parametrize(
    ("arguments", "made"),
    [
        ("he_normal --seed -7 --shape 3x4", 'fanin.HeNormal(seed=-7)((3, 4), dtype="float32")'),
        ("zero --shape 3 --dtype bool", 'fanin.Zeros()((3,), dtype="bool")'),
        ("GlorotUniformV2 --set seed=3 --shape 3", 'fanin.GlorotUniform(seed=3)((3,), dtype="float32")'),
        (
            "random_normal --set stddev=0.02 --set mean=1e-3 --seed 2 --shape 5 --dtype half",
            'fanin.RandomNormal(mean=0.001, stddev=0.02, seed=2)((5,), dtype="float16")',
        ),
        (
            "variance_scaling --set mode=fan_out --set scale=2 --set distribution=Normal --seed 1 --shape 5x6",
            'fanin.VarianceScaling(scale=2, mode="fan_out", distribution="truncated_normal", seed=1)'
            '((5, 6), dtype="float32")',
        ),
        (
            "random_uniform --set minval=none --set maxval=None --seed 1 --shape 9 --dtype int32",
            'fanin.RandomUniform(minval=None, maxval=None, seed=1)((9,), dtype="int32")',
        ),
        ("constant --set value=true --shape 2 --dtype bool", 'fanin.Constant(value=True)((2,), dtype="bool")'),
        (
            "constant --set value=1+2j --shape 2 --dtype complex64",
            'fanin.Constant(value=(1+2j))((2,), dtype="complex64")',
        ),
        ("constant --set value=nan --shape 2", 'fanin.Constant(value=float("nan"))((2,), dtype="float32")'),
        ("orthogonal --set gain=-2 --seed 1 --shape 3x4", 'fanin.Orthogonal(gain=-2, seed=1)((3, 4), dtype="float32")'),
    ],
)
def test_the_line_of_python(arguments: str, made: str) -> None:
    """Arguments reach the class, and the line is the last one shown; running it gives what JSON was measured on."""
    shown = run("show", *arguments.split())
    assert (shown.stdout.splitlines()[-1], shown.stderr, shown.exit_code) == (made, "", 0)
    as_json = json.loads(run("show", *arguments.split(), "--json").stdout)
    assert as_json["python"] == made
    array = eval(made, {"fanin": fanin})
    assert as_json["bytes"] == array.nbytes
    if array.dtype.kind == "f" and array.max() == array.max():
        assert as_json["statistics"]["max"]["measured"] == float(array.max())


@pytest.mark.parametrize("name", ["glorot_uniform", "truncated_normal", "orthogonal"])
def test_without_a_seed(name: str) -> None:
    """The seed drawn is in the line, and with it the command shows the same."""
    shown = json.loads(run("show", name, "--shape", "20x30", "--json").stdout)
    seed = str(shown["arguments"]["seed"])
    assert f"seed={seed})" in shown["python"]
    assert json.loads(run("show", name, "--shape", "20x30", "--seed", seed, "--json").stdout) == shown


def test_floatx() -> None:
    """The default dtype is that of the settings."""
    with fanin.config.using(floatx="bfloat16"):
        assert json.loads(run("show", "ones", "--shape", "3", "--json").stdout)["dtype"] == "bfloat16"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            "he_norml --shape 3",
            "NAME must be the name of an initializer. Received: 'he_norml'. Did you mean 'he_normal'?",
        ),
        ("HeNorml --shape 3", "NAME must be the name of an initializer. Received: 'HeNorml'. Did you mean 'HeNormal'?"),
        (
            "zzz --shape 3",
            "NAME must be the name of an initializer. Received: 'zzz'. `fanin show --list` lists all names.",
        ),
        (
            "Initializer --shape 3",
            "NAME must be the name of an initializer. Received: 'Initializer'. `fanin show --list` lists all names.",
        ),
        (
            "ones --shape 3xx4",
            "--shape must be whole numbers joined by x or commas, such as 3x3x64x128. Received: '3xx4'.",
        ),
        (
            "ones --shape -1x3",
            "`shape` must be a sequence of non-negative integers. Received: shape=(-1, 3), which contains -1.",
        ),
        ("ones --shape 3 --dtype flaot32", "Cannot convert value 'flaot32' to a dtype. Did you mean 'float32'?"),
        (
            "he_normal --shape 3 --set sed=1",
            "For HeNormal, ARG must be one of seed, in_axis, out_axis, batch_axis. Received: 'sed=1'. "
            "Did you mean 'seed'?",
        ),
        ("ones --shape 3 --seed 1", "For Ones, there are no arguments. Received: 'seed=1'."),
        ("he_normal --shape 3 --set seed", "--set must be ARG=VALUE, such as stddev=0.02. Received: 'seed'."),
        (
            "he_normal --shape 3 --set seed=2 --seed 1",
            "An argument can be given only once. Received: seed=2 and 'seed=1'.",
        ),
        (
            "he_normal --shape 3 --set seed=1.5",
            "`seed` must be an integer or None. Received: seed=1.5 (of type float).",
        ),
        (
            "random_normal --shape 3 --set stddev=big",
            "`stddev` must be a real number or a scalar tensor. Received: stddev='big' (of type str).",
        ),
        (
            "orthogonal --shape 3",
            "The tensor to initialize must be at least two-dimensional. Received: shape=(3,) of rank 1.",
        ),
        (
            "ones --shape 4611686018427387904",
            "Unable to allocate 16 EiB for a tensor of shape (4611686018427387904,) and dtype float32.",
        ),
    ],
)
def test_wrong_usage(arguments: str, message: str) -> None:
    """One line on stderr, nothing on stdout, exit code 2."""
    outcome = run("show", *arguments.split())
    assert outcome.stderr == f"Error: {message}\n"
    assert (outcome.stdout, outcome.exit_code) == ("", 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("show", "Give the NAME of an initializer and a --shape, or --list."),
        ("show ones", "Give the NAME of an initializer and a --shape, or --list."),
        ("show ones --shape 3 --seed x", "Invalid value for '--seed': 'x' is not a valid integer."),
        ("shwo", "No such command 'shwo'."),
        ("audit model.npz", "No such command 'audit'. Did you mean 'check'?"),
        ("compare-checkpoints a b", "No such command 'compare-checkpoints'. Did you mean 'diff'?"),
    ],
)
def test_wrong_options(arguments: str, message: str) -> None:
    """click's own messages: the usage before them, exit code 2."""
    outcome = run(*arguments.split())
    assert f"Error: {message}" in outcome.stderr
    assert (outcome.stdout, outcome.exit_code) == ("", 2)


def test_an_array_that_is_not_as_theory_says() -> None:
    """Exit code 1, the reason on stderr, the report on stdout all the same: float16 overflows between these bounds."""
    arguments = ["show", "random_uniform", "--set", "minval=-6e4", "--set", "maxval=6e4", "--seed", "1"]
    arguments += ["--shape", "100x100"]
    outcome = run(*arguments, "--dtype", "float16")
    assert outcome.exit_code == 1
    assert outcome.stderr == (
        "The array does not agree with theory: min is nan, beyond the bound -60000; max is nan, beyond the bound "
        "60000.\n"
    )
    assert outcome.stdout.startswith("RandomUniform  100x100  float16  uniform(minval=-60000, maxval=60000)\n")
    as_json = run(*arguments, "--dtype", "float16", "--json")
    assert (json.loads(as_json.stdout)["agrees"], as_json.exit_code) == (False, 1)
    assert run(*arguments).exit_code == 0  # as float32


def test_list() -> None:
    """Every initializer, its arguments with their defaults, and what it does."""
    outcome = run("show", "--list")
    assert (outcome.stderr, outcome.exit_code) == ("", 0)
    lines = outcome.stdout.splitlines()
    assert lines[:2] == ["random_normal(mean=0.0, stddev=0.05, seed=None)", "    Draws from a normal distribution."]
    axes = "in_axis=-2, out_axis=-1, batch_axis=()"
    assert f'variance_scaling(scale=1.0, mode="fan_in", distribution="truncated_normal", seed=None, {axes})' in lines
    one = run("show", "he_normal", "--list").stdout
    assert one == f"he_normal(seed=None, {axes})\n    The He normal initializer.\n"


def test_list_as_json() -> None:
    """The same as data; each name is one that `show` takes."""
    entries = json.loads(run("show", "--list", "--json").stdout)["initializers"]
    assert {entry["class"] for entry in entries} == {
        cls.__name__
        for name in fanin.__all__
        if isinstance(cls := getattr(fanin, name), type)
        and issubclass(cls, fanin.Initializer)
        and name[0].isupper()
        and name not in ("Initializer", "SeededInitializer")
    }
    for entry in entries:
        assert list(entry) == ["name", "class", "arguments", "description"]
        assert fanin.initializers.NAMES[entry["name"]].__name__ == entry["class"]
        assert entry["description"].endswith(".")
    assert {key: value for key, value in entries[9].items() if key != "description"} == {
        "name": "identity",
        "class": "Identity",
        "arguments": {"gain": 1.0, "batch_axis": []},
    }


@pytest.mark.parametrize(
    ("environment", "coloured"),
    [
        ({"FORCE_COLOR": "1", "TERM": "xterm-256color"}, True),
        ({"FORCE_COLOR": "1", "TERM": "xterm-256color", "NO_COLOR": ""}, True),
        ({"FORCE_COLOR": "1", "TERM": "xterm-256color", "NO_COLOR": "1"}, False),
        ({"FORCE_COLOR": "1", "TERM": "dumb"}, False),
        ({"TERM": "xterm-256color"}, False),  # a pipe
    ],
)
def test_colours(environment: dict[str, str], coloured: bool) -> None:
    """Escape codes only where a person can see them and has not refused; without them the text is the same."""
    outcome = run(*ISSUE, **environment)
    assert ("\x1b[" in outcome.stdout) is coloured
    assert coloured or outcome.stdout == ISSUE_OUTPUT
    assert ("\x1b[" in run("show", "--list", **environment).stdout) is coloured


def test_width() -> None:
    """COLUMNS is honoured, down to less than anyone has."""
    lines = run(*ISSUE, COLUMNS="60").stdout.splitlines()
    assert max(map(len, lines)) == 60
    assert run(*ISSUE, COLUMNS="20").exit_code == 0


def test_help() -> None:
    """Examples to copy, which work. (Those of `fanin --help` need files: tests/docs/test_snippets.py runs them.)"""
    outcome = run("show", "--help")
    assert outcome.exit_code == 0
    examples = [line.split() for line in outcome.stdout.splitlines() if line.startswith("    fanin ")]
    assert len(examples) == 2
    for example in examples:
        assert run(*example[1:]).exit_code == 0


def test_version() -> None:
    """`--version` prints the version."""
    assert run("--version").stdout == f"fanin {fanin.__version__}\n"


@pytest.mark.parametrize("module", ["fanin", "fanin.cli"])
def test_python_m(module: str) -> None:
    """`python -m` is the command line, too, and calls itself fanin."""
    command = [sys.executable, "-m", module]
    version = subprocess.run([*command, "--version"], capture_output=True, text=True, check=False)
    assert (version.stdout, version.stderr, version.returncode) == (f"fanin {fanin.__version__}\n", "", 0)
    wrong = subprocess.run([*command, "shwo"], capture_output=True, text=True, check=False)
    assert wrong.stderr.startswith("Usage: fanin [OPTIONS] COMMAND [ARGS]...\n")
    assert (wrong.stdout, wrong.returncode) == ("", 2)


IMPORTED = """
import sys
from fanin.cli import main
try:
    main(sys.argv[1:])
finally:
    print(sorted({"numpy", "ml_dtypes", "rich.console"} & set(sys.modules)), file=sys.stderr)
"""


def test_help_imports_nothing_heavy() -> None:
    """Help and version load neither NumPy nor the parts of rich; showing an array, which must load them, does."""
    for arguments in (["--help"], ["show", "--help"], ["--version"]):
        assert python(IMPORTED, *arguments).stderr == "[]\n"
    shown = python(IMPORTED, "show", "ones", "--shape", "3")
    assert shown.stderr == "['ml_dtypes', 'numpy', 'rich.console']\n"


@pytest.mark.parametrize("missing", ["click", "rich"])
def test_a_missing_extra(missing: str) -> None:
    """Without click or rich there is one sentence that says what to install."""
    outcome = python(f"import sys; sys.modules[{missing!r}] = None; import fanin.cli")
    assert outcome.stderr == f"The command line needs {missing}: install `fanin[cli]`.\n"
    assert (outcome.stdout, outcome.returncode) == ("", 2)


def test_a_wrong_setting() -> None:
    """A setting that fanin refuses when it is imported is wrong usage, too, and no traceback."""
    command = [sys.executable, "-m", "fanin.cli", "show", "ones", "--shape", "3"]
    environment = {**os.environ, "FANIN_FLOATX": "flaot32"}
    outcome = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert outcome.stderr.startswith("Error: FANIN_FLOATX must be one of")
    assert (outcome.stderr.count("\n"), outcome.stdout, outcome.returncode) == (1, "", 2)


@pytest.mark.parametrize("arguments", [ISSUE, [*ISSUE, "--json"], ["show", "--list"]])
def test_a_reader_that_leaves(arguments: list[str]) -> None:
    """`| head -1` gets its line, and a pipe that nobody reads gives no traceback."""
    command = [sys.executable, "-m", "fanin.cli", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""


def test_a_terminal_without_unicode() -> None:
    """Characters that it cannot show become question marks, not a traceback."""
    command = [sys.executable, "-m", "fanin.cli", *ISSUE]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "COLUMNS": "80"}
    outcome = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert (outcome.stderr, outcome.returncode) == ("", 0)
    assert outcome.stdout == ISSUE_OUTPUT.encode("ascii", "replace").decode()
