"""`python -m edge_asc`, the same as `edge-asc`."""

from edge_asc.cli import main

if __name__ == "__main__":
    main()
