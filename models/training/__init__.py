"""Training, evaluation and batch-norm statistics."""
