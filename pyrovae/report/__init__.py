"""Presentation: figures, HTML pages and terminal output."""
