"""`fanin recipe`: making and checking recipes."""

from __future__ import annotations

import re
import sys

import click

from fanin._core.messages import shown
from fanin.cli.base import STANDARD_INPUT, TOML_INPUT, Refusal, refusing, standard_input


@click.group(
    short_help="Make and check recipes.",
    epilog="""\b
Examples:
  fanin recipe new --preset gpt2 > recipe.toml
  fanin recipe from package.module:factory > recipe.toml
  fanin recipe lint recipe.toml
""",
)
def recipe() -> None:
    """Make and check recipes: which initializer each parameter of a model gets."""


@recipe.command(
    "new",
    short_help="Print a recipe to start from.",
    epilog="""\b
Exit codes: 0 the recipe is printed, 2 wrong usage.

\b
Examples:
  fanin recipe new > recipe.toml
  fanin recipe new --preset gpt2 --seed 42 > recipe.toml
""",
)
@click.option("--preset", default="keras", show_default=True, metavar="NAME", help="The preset to start from.")
@click.option("--seed", type=int, help="A seed other than 0.")
def new_recipe(preset: str, seed: int | None) -> None:
    """Print the file of a preset: bert, flax, gpt2, keras, llama, mup, resnet, t5, torch or vit."""
    with refusing():
        from fanin.recipes import Recipe, preset_path

        text = preset_path(preset).read_text(encoding="utf-8")
        if seed is not None:
            Recipe.preset(preset, seed=seed)  # checks the seed
            text = re.sub(r"(?m)^seed = 0$", f"seed = {seed}", text)
    click.echo(text, nl=False)


@recipe.command(
    "from",
    short_help="Read a recipe from a model's own code.",
    epilog="""\b
Exit codes: 0 the recipe is written, 2 wrong usage, or the model's code cannot be read.

\b
Examples:
  fanin recipe from package.module:factory > recipe.toml
  fanin recipe from package.module:small --also package.module:large -o recipe.toml
""",
)
@click.argument("factory", metavar="FACTORY")
@click.option("--also", metavar="FACTORY", help="The same model at another size, which tells chance from rule.")
@click.option("--seed", type=int, default=0, show_default=True, help="The recipe's seed.")
@click.option("-o", "--output", type=click.Path(dir_okay=False, writable=True), help="A .toml file, for the output.")
def recipe_from_model(factory: str, also: str | None, seed: int, output: str | None) -> None:
    """Write the recipe that initializes a model as its own code does.

    FACTORY is package.module:function. It is called without arguments, and makes a model of PyTorch, which is recorded
    while it is made and needs no memory; of Keras 3 or tf_keras; or of flax.nnx or equinox.

    The recipe makes the same plan as the model's own code. Numbers of the configuration are used by name where it is
    likely that they are meant; a model of another size, by --also, tells where they are.
    """
    with refusing():
        from fanin.cli.reading import recipe_of_factory

        if output is not None and not output.lower().endswith(".toml"):
            raise Refusal(f"--output must be a file that ends in .toml. Received: {shown(output)}.")
        made = recipe_of_factory(factory, also, seed)
        text = made.to_toml(output)
    if made.comment:  # what the recipe does not do at the other size
        click.echo(made.comment, err=True)
    if output is None:
        click.echo(text, nl=False)


@recipe.command(
    "lint",
    short_help="Check recipe files.",
    epilog="""\b
Exit codes: 0 no mistakes, 1 mistakes, 2 wrong usage.

\b
Examples:
  fanin recipe lint recipe.toml
  fanin recipe new --preset llama | fanin recipe lint -
""",
)
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, allow_dash=True))
def lint_recipe(files: tuple[str, ...]) -> None:
    """Check recipe FILES (- for TOML from standard input), and print every mistake with its line.

    Constants that no rule uses are remarks, not mistakes.
    """
    wrong = False
    for file in files:
        with refusing():
            from fanin.recipes import Recipe, RecipeError

            try:
                is_input = file == STANDARD_INPUT
                recipe = Recipe.from_toml(standard_input(), name=TOML_INPUT) if is_input else Recipe.load(file)
            except RecipeError as error:
                wrong = True
                for mistake in error.mistakes:
                    click.echo(str(mistake), err=True)
            else:
                click.echo(f"{file}: no mistakes")
                for name in recipe.unused_constants:
                    click.echo(f"{file}: remark: no rule uses the constant {name}")
    if wrong:
        sys.exit(1)


@recipe.command(
    "schema",
    short_help="Print the JSON schema of recipes.",
    epilog="""\b
Exit codes: 0 the schema is printed, 2 wrong usage.

\b
Examples:
  fanin recipe schema > recipe.schema.json
""",
)
def schema_of_recipes() -> None:
    """Print the JSON schema of recipe files, for editors and other tools."""
    import json

    from fanin.recipes.schema import schema

    click.echo(json.dumps(schema(), indent=2))
