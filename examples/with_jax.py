"""Uses fanin in JAX: an initializer for flax, and a matrix sharded over eight devices, each shard made by itself."""

import os

os.environ.setdefault("XLA_FLAGS", "--xla_force_host_platform_device_count=8")
import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax.sharding import NamedSharding, PartitionSpec

import fanin
from fanin.jax import as_jax, make_array


class Network(nn.Module):
    """Two layers with kernels from fanin, which depend on the keys that flax passes."""

    @nn.compact
    def __call__(self, x):
        x = nn.relu(nn.Dense(128, kernel_init=as_jax(fanin.HeNormal()))(x))
        return nn.Dense(10, kernel_init=as_jax(fanin.GlorotUniform()))(x)


variables = jax.jit(Network().init)(jax.random.key(0), jnp.ones((1, 784)))
print(jax.tree.map(lambda leaf: f"{leaf.shape} std {leaf.std():.4f}", variables["params"]))

mesh = jax.make_mesh((4, 2), ("rows", "columns"))
sharding = NamedSharding(mesh, PartitionSpec("rows", "columns"))
kernel = make_array(fanin.GlorotUniform(seed=1), (1024, 512), "float32", sharding)
whole = fanin.GlorotUniform(seed=1)((1024, 512))
for shard in kernel.addressable_shards:
    assert np.asarray(shard.data).tobytes() == whole[shard.index].tobytes()
print(f"{len(kernel.addressable_shards)} shards of {kernel.addressable_shards[0].data.shape}, each as in the whole")
