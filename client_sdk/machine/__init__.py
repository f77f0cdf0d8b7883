"""Decisions: a snapshot, an input, the time and fresh keys give Changes and events; pure."""
