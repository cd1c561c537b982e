"""The graph and every pass over it. The ground floor: imports no other folder, and no torch."""
