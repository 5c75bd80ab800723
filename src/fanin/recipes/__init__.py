"""Recipes: a seed and ordered rules that say which initializer each parameter of a model gets, and the plans they make.

>>> import fanin
>>> recipe = fanin.Recipe([
...     {"path": "*.c_proj.weight", "initializer": "random_normal", "stddev": "0.02 / sqrt(2 * n_layers)"},
...     {"role": ["kernel", "embedding"], "initializer": "random_normal", "stddev": 0.02},
...     {"role": "scale", "initializer": "ones"},
...     {"role": ["bias", "offset"], "initializer": "zeros"},
... ], seed=1)
>>> plan = recipe.plan([
...     {"path": "h.0.attn.c_proj.weight", "shape": [64, 64], "role": "kernel", "layout": "keras"},
...     {"path": "h.0.attn.c_proj.bias", "shape": [64], "role": "bias"},
... ])
>>> print(plan.entries[0].initializer)
RandomNormal(mean=0.0, stddev=0.014142135623730949, seed=8749084111350807520)
"""

from fanin.models.parameters import Model, Parameter
from fanin.models.traits import ROLES, Blocks, Part, Traits
from fanin.recipes.entry import Entry, Placement
from fanin.recipes.execution import Options, Report
from fanin.recipes.plan import Comparison, Plan, PlanError
from fanin.recipes.recipe import PRESETS, Recipe, preset_path
from fanin.recipes.rules import Mistake, RecipeError, Rule

__all__ = [
    "PRESETS",
    "ROLES",
    "Blocks",
    "Comparison",
    "Entry",
    "Mistake",
    "Model",
    "Options",
    "Parameter",
    "Part",
    "Placement",
    "Plan",
    "PlanError",
    "Recipe",
    "RecipeError",
    "Report",
    "Rule",
    "Traits",
    "preset_path",
]
