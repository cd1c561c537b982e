"""Hardware of a folded dataflow graph: our SystemVerilog library, and what is generated around it."""
