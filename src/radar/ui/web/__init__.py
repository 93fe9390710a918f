"""`radar dashboard`: what is recorded and how the pipeline does, as web pages and as JSON."""
