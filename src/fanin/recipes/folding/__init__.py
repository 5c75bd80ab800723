"""Recipes from plans: a few readable rules that give every parameter of a model what a plan gives it."""

from fanin.recipes.folding.fold import recipe_from

__all__ = ["recipe_from"]
