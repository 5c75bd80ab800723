"""Recordings: what a model's own code writes into its parameters and buffers, read while it is made."""
