"""What a batch does in a module, without a change of the module: its state, the passage of a batch, probe and mend."""
