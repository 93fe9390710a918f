"""What people see of a running pipeline in a terminal."""
