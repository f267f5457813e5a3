"""What people see: figures, pages, and the terminal."""
