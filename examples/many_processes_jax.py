"""Initializes a flax.nnx model in two processes of four devices: each makes its own shards, together the whole."""

import os
import socket
import subprocess
import sys

if len(sys.argv) == 1:  # starts both; on a cluster, the scheduler does, and jax.distributed finds the rest by itself
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    running = [subprocess.Popen([sys.executable, __file__, address, str(number)]) for number in range(2)]
    sys.exit(max(each.wait() for each in running))

os.environ |= {"XLA_FLAGS": "--xla_force_host_platform_device_count=4", "JAX_PLATFORMS": "cpu"}
import jax
from flax import nnx

import fanin
import fanin.jax

jax.distributed.initialize(sys.argv[1], num_processes=2, process_id=int(sys.argv[2]))
mesh = jax.make_mesh((2, 2, 2), ("data", "fsdp", "tensor"), axis_types=(jax.sharding.AxisType.Auto,) * 3)


def layer() -> nnx.Linear:
    init = nnx.with_partitioning(nnx.initializers.lecun_normal(), ("fsdp", "tensor"))
    return nnx.Linear(256, 1024, kernel_init=init, rngs=nnx.Rngs(0))


with jax.set_mesh(mesh):
    kernel = fanin.jax.initialize(nnx.eval_shape(layer), "flax", seed=42)[0].kernel[...]
whole = fanin.LecunNormal(seed=42).spawn("kernel")((256, 1024))
shards = [bool((shard.data == whole[shard.index]).all()) for shard in kernel.addressable_shards]
print(f"process {jax.process_index()}: {shards.count(True)} of {len(shards)} shards are those of the whole", flush=True)
