"""Open synthesis: what a unit of hardware, or all of it, takes of an FPGA's family, by yosys."""
