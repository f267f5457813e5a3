"""Run folders, and the work of the commands on them."""
