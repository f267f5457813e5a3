"""The two Pyro programs, and what their sites say in numbers."""
