"""What pruning asks of hardware and data: costs, sensitivity, methods, statistics."""
