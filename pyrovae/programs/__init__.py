"""The two Pyro programs, and the log-densities of their sites."""
