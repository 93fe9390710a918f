"""The formats of exported files: what a file of a market and UTC day is called, and holds."""
