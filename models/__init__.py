"""Networks, data, training, pruning and export: the only folder that uses torch and brevitas."""
