"""`radar dashboard`: the recorded markets and the pipeline, as web pages and as JSON."""
