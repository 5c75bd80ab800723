"""`python -m fanin.cli`: the command line."""

from fanin.cli import main

main(prog_name="fanin")
