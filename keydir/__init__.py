"""The key directory: accounts, device lists, prekey bundles, policy."""
