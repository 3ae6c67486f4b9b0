"""Parts of `find_ticket`: its arguments, the user's training, the states that are kept, and the report."""
