"""The facts behind every view: collected, judged and rendered once."""
