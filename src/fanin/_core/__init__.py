"""The base layer: dtypes, shapes, streams, memory. Nothing here knows about initializers, models or frameworks."""
