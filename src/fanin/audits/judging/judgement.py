"""The verdict on a tensor, from its statistics: does it have the law that is expected, or a law that is known at all?

`judge` sees one tensor; `reconciled` sees the verdicts of a whole checkpoint, since one that is trained has tensors
that are too small to show it. Damage, such as NaN or dead rows, is found elsewhere; `allowed_of` says what is none in a
tensor of this role and law.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from fanin.audits.damage import Allowed
from fanin.audits.garbage import LEAST_SPREAD, MOST_SPREAD
from fanin.audits.judging.candidates import Candidate, candidates_of
from fanin.audits.judging.diagnosis import diagnosed, free_fit, grain, is_clipped, is_heavy, number_of_pieces
from fanin.audits.judging.fitting import Fit, Observed, fit, has_strays, is_float, may_fit, observed
from fanin.audits.judging.laws import Law
from fanin.audits.judging.roles import Role
from fanin.audits.statistics import Statistics
from fanin.audits.verdicts import SIGNIFICANCE, STANDARD_ERRORS, Problem, Verdict
from fanin.models.traits import STATISTICS
from fanin.report import number

_EQUAL, _UNKNOWN = "Every element is", "No initializer that is known"  # in reasons
_NOT_WHAT = "It is not what"  # in reasons, before the law that is expected
_FRESH = 8  # times as many tensors that are as they were initialized as tensors that look trained
_COMPUTED = "Each element tells something of the next: they were computed, not drawn."
_CLAMPED = (
    "({0.clamped} of {0.statistics.size:,} elements are exactly {0.statistics.low:g} or {0.statistics.high:g}, far "
    "beyond all others, as PyTorch's trunc_normal_ makes about one of 16 million.)"
)
_FAR_OFF = "It reaches from {0.statistics.low:g} to {0.statistics.high:g}, far beyond all elements but {0.clamped}."
_SHOWN = 3  # laws that a reason names
_TELLING = 5_000  # elements of a tensor whose fit is more than a lack of power
_MILD = frozenset(
    ("mean", "stddev", "transposed", "truncation", "residual", "distribution", "uneven", "coarse", "clipped")
)  # what training does to a tensor, too
_FEW = 30  # elements of a tensor that says nothing of its shape
# Roles whose parameters start as constants, so that others are trained.
_BIASES = ("bias", "recurrent_bias")
_CONSTANT_ROLES = ("scale", "offset", *_BIASES, *STATISTICS)


def allowed_of(role: Role, expected: Law | None = None) -> Allowed:
    """What is no damage in a tensor of this role, or of the law that is expected of it.

    >>> import numpy as np
    >>> from fanin.audits.judging.roles import roles_of
    >>> float32 = np.dtype("float32")
    >>> roles = roles_of({"fc.weight": ((64, 32), float32), "fc.bias": ((64,), float32)})
    >>> allowed_of(roles["fc.weight"]).constant, allowed_of(roles["fc.bias"]).constant
    (False, True)
    """
    padding = int(role.is_padded)
    if expected is not None:
        given = not expected.is_random
        dead = given or expected.allows_zeros
        far = not LEAST_SPREAD <= expected.stddev <= MOST_SPREAD
        # A bias that is zero where its law is random is not what was meant, but no units stay equal by it.
        constant = expected.is_constant or given or role.role in _BIASES
        constant = constant or expected.may_be_constant(math.prod(role.shape), SIGNIFICANCE)
        return Allowed(constant, dead, padding, given, any_size=given, any_spread=given or far)
    if not is_float(role.dtype):
        return Allowed(True, True, padding, True, True, True, True)
    drawn = role.role == "embedding" or (role.is_table and role.hint not in ("position", "token"))
    constant = not drawn or any(each.law.is_constant for each in candidates_of(role))
    any_size = not drawn and role.hint not in ("position", "token")
    return Allowed(
        constant, not drawn, padding, not drawn, any_size, any_spread=any_size, not_finite=role.hint == "mask"
    )


def judge(
    statistics: Statistics,
    role: Role,
    expected: Law | None = None,
    candidates: Sequence[Candidate] | None = None,
) -> Verdict:
    """The verdict on a tensor.

    Args:
        statistics: what was measured of it.
        role: its role, shape, dtype and fans.
        expected: the law that it should have; then it alone counts, and the candidates say what it looks like instead.
        candidates: the laws that it may have; by default those of its role.

    >>> import fanin, numpy as np
    >>> from fanin.audits.arrays import InMemory
    >>> from fanin.audits.judging.roles import roles_of
    >>> from fanin.audits.statistics import measure
    >>> array = fanin.HeNormal(seed=1)((512, 256))
    >>> role = roles_of({"dense.kernel": (array.shape, array.dtype)})["dense.kernel"]
    >>> law = Law.of(fanin.HeNormal().distribution((512, 256)), words="he_normal")
    >>> judge(measure(InMemory("dense.kernel", array)), role, law).kind
    'consistent'
    >>> verdict = judge(measure(InMemory("dense.kernel", 2 * array)), role, law)
    >>> verdict.kind, verdict.problems[0].code
    ('suspicious', 'stddev')
    """
    if role.dtype is None:
        return Verdict("unjudged", "Its dtype is not known.")
    tensor = observed(statistics, role.dtype, padded=role.is_padded, expected=expected)
    if tensor is None:
        return Verdict("unjudged", "It has no finite elements.")
    known = candidates_of(role) if candidates is None else tuple(candidates)
    verdict = _alone(tensor, role, known) if expected is None else _against(tensor, role, expected, known)
    if not tensor.clamped:
        return verdict
    if _clamps(tensor, expected):
        return replace(verdict, reason=f"{verdict.reason} {_CLAMPED.format(tensor)}")
    return verdict.with_problems((Problem("distribution", "suspicious", _FAR_OFF.format(tensor)),))


def law_of(statistics: Statistics, role: Role, verdict: Verdict) -> Law | None:
    """The law that a verdict names first, of a tensor of which none was expected; None if it names none.

    Args:
        statistics: what was measured of the tensor.
        role: its role.
        verdict: the verdict on it.
    """
    if not verdict.fits:
        return None
    for each in candidates_of(role):
        if each.words == verdict.fits[0]:
            return each.law
    tensor = None if role.dtype is None else observed(statistics, role.dtype, padded=role.is_padded)
    return None if tensor is None else free_fit(tensor)


def _clamps(tensor: Observed, law: Law | None) -> bool:
    """Whether elements far beyond all others are at the bounds of a law, or at -2 and 2, which are PyTorch's."""
    bounds = {-2.0, 2.0} if law is None or not math.isfinite(law.high) else {law.low, law.high}
    ends = [each for each in (tensor.statistics.low, tensor.statistics.high) if not tensor.low <= each <= tensor.high]
    return all(any(math.isclose(each, bound, rel_tol=1e-6) for bound in bounds) for each in ends)


# ---------------------------------------------------------------- with an expectation


def _against(tensor: Observed, role: Role, law: Law, candidates: Sequence[Candidate]) -> Verdict:
    """The verdict on a tensor that should have a law."""
    if role.role == "count":
        return _counted(tensor)
    if not law.is_random and not math.isfinite(law.stddev):
        return Verdict("unjudged", f"Nothing is known of the elements of {law.words}.")
    result = fit(tensor, law)
    if result.passes:
        verdict = Verdict("consistent", _agreement(result, tensor), (law.words,))
        return verdict.with_problems(grain(tensor, law, role.drawn))
    problem = diagnosed(tensor, role, result, candidates)
    if problem is None:
        return Verdict("trained", f"{_departure(tensor)} {_NOT_WHAT} {law.words} gives.")
    grains = () if tensor.is_constant else grain(tensor, law, role.drawn)
    others = [each for each in grains if each.code != problem.code]
    if "stddev" not in result.failures and any(each.code == "coarse" for each in others):
        return Verdict("unjudged", "").with_problems((*others, problem))  # few random bits explain the rest
    return Verdict("unjudged", "").with_problems((problem, *others))


def _counted(tensor: Observed) -> Verdict:
    """The verdict on a counter, which is 0 before training."""
    count = number(tensor.mean)
    return Verdict("trained", f"{count} batches were counted.") if tensor.mean else Verdict("consistent", "It is 0.")


def _agreement(result: Fit, tensor: Observed) -> str:
    """What agrees, with its numbers."""
    law = result.law
    if law.is_constant:
        return f"{_EQUAL} {number(tensor.mean)}."
    parts = []
    if math.isfinite(result.mean_errors):
        parts.append(f"the mean is {result.mean_errors:+.1f}")
    if math.isfinite(result.stddev_errors):
        parts.append(f"the standard deviation {result.stddev_errors:+.1f}")
    words = f" ({' and '.join(parts)} standard errors from it)" if parts else ""
    return f"It has the distribution of {law.words}{words}.{_of_strays(tensor, law)}"


def _of_strays(tensor: Observed, law: Law) -> str:
    """What to say of elements beyond a law's bounds that its library makes."""
    if not has_strays(tensor, law):
        return ""
    farthest = number(max(tensor.high, -tensor.low), 3)
    known = "Keras with PyTorch draws about 4 such in a million"
    return f" (Elements reach {farthest}, beyond {number(law.high, 3)}: {known}.)"


# ---------------------------------------------------------------- alone


def _alone(tensor: Observed, role: Role, candidates: Sequence[Candidate]) -> Verdict:
    """The verdict on a tensor of which nothing is known but its role."""
    if role.role == "count" and tensor.is_constant:
        return _counted(tensor)
    if tensor.has_few_values and tensor.size > _FEW and tensor.stored.itemsize > 1 and is_float(role.dtype):
        return Verdict("unjudged", _set_words(tensor))  # 8 bits leave few values of any law
    fits = _fits(tensor, candidates)
    if fits:
        law = fits[0].law
        verdict = Verdict("consistent", _several(fits, tensor), tuple(dict.fromkeys(each.words for each in fits)))
        return verdict.with_problems(grain(tensor, law, role.drawn))
    if tensor.is_constant:
        return Verdict("unjudged", f"{_EQUAL} {number(tensor.mean)}, which no known initializer gives.")
    if not is_float(role.dtype) or role.hint in ("optimizer", "rotary", "range", "average"):
        return Verdict("unjudged", "Nothing is known of what it should be.")
    if role.role in _CONSTANT_ROLES and not _is_gated(role):
        return Verdict("trained", "Its elements differ; an initializer would have made them all equal.")
    return _unknown(tensor, role)


def _is_gated(role: Role) -> bool:
    """Whether the elements of this role are computed by some layers, or drawn."""
    return role.hint in ("time_step", "norms") or (role.role in _BIASES and not role.fans)


def _unknown(tensor: Observed, role: Role) -> Verdict:
    """The verdict on a tensor that has none of the laws that are known for its role."""
    if number_of_pieces(tensor, role.shape):
        return Verdict("unjudged", "It consists of blocks of different spreads, each of independent elements.")
    if not role.is_table and tensor.follows_order:
        return Verdict("unjudged", _COMPUTED)
    if tensor.is_uneven:
        return Verdict("trained", _departure(tensor))
    free = None if tensor.follows_order else free_fit(tensor)
    if free is not None and tensor.size > _FEW:
        reason = f"Its elements are independent, as of {free.words}. {_UNKNOWN} has this spread here."
        return Verdict("consistent", reason, (free.words,)).with_problems(grain(tensor, free, role.drawn))
    if is_clipped(tensor, None):
        from_to = f"{number(tensor.low, 3)} and {number(tensor.high, 3)}"
        message = f"{tensor.at_low + tensor.at_high:,} elements are exactly {from_to}: it was clipped."
        return Verdict("unjudged", "").with_problems((Problem("clipped", "suspicious", message),))
    if (role.is_table or role.role in _BIASES) and tensor.size > _FEW and _departs(tensor):
        return Verdict("trained", _departure(tensor))
    if tensor.follows_order:
        return Verdict("unjudged", _COMPUTED)
    return Verdict("unjudged", "Its elements have no distribution that is known.")


def _set_words(tensor: Observed) -> str:
    """What is known of a tensor of two or three values, which neither training nor draws of any spread leave."""
    values = sorted({tensor.low, tensor.high, *((0.0,) if tensor.zeros else ())})
    *first, last = (number(each, 3) for each in values)
    shown = f"{', '.join(first)} and {last}"
    others = tensor.size - tensor.zeros
    rare = f" ({others:,} of {tensor.size:,} are not 0, as in an identity)" if others < tensor.zeros else ""
    return f"Its elements are only {shown}{rare}: they were set."


def _fits(tensor: Observed, candidates: Sequence[Candidate]) -> list[Candidate]:
    """The candidates that a tensor is consistent with."""
    results: dict[tuple[object, ...], bool] = {}
    for each in candidates:
        key = _key(each.law)
        if key not in results:
            results[key] = may_fit(tensor, each.law) and _is_of(tensor, each.law)
    return [each for each in candidates if results[_key(each.law)]]


def _is_of(tensor: Observed, law: Law) -> bool:
    is_drawn = law.is_smooth and law.independent
    return not (is_drawn and tensor.follows_order) and fit(tensor, law, whole=False).passes


def _key(law: Law) -> tuple[object, ...]:
    """What two laws of the same elements have in common, whatever their names."""
    return law.kind, law.mean, law.stddev, law.low, law.high, law.one_norm


def _several(fits: Sequence[Candidate], tensor: Observed) -> str:
    """What a tensor is consistent with, in words."""
    words = list(dict.fromkeys(each.words for each in fits))
    if fits[0].law.is_constant:
        return f"{_EQUAL} {number(tensor.mean)}."
    if len(words) == 1:
        return f"It has the distribution of {words[0]} ({fits[0].source}).{_of_strays(tensor, fits[0].law)}"
    shown = ", ".join(words[:_SHOWN])
    more = f" and {len(words) - _SHOWN} more" if len(words) > _SHOWN else ""
    return f"It is ambiguous: {shown}{more} cannot be told apart here."


def _departs(tensor: Observed) -> bool:
    """Whether tails or mean are those of trained weights."""
    return is_heavy(tensor) or _has_own_mean(tensor)


def _has_own_mean(tensor: Observed) -> bool:
    return abs(tensor.mean) * math.sqrt(tensor.size) > STANDARD_ERRORS * tensor.stddev


def _departure(tensor: Observed) -> str:
    """How a trained tensor shows that it is."""
    signs = []
    if tensor.is_uneven:
        signs.append(
            f"its rows differ in their spread ({number(tensor.unevenness, 3)} times as much as chance lets them)"
        )
    if tensor.size > _FEW and is_heavy(tensor):
        signs.append(f"its tails are heavy (a kurtosis of {number(tensor.kurtosis, 3)})")
    if tensor.size > _FEW and _has_own_mean(tensor):
        signs.append(f"its mean is not 0 ({number(tensor.mean, 3)})")
    words = ", ".join(signs) if signs else "it departs from every law that is known"
    return f"{words[0].upper()}{words[1:]}: it is trained."


def is_of_unknown_spread(verdict: Verdict) -> bool:
    """Whether a tensor is drawn, with a spread that no known initializer gives it."""
    return verdict.kind == "consistent" and _UNKNOWN in verdict.reason


# ---------------------------------------------------------------- a whole checkpoint


def reconciled(
    judged: Mapping[str, tuple[Role, Verdict]], odd: Mapping[str, Problem] | None = None
) -> dict[str, Verdict]:
    """The verdicts on the tensors of a checkpoint, in the light of one another.

    If most of its larger kernels are trained, the others are too: what training can explain is no longer suspicious,
    and a small tensor that happens to fit a law is called trained.

    Args:
        judged: the role of each tensor and the verdict on it alone, by name.
        odd: the problems of tensors that are unlike their siblings, which are none if training explains them.
    """
    if is_trained(judged):
        return {name: _in_trained(role, verdict) for name, (role, verdict) in judged.items()}
    known = odd or {}
    alone = _few_trained(judged)
    return {
        name: (_in_fresh(role, verdict) if alone else verdict).with_problems((known[name],) if name in known else ())
        for name, (role, verdict) in judged.items()
    }


def _few_trained(judged: Mapping[str, tuple[Role, Verdict]]) -> bool:
    """Whether hardly any tensor of a checkpoint looks trained, so that nobody has trained it."""
    kinds = Counter(verdict.kind for role, verdict in judged.values() if role.role not in STATISTICS)
    return kinds["trained"] * _FRESH < kinds["consistent"]


def _in_fresh(role: Role, verdict: Verdict) -> Verdict:
    """The verdict on a tensor of a checkpoint that is not trained: one without its expected law is wrong."""
    if verdict.kind != "trained" or _NOT_WHAT not in verdict.reason or role.role in STATISTICS:
        return verdict
    message = f"{verdict.reason.replace(': it is trained.', '.')} Hardly any other tensor looks trained."
    return Verdict("unjudged", "").with_problems((Problem("distribution", "suspicious", message),))


def is_trained(judged: Mapping[str, tuple[Role, Verdict]]) -> bool:
    """Whether most of the larger kernels of a checkpoint are trained, or most of its norms.

    Norms are no constants after a few steps, when kernels still have the spread that they began with.
    """
    norms = [
        verdict
        for role, verdict in judged.values()
        if not role.hint
        and (role.role in ("scale", "offset") or (role.role in _BIASES and (role.size > 1 and _says_constant(verdict))))
    ]
    if len(norms) > 1 and 2 * sum(each.kind == "trained" for each in norms) > len(norms):
        return True
    larger = [verdict for role, verdict in judged.values() if role.is_table and role.size >= _TELLING]
    if not larger:
        larger = [verdict for role, verdict in judged.values() if role.is_table or role.role in _CONSTANT_ROLES]
    trained = sum(verdict.kind == "trained" for verdict in larger)
    return trained > 0 and 2 * trained >= len(larger)


def _says_constant(verdict: Verdict) -> bool:
    """Whether a verdict says that all elements are equal, or should be."""
    return verdict.reason.startswith(_EQUAL) or _NOT_WHAT in verdict.reason


def _in_trained(role: Role, verdict: Verdict) -> Verdict:
    """The verdict on a tensor of a checkpoint that is trained."""
    trained = Verdict("trained", "It is trained, as most of the larger tensors are.")
    if verdict.problems:
        grave = tuple(each for each in verdict.problems if each.code not in _MILD)
        return replace(trained, fits=verdict.fits).with_problems(grave)
    if verdict.reason.startswith(_EQUAL) or not is_float(role.dtype):
        return verdict
    if role.size < 2:
        return verdict
    if verdict.kind == "unjudged" or (verdict.kind == "consistent" and _UNKNOWN in verdict.reason):
        return trained
    if verdict.kind == "consistent" and verdict.fits:
        left = f"{verdict.reason} The larger tensors beside it are trained: it was left as it was."
        return trained if role.size < _TELLING else replace(verdict, reason=left)
    return verdict
