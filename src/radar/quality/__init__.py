"""Questions about what was recorded, and about what radar runs on."""
