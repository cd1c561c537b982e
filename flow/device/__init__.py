"""The packed simulator on the devices of torch: by CUDA kernels of its own, or by torch's operations."""
