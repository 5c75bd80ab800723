"""fanin for JAX: initializers like those of `jax.nn.initializers`, and sharded arrays that are made shard by shard.

>>> import fanin.jax, jax
>>> from fanin.jax import as_jax, make_array
>>> init = as_jax(fanin.HeNormal())
>>> kernel = init(jax.random.key(0), (784, 256))
>>> bool((kernel == jax.jit(init, static_argnums=1)(jax.random.key(0), (784, 256))).all())
True
"""

from fanin._core.messages import missing
from fanin.models import registry

try:
    from fanin.jax import initializers
    from fanin.jax.arrays import as_jax, make_array
    from fanin.jax.initialize import initialize
    from fanin.jax.layers import Layer
    from fanin.jax.linen import layers_of
    from fanin.jax.origins import recipe_of
    from fanin.jax.probing import probe
    from fanin.jax.trees import describe
    from fanin.jax.trees import values_of as _values_of
except ModuleNotFoundError as _error:
    raise missing(_error, "jax", "JAX", extra="jax") from _error

__all__ = ["Layer", "as_jax", "initialize", "initializers", "layers_of", "make_array", "probe", "recipe_of"]

registry.register("jax", describe, values=_values_of)
