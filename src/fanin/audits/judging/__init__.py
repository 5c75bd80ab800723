"""What a tensor is, from its statistics: the laws that it may have, and how far it is from each."""
