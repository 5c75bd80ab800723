"""How a tensor is measured: a few MiB at a time, in sums that can be added up in any order."""
