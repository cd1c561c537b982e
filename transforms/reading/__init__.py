"""The reader of ONNX files: its core, and one file a family of operators."""
