"""The page of a plan: what each parameter gets, in one file of HTML; and what explains initializers in any page."""

from fanin.recipes.pages.formulas import formulas
from fanin.recipes.pages.page import plan_page

__all__ = ["formulas", "plan_page"]
