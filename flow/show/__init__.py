"""Text, tables, pictures and the report: what people see of results."""
