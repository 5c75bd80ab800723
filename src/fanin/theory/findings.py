"""What a probe finds: a word, a sentence with the numbers, and what to do about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

_SPREAD = "`fanin compare` shows which initializer keeps it"
_BACK = (
    "If the signal keeps its size, it is the activation: choose another one, or add normalization or a residual branch"
)
_STEP = "Look at the weights and the scale of this layer, and at what stands between it and the layer before."
# What to do, by the word of a finding.
ADVICE: Mapping[str, str] = {
    "not finite": "If the batch is finite, look there for a division by zero, the logarithm of zero, or numbers too "
    "large for the dtype.",
    "zero": "Look for inputs, weights or scales that are zero, and for biases far below zero before a ReLU.",
    "constant": "Look for inputs, weights or scales that are zero, so that the bias alone is left.",
    "dead": "Look for weights with a mean below zero, for negative biases, and for inputs with a large mean.",
    "saturated": "Draw smaller weights, or scale the inputs to a standard deviation of 1.",
    "collapsed": "Look for inputs that are alike, or weights of low rank. Normalization and residual branches help.",
    "off theory": "Look for weights that are trained, have a mean other than 0, or repeat themselves.",
    "no gradient": "Look for what cuts the loss off: a detached tensor, a frozen part, weights or outputs of zero "
    "behind it.",
    "signal explodes": f"Draw smaller weights: {_SPREAD}. Normalization and residual branches hold it, too.",
    "signal vanishes": f"Draw larger weights: {_SPREAD}. Normalization and residual branches hold it, too.",
    "gradient explodes": f"If the signal explodes, too, draw smaller weights: {_SPREAD}. {_BACK}.",
    "gradient vanishes": f"If the signal vanishes, too, draw larger weights: {_SPREAD}. {_BACK}.",
    "signal jumps": _STEP,
    "signal drops": _STEP,
    "gradient jumps": _STEP,
    "gradient drops": _STEP,
}


@dataclass(frozen=True)
class Finding:
    """What a probe says of a layer or of a model: a word that is stable, and a sentence for people.

    Attributes:
        word: "ok", or "not finite", "zero", "constant", "dead", "saturated", "collapsed", "off theory", "no gradient";
            of a whole model also "signal explodes", "signal vanishes", "signal jumps" and "signal drops" (in one
            layer), and the same of "gradient".
        sentence: what was found, in numbers.
    """

    word: str
    sentence: str

    @property
    def is_ok(self) -> bool:
        """Whether nothing is wrong."""
        return self.word == "ok"

    @property
    def advice(self) -> str:
        """What to do about it, in a sentence or two; "" if nothing is wrong."""
        return ADVICE.get(self.word, "")

    @property
    def line(self) -> str:
        """The finding in words, with what to do.

        >>> from fanin.theory.findings import Finding
        >>> print(Finding("saturated", "60 % of outputs").line)
        saturated: 60 % of outputs. Draw smaller weights, or scale the inputs to a standard deviation of 1.
        """
        return f"{self}. {self.advice}" if self.advice else str(self)

    def as_dict(self) -> dict[str, str]:
        """The finding as plain data: `word`, `sentence` and `advice`."""
        return {"word": self.word, "sentence": self.sentence, "advice": self.advice}

    def __str__(self) -> str:
        return f"{self.word}: {self.sentence}"
