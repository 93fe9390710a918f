"""The views for people: the terminal screen and the web pages."""
