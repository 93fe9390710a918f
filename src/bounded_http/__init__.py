"""Bounds that every HTTP server of radar shares, and the rules about the header `Host`."""
