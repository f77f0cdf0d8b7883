"""Logins that reach a running broker: enrolled and revoked without a restart."""
