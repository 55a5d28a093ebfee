"""`python -m edge_asc`: the command line, where the command `edge-asc` is not on the path."""

from edge_asc.cli import main

main()
