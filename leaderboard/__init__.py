"""The board: storage of results and the command line."""
