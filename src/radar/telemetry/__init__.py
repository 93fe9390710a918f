"""Instruments of every process: metrics, health, checks, logs, endpoints."""
