"""Arithmetic: capture, compilation, precision, random streams, chunks and devices."""
