"""Checkpoints: plans written to disk in bounded memory, from any number of processes.

>>> import fanin, tempfile
>>> recipe = fanin.Recipe([{"path": "*", "initializer": "he_normal"}], seed=1)
>>> plan = recipe.plan([{"path": "w", "shape": [784, 256], "layout": "keras"}])
>>> print(fanin.checkpoints.write(plan, tempfile.mkdtemp()).files)
('model.safetensors',)
"""

from fanin.checkpoints.arrangement import Arrangement, PlannedFile, arrange
from fanin.checkpoints.checking import Checked, Finding, check, has_manifest
from fanin.checkpoints.contained import model_of
from fanin.checkpoints.files import CheckpointError
from fanin.checkpoints.hashing import TensorDigest, digest, digest_of_arrays, digests
from fanin.checkpoints.manifest import Manifest, StoredFile, StoredTensor, digest_of, read_manifest
from fanin.checkpoints.writer import Written, finish, write

__all__ = [
    "Arrangement",
    "Checked",
    "CheckpointError",
    "Finding",
    "Manifest",
    "PlannedFile",
    "StoredFile",
    "StoredTensor",
    "TensorDigest",
    "Written",
    "arrange",
    "check",
    "digest",
    "digest_of",
    "digest_of_arrays",
    "digests",
    "finish",
    "has_manifest",
    "model_of",
    "read_manifest",
    "write",
]
