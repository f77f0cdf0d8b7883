"""Cryptography on frozen records; pure: fresh keys and times are arguments."""
