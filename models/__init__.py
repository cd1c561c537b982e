"""Networks, data, training, pruning and export. Everything here may use torch and brevitas; nothing else does."""
