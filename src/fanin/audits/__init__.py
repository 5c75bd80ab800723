"""Audits: what an array, a model or a checkpoint is, measured against what it should be."""

from fanin.audits.audit import Audit
from fanin.audits.audited import AuditedTensor
from fanin.audits.auditing import audit
from fanin.audits.comparing.comparison import compare_checkpoints
from fanin.audits.comparing.differences import Differences, TensorDifference
from fanin.audits.verdicts import Kind, Problem, Verdict

__all__ = [
    "Audit",
    "AuditedTensor",
    "Differences",
    "Kind",
    "Problem",
    "TensorDifference",
    "Verdict",
    "audit",
    "compare_checkpoints",
]
