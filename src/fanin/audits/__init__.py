"""Audits: what an array, a model or a checkpoint is, measured against what it should be."""
