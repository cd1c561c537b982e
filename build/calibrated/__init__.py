"""What modules of the library take of an FPGA's family, by a small physical model that is fitted to synthesis."""
