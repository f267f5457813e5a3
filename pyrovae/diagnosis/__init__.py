"""Whether a fitted posterior can be trusted: for which data, how far, and why not."""
