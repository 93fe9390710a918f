"""Reading recorded data: queries, the SQL shell, exports."""
