"""Every query of radar, one module for each audience. The views are in `store/migrations/`."""
