"""Initializes a flax.nnx model from shapes, on one device and sharded over eight: the values are the same."""

import os

os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=8"
import jax
from flax import nnx
from jax.sharding import NamedSharding, PartitionSpec

import fanin
import fanin.jax


class Model(nnx.Module):
    def __init__(self, rngs: nnx.Rngs) -> None:
        self.fc1, self.fc2 = nnx.Linear(256, 1024, rngs=rngs), nnx.Linear(1024, 256, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.fc2(nnx.relu(self.fc1(x)))


recipe = fanin.Recipe.preset("flax", seed=42)
abstract = nnx.eval_shape(lambda: Model(nnx.Rngs(0)))
model, report = fanin.jax.initialize(abstract, recipe)
print(str(report).partition(" in ")[0])

mesh = jax.make_mesh((8,), ("rows",))
rows = NamedSharding(mesh, PartitionSpec("rows"))
sharded, _ = fanin.jax.initialize(abstract, recipe, shardings=rows)
kernel = sharded.fc1.kernel[...]
print(len(kernel.addressable_shards), "shards of", kernel.addressable_shards[0].data.shape)
print("the same values:", bool((jax.device_get(kernel) == jax.device_get(model.fc1.kernel[...])).all()))
