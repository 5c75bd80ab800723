"""Two checkpoints compared: `fanin.compare_checkpoints` and `fanin diff`."""
