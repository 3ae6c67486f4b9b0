"""A Linux board reached with the user's own OpenSSH client."""
