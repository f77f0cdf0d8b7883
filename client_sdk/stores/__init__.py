"""Durable state of one device: the port, an in-memory store and an encrypted SQLite file."""
