"""Networks in files: weights, packed files, QONNX."""
