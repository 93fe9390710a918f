"""The views of a running pipeline in a terminal."""
