"""What people look at: the terminal screen and the web pages."""
