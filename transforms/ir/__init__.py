"""The graph of all levels: operations, types, the input's contract, the text form."""
