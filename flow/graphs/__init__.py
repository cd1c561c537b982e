"""Work on graphs from files: inputs, folding, depths, speed, other programs as judges."""
