"""What a single weight is worth: one criterion per file; table.py lists them."""
