"""What is connected to what: channel ids, prunable groups, surgery."""
