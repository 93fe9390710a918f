"""Deriving trades and books again from recorded frames."""
