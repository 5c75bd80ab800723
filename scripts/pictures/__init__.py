"""The pictures of README and docs, made from what fanin makes: `python scripts/pictures`."""
