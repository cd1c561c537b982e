"""Graphs as ONNX files, ours and for other programs."""
