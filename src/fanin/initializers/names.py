"""Names that other packages have for initializers: those that mean a class of Keras, and those that do not quite."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from fanin._core.messages import suggestion

# Early versions of Keras 3 wrote these.
_OLD = {"OrthogonalInitializer": "Orthogonal", "IdentityInitializer": "Identity", "STFTInitializer": "STFT"}
# Name → Keras's class, which draws from the same distribution as PyTorch's function with its default arguments, and
# JAX's of the same name.
ALIASES: Mapping[str, str] = {"xavier_uniform": "GlorotUniform", "kaiming_uniform": "HeUniform", "Stft": "STFT", **_OLD}
# PyTorch's normal distributions are not truncated, as Keras's (and JAX's of these names) are.
_UNTRUNCATED = (
    "'variance_scaling' with scale={scale}, mode={mode!r}, distribution='untruncated_normal'. {keras!r} has the same "
    "variance, but is truncated at two standard deviations, as JAX's {name} is."
)
# Name → whose it is, and what it is in fanin. docs/peers.md has every name of these packages.
_DIFFERENT = {
    "xavier_normal": "PyTorch's xavier_normal is "
    + _UNTRUNCATED.format(scale=1, mode="fan_avg", keras="glorot_normal", name="xavier_normal"),
    "kaiming_normal": "PyTorch's kaiming_normal is "
    + _UNTRUNCATED.format(scale=2, mode="fan_in", keras="he_normal", name="kaiming_normal"),
    "trunc_normal": "PyTorch's trunc_normal is 'truncated_normal' with stddev=1, minval=-2, maxval=2, by its defaults. "
    "Without bounds, 'truncated_normal' truncates at two standard deviations.",
    "trunc_normal_tf": "timm's trunc_normal_tf is 'truncated_normal' with stddev=1, lower=-2, upper=2, by its "
    "defaults.",
    "uniform_scaling": "haiku's UniformScaling is 'variance_scaling' with distribution='uniform', and with the square "
    "of its scale.",
    "default_flax_embed_init": "transformers' default_flax_embed_init is 'variance_scaling' with "
    "distribution='untruncated_normal'.",
}
# Functions in place whose names, without the underscore, Keras has with other default arguments.
_OTHER_DEFAULTS = {
    "normal_": "PyTorch's normal_ is 'random_normal' with stddev=1, by its defaults.",
    "uniform_": "PyTorch's uniform_ is 'random_uniform' with minval=0, maxval=1, by its defaults.",
    "variance_scaling_": "timm's variance_scaling_ is 'variance_scaling' with distribution='untruncated_normal', by "
    "its defaults.",
}
# Words of papers and models, and what they are in fanin.
_WORDS = {
    "eye": "Did you mean 'identity'?",
    "rope": "Did you mean 'rotary'?",
    "rotary_embedding": "Did you mean 'rotary'?",
    "positional_encoding": "Did you mean 'sinusoidal'?",
    "sinusoid": "Did you mean 'sinusoidal'?",
    "a_log": "Mamba's A_log is 's4d' with variant='real', part='log_real'.",
    "mamba": "Mamba's A_log is 's4d' with variant='real', part='log_real'.",
    "complex_he_normal": "Did you mean 'complex_he'?",
    "complex_glorot_normal": "Did you mean 'complex_glorot'?",
    "calculate_gain": "It is no initializer: `fanin.gain` has its numbers.",
}


def name_hint(name: object, known: Iterable[str]) -> str:
    """What to write in place of a name that is no initializer's, or an empty string.

    Args:
        name: the name that came.
        known: the names that could have come.

    >>> name_hint("xavier_normal_", ["glorot_normal"])[:60]
    " PyTorch's xavier_normal is 'variance_scaling' with scale=1,"
    """
    if not isinstance(name, str):
        return ""
    known = [each for each in known if each not in _OLD]
    name = name.rpartition(".")[2]  # of nn.init.xavier_normal_
    # PyTorch's functions in place end in an underscore; some packages have classes with names such as XavierNormal.
    snake_case = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name.strip("_")).lower()
    if name in _OTHER_DEFAULTS:
        return f" {_OTHER_DEFAULTS[name]}"
    word = next((each for each in (snake_case, name.lower()) if each in _WORDS), None)
    if word is not None:
        return f" {_WORDS[word]}"
    if snake_case in ALIASES and snake_case not in known:
        return f" Did you mean {ALIASES[snake_case]!r}?"
    near = snake_case if snake_case in (*known, *_DIFFERENT) else name
    hint = suggestion(near, [*known, *_DIFFERENT])
    different = next((other for other in _DIFFERENT if hint == suggestion(other, [other])), None)
    return hint if different is None else f" {_DIFFERENT[different]}"
