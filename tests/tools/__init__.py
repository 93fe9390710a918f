"""Other programs read exported files; they run in an environment of their own."""
