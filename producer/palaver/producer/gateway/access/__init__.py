"""Who asks, and what is his."""
