"""Where pods go: filter and score plugins."""
