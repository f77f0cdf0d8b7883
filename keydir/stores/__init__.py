"""The directory's durable state: the SQL store, and the broker's way to read logins."""

from keydir.stores.credentials import CredentialReader

__all__ = ["CredentialReader"]
