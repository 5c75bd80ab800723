"""What the page of an audit explains: verdicts, problems, columns, thresholds, charts, and the initializers in it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from fanin.audits.audited import AuditedTensor
from fanin.audits.verdicts import CODES, MEANINGS, SIGNIFICANCE, STANDARD_ERRORS
from fanin.initializers import NAMES, Initializer
from fanin.recipes.pages import formulas
from fanin.report import number
from fanin.report.markup import element
from fanin.report.pages import Part, definitions, prose

_COLUMNS = (
    ("std", "the standard deviation of the elements; of a row of several tensors, the smallest and the largest"),
    (
        "std ÷ expected",
        "the same, divided by the standard deviation that is expected: `× 1` is right. The bar reaches from 1 to the "
        "ratio, on a logarithmic scale from 1/4 to 4",
    ),
    (
        "values",
        "how the values are spread. The bars are the tensor's, from a sample of at most 65,536 elements; the line is "
        "what is expected. Both reach three expected standard deviations to each side, or 6, 12, … where values are "
        "spread wider",
    ),
    ("verdict", "what the tensor is; see below"),
    ("what it is", "the initializer that it is consistent with, or the codes of what is wrong"),
)
_CHARTS = (
    (
        "Density",
        "bars are the density of the values, the line that of the law; guides mark the law's bounds",
    ),
    (
        "Quantiles",
        "each dot is a quantile of the values over the same quantile of the law. Equal distributions lie on the line "
        "`y = x`; the band is where chance may take them",
    ),
    (
        "Singular values",
        "of a block of the tensor as an m×n matrix, beside the law of Marchenko and Pastur (1967) for independent "
        "elements of standard deviation σ. With `s` a singular value and `s± = σ (√m ± √n)`, its density is "
        "`√((s₊² − s²)(s² − s₋²)) / (π σ² min(m, n) s)`",
    ),
    ("Rounding", "how far the dtype's steps take values, beside narrower dtypes"),
    ("std ÷ expected", "a dot for each tensor, in the order of the model; diamonds have findings"),
    ("Signal and gradient by depth", "standard deviations that a probe has measured in each layer, beside theory"),
)
_THRESHOLDS = (
    f"A moment is wrong from {number(STANDARD_ERRORS)} standard errors on, and any other statistic if chance would "
    f"give it less than once in {1 / SIGNIFICANCE:,.0f} times (p < {SIGNIFICANCE:g}).",
    "With `n` elements of standard deviation `σ` and kurtosis `κ`, the standard error of the mean is `σ / √n`, that of "
    "the standard deviation `σ √((κ − 1) / 4n)`. Rounding to narrow dtypes is allowed for.",
    "Two distribution functions are too far apart by the test of Kolmogorov and Smirnov: the largest distance `D` "
    "between them is compared with what `√n D` exceeds by chance.",
)


def appendix_of(tensors: Iterable[AuditedTensor]) -> list[Part]:
    """What explains the page of these tensors."""
    listed = list(tensors)
    occurring = {problem.code for each in listed for problem in each.verdict.problems}
    codes = [(code, meaning) for code, meaning in CODES.items() if code in occurring]
    others = [(code, meaning) for code, meaning in CODES.items() if code not in occurring]
    initializers = formulas(_classes(listed))
    parts = [
        Part("Columns", definitions(_COLUMNS)),
        Part("Verdicts", definitions(list(MEANINGS.items()))),
        Part("Problems", _problems(codes, others)),
        Part("Thresholds", "".join(element("p", prose(each)) for each in _THRESHOLDS)),
        Part("Charts", definitions(_CHARTS)),
    ]
    return [*parts, Part("Initializers that occur here", initializers)] if initializers else parts


def _problems(codes: list[tuple[str, str]], others: list[tuple[str, str]]) -> str:
    """The codes of problems: those that occur, then the others."""
    if not codes:
        return definitions(others)
    return definitions(codes) + element("h4", "Problems that do not occur here") + definitions(others)


def _classes(tensors: Iterable[AuditedTensor]) -> Iterator[type[Initializer]]:
    """The classes of initializers that tensors are said to have come from."""
    for each in tensors:
        for words in (each.expected, *each.verdict.fits):
            name = words.partition("(")[0].strip().replace(" ", "_")
            if name in NAMES:
                yield NAMES[name]
