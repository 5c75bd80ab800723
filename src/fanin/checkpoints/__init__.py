"""Checkpoints: plans written to disk in bounded memory, from any number of processes."""

from fanin.checkpoints.files import CheckpointError
from fanin.checkpoints.manifest import Manifest, StoredFile, StoredTensor, digest_of, read_manifest

__all__ = [
    "CheckpointError",
    "Manifest",
    "StoredFile",
    "StoredTensor",
    "digest_of",
    "read_manifest",
]
